import CLinux
import Foundation
import Model
import NIOCore
import NIOPosix

/// Names to addresses, by the system's own resolver, on threads that may wait for it.
struct Resolver: Sendable {
    let pool: NIOThreadPool

    /// All addresses of a host, in the order in which they should be tried. A literal is itself. Asked once for each connection: what is
    /// checked is what is connected to.
    func resolve(_ host: String, port: UInt16) async throws -> [Model.SocketAddress] {
        if let literal = Model.SocketAddress(ip: host, port: port) { return [literal] }
        return try await pool.runIfActive { try Self.ask(host, port) }
    }

    private static func ask(_ host: String, _ port: UInt16) throws -> [Model.SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { throw OriginFailure.noSuchHost }
        defer { freeaddrinfo(list) }
        var out: [Model.SocketAddress] = []
        var next = list
        while let item = next?.pointee {
            next = item.ai_next
            guard let raw = item.ai_addr else { continue }
            let address: Model.SocketAddress
            switch Int32(raw.pointee.sa_family) {
            case AF_INET:
                address = raw.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { pointer in
                    Model.SocketAddress(v4: UInt32(bigEndian: pointer.pointee.sin_addr.s_addr), port: port)
                }
            case AF_INET6:
                address = raw.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { pointer in
                    withUnsafeBytes(of: pointer.pointee.sin6_addr) { bytes in
                        func word(_ part: Range<Int>) -> UInt64 { bytes[part].reduce(0) { $0 << 8 | UInt64($1) } }
                        return Model.SocketAddress(family: .v6, high: word(0..<8), low: word(8..<16), port: port)
                    }
                }
            default: continue
            }
            if !out.contains(address) { out.append(address) }
        }
        return out
    }
}

/// Addresses that are tried, one after the other.
private let mostTried = 4

/// The first that takes a connection, of addresses that were all checked.
func firstThatConnects<T>(_ addresses: [Model.SocketAddress], _ connect: (NIOCore.SocketAddress) async throws -> T) async throws -> T {
    var failure = OriginFailure.unreachable
    for address in addresses.prefix(mostTried) {
        do {
            return try await connect(try NIOCore.SocketAddress(ipAddress: address.ip, port: Int(address.port)))
        } catch let error as ChannelError {
            if case .connectTimeout = error { failure = .connectTimeout }
        } catch let error as OriginFailure {
            throw error
        } catch {
            failure = .unreachable
        }
    }
    throw failure
}
