import CLinux
import Foundation
import Linux
import Model
import Synchronization

/// A web site as small as it gets, on 127.0.0.1: one page that must be asked about each time, and its assets, fresh for an hour. It counts
/// what is asked of it.
final class DemoOrigin: Sendable {
    struct Tally: Sendable {
        var requests = 0
        /// Answered with 304.
        var revalidated = 0
        /// Of bodies.
        var bytes = 0
    }

    let address: SocketAddress
    static let assets = 40
    private let listener: Int32
    private let tally = Mutex(Tally())

    var current: Tally { tally.withLock { $0 } }

    init() throws {
        var socket = try Sockets.listen(SocketAddress.loopback(port: 0).system)
        guard let address = SocketAddress(system: lh_local_address(socket.raw)) else { throw SystemError(EADDRNOTAVAIL, "getsockname") }
        self.address = address
        _ = try check(lh_fcntl_block(socket.raw), "fcntl")
        listener = socket.release()
    }

    deinit { _ = lh_close(listener) }

    /// Serves until the demo's process ends.
    func start() {
        let thread = Thread { [self] in
            while true {
                var peer = lh_address()
                let raw = Int32(lh_accept(listener, &peer))
                guard raw >= 0 else { continue }
                let connection = Thread { self.converse(raw) }
                connection.stackSize = 256 * 1024
                connection.start()
            }
        }
        thread.start()
    }

    /// Bytes of an asset: from 4 to 43 KiB, each different.
    static func body(_ number: Int) -> [UInt8] { (0..<((4 + number) << 10)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ number) } }

    private static let page = Array((0..<assets).map { "/asset/\($0)\n" }.joined().utf8)

    private func converse(_ raw: Int32) {
        defer { _ = lh_close(raw) }
        _ = lh_fcntl_block(raw)
        var buffer: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 8_192)
        while true {
            let blank: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a]
            guard let end = (0..<max(0, buffer.count - 3)).first(where: { buffer[$0..<$0 + 4].elementsEqual(blank) }) else {
                let count = part.withUnsafeMutableBytes { lh_recv(raw, $0.baseAddress, $0.count, 0) }
                guard count > 0, buffer.count < 65_536 else { return }
                buffer += part[..<count]
                continue
            }
            let head = String(decoding: buffer[..<end], as: UTF8.self)
            buffer.removeFirst(end + 4)
            guard send(answer(head), raw) else { return }
        }
    }

    private func send(_ bytes: [UInt8], _ raw: Int32) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { lh_send(raw, $0.baseAddress.map { $0 + done }, bytes.count - done, 0) }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    private func answer(_ head: String) -> [UInt8] {
        let lines = head.split(separator: "\r\n")
        let words = (lines.first ?? "").split(separator: " ")
        let path = words.count > 1 ? words[1] : "/"
        let body: [UInt8]?
        let policy: String
        if path == "/page" {
            (body, policy) = (Self.page, "Cache-Control: no-cache\r\nETag: \"page\"\r\n")
        } else {
            let number = path.hasPrefix("/asset/") ? Int(path.dropFirst(7)) : nil
            body = number.flatMap { (0..<Self.assets).contains($0) ? Self.body($0) : nil }
            policy = "Cache-Control: max-age=3600\r\nETag: \"\(number ?? 0)\"\r\n"
        }
        let isKnown = lines.contains { $0.lowercased().hasPrefix("if-none-match:") }
        tally.withLock { tally in
            tally.requests += 1
            if body != nil, isKnown { tally.revalidated += 1 } else { tally.bytes += body?.count ?? 0 }
        }
        guard let body else { return Array("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".utf8) }
        if isKnown { return Array("HTTP/1.1 304 Not Modified\r\n\(policy)\r\n".utf8) }
        return Array("HTTP/1.1 200 OK\r\n\(policy)Content-Length: \(body.count)\r\n\r\n".utf8) + body
    }
}
