import AssetCore
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import ServiceKit
import Synchronization

/// Asks origins: HTTP/1.1, over connections that are made to addresses which were checked, and kept for the next request.
final class OriginClient: Sendable {
    struct Deadlines: Sendable {
        var connect: TimeAmount
        var firstByte: TimeAmount
        var idle: TimeAmount
    }

    /// Who chose the target: strangers are checked, and never share a connection with what the operator wrote down.
    enum Trust: String, Hashable, Sendable {
        case checked
        case configured
    }

    let deadlines: Deadlines
    private let group: MultiThreadedEventLoopGroup
    private let resolver: Resolver
    private let rule: TargetRule
    private let tls: NIOSSLContext
    private let resting = Mutex<[String: [OriginConnection]]>([:])

    /// Connections that wait for a request, for each origin and in all.
    private static let mostResting = 8
    private static let mostOrigins = 1_024

    struct TrustError: Error, CustomStringConvertible {
        var description: String
    }

    /// - Parameter key: of the configuration, for messages.
    init(
        group: MultiThreadedEventLoopGroup, resolver: Resolver, rule: TargetRule, trustFile: String?, key: String = "asset-cache.fetch",
        deadlines: Deadlines
    ) throws {
        self.group = group
        self.resolver = resolver
        self.rule = rule
        self.deadlines = deadlines
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.applicationProtocols = ["http/1.1"]
        if let trustFile {
            do { configuration.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMFile(trustFile))] } catch {
                throw TrustError(description: "\(key).trust-file: \(trustFile) has no certificates that can be read")
            }
        }
        tls = try NIOSSLContext(configuration: configuration)
    }

    /// One request; returns when the response's head is here. `body` gives the request's body piece by piece.
    ///
    /// - Parameter reuses: whether a kept connection serves although the request has a body or changes something. It may be closed by its
    ///   origin in that moment: `noResponse`, and the caller asks once more without.
    func send(
        _ method: String, _ url: TargetURL, _ fields: Fields, trust: Trust, reuses: Bool = false,
        body: (() async throws -> ByteBuffer?)? = nil
    ) async throws -> OriginResponse {
        let key = "\(trust.rawValue) \(url.scheme.rawValue)://\(url.authority)"
        var headers = HTTPHeaders([("host", url.authority)])
        for field in fields.all where field.name != "host" { headers.add(name: field.name, value: field.value) }
        let head = HTTPRequestHead(version: .http1_1, method: HTTPMethod(rawValue: method), uri: url.target, headers: headers)
        // Only what may be repeated goes over a connection that its origin may just be closing.
        if body == nil, method == "GET" || method == "HEAD" {
            while let connection = takeResting(key) {
                do { return try await ask(connection, head, key, body) } catch OriginFailure.noResponse { continue }
            }
        } else if reuses, let connection = takeResting(key) {
            return try await ask(connection, head, key, body)
        }
        return try await ask(try await connect(url, trust), head, key, body)
    }

    private func ask(
        _ connection: OriginConnection, _ head: HTTPRequestHead, _ key: String, _ body: (() async throws -> ByteBuffer?)?
    ) async throws -> OriginResponse {
        do {
            if let body {
                try await connection.write([.head(head)])
                do {
                    while let piece = try await body() { try await connection.write([.body(.byteBuffer(piece))], within: deadlines.idle) }
                } catch is S3Error {
                    throw OriginFailure.callerGone
                }
                try await connection.write([.end(nil)])
            } else {
                try await connection.write([.head(head), .end(nil)])
            }
        } catch let error as OriginFailure {
            connection.close()
            throw error
        } catch {
            // It may have answered before it closed.
        }
        do {
            let parts = try await connection.next(within: deadlines.firstByte)
            guard case .head(let response)? = parts.first else { throw OriginFailure.noResponse }
            return OriginResponse(response, Array(parts.dropFirst()), connection, self, key)
        } catch {
            connection.close()
            throw error as? OriginFailure ?? OriginFailure.noResponse
        }
    }

    private func connect(_ url: TargetURL, _ trust: Trust) async throws -> OriginConnection {
        let addresses = try await resolver.resolve(url.host, port: url.port)
        if trust == .checked, let refusal = rule.judge(addresses) { throw OriginFailure.refused(refusal) }
        let isSecure = url.scheme == .https
        // Names only: a certificate for an address is compared with the address itself.
        let name = url.host.contains(":") || url.host.allSatisfy { $0.isNumber || $0 == "." } ? nil : url.host
        return try await firstThatConnects(addresses) { address in
            try await ClientBootstrap(group: group).connectTimeout(deadlines.connect).channelOption(.socketOption(.so_keepalive), value: 1)
                .connect(to: address) { [tls] channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        if isSecure { try pipeline.addHandler(try NIOSSLClientHandler(context: tls, serverHostname: name)) }
                        try pipeline.addHTTPClientHandlers()
                        let handler = OriginHandler(channel.eventLoop)
                        try pipeline.addHandler(handler)
                        return OriginConnection(channel, handler)
                    }
                }
        }
    }

    private func takeResting(_ key: String) -> OriginConnection? {
        resting.withLock { resting in
            while let connection = resting[key]?.popLast() {
                if resting[key]?.isEmpty == true { resting[key] = nil }
                if connection.isOpen { return connection }
            }
            return nil
        }
    }

    fileprivate func rest(_ connection: OriginConnection, _ key: String) {
        let isKept = resting.withLock { resting in
            if resting.count >= Self.mostOrigins { resting = resting.filter { $0.value.contains(where: \.isOpen) } }
            guard resting.count < Self.mostOrigins, connection.isOpen else { return false }
            resting[key, default: []].removeAll { !$0.isOpen }
            guard resting[key, default: []].count < Self.mostResting else { return false }
            resting[key, default: []].append(connection)
            return true
        }
        if !isKept { connection.close() }
    }
}

/// An origin's response, its body still coming.
final class OriginResponse: @unchecked Sendable {
    // Confined to one task at a time: the flight that asked, then whoever reads the body.
    let status: Int
    let fields: Fields
    /// From Content-Length; nil when the body ends otherwise.
    let length: Int64?
    private let connection: OriginConnection
    private let client: OriginClient
    private let key: String
    private let keepsAlive: Bool
    private var parts: [HTTPClientResponsePart]
    private var isEnded = false

    fileprivate init(
        _ head: HTTPResponseHead, _ parts: [HTTPClientResponsePart], _ connection: OriginConnection, _ client: OriginClient, _ key: String
    ) {
        status = Int(head.status.code)
        fields = Fields(head.headers.map { ($0.name, $0.value) })
        length = fields.contains("transfer-encoding") ? nil : fields["content-length"].flatMap { Int64($0) }
        keepsAlive = head.isKeepAlive
        self.parts = parts
        self.connection = connection
        self.client = client
        self.key = key
    }

    deinit { if !isEnded { connection.close() } }

    /// The next piece of the body; nil at its end. Throws `cut`.
    func next() async throws -> ByteBuffer? {
        while !isEnded {
            while !parts.isEmpty {
                switch parts.removeFirst() {
                case .head: throw abandon(.cut)
                case .body(let buffer): if buffer.readableBytes > 0 { return buffer }
                case .end:
                    isEnded = true
                    // Bytes behind the end are nobody's: such a connection is not used again.
                    if keepsAlive, parts.isEmpty { client.rest(connection, key) } else { connection.close() }
                    return nil
                }
            }
            do { parts = try await connection.next(within: client.deadlines.idle) } catch { throw abandon(.cut) }
        }
        return nil
    }

    /// Nobody wants the rest.
    func close() { if !isEnded { _ = abandon(.cut) } }

    private func abandon(_ failure: OriginFailure) -> OriginFailure {
        isEnded = true
        connection.close()
        return failure
    }
}
