import CLinux
import Linux
import Model
import ServiceKit

/// A caller as small as it gets: one blocking connection, one request at a time, HTTP/1.1 with Content-Length.
final class DemoClient {
    struct Answer: Sendable {
        var status: Int
        /// Names in lower case; the last of several wins.
        var headers: [String: String]
        var body: [UInt8]
        /// The body was as long as it said.
        var isWhole: Bool
        var took: Duration

        /// `hold;dur=12.3` of Server-Timing, in milliseconds.
        var holdMs: Double? {
            for part in (headers["server-timing"] ?? "").split(separator: ",") {
                let fields = part.split(separator: ";").map { $0.trimmed }
                if fields.first == "hold", let text = fields.first(where: { $0.hasPrefix("dur=") }) { return Double(text.dropFirst(4)) }
            }
            return nil
        }

        /// Served by a worker, whole.
        var isServed: Bool { status == 200 && isWhole }
    }

    /// Why there is no answer.
    enum Failure: Error, CustomStringConvertible {
        case system(SystemError)
        /// The connection ended before the head was there.
        case closed
        case timedOut
        case notHTTP(String)

        var description: String {
            switch self {
            case .system(let error): error.description
            case .closed: "the connection was closed without an answer"
            case .timedOut: "no answer in time"
            case .notHTTP(let what): "not an HTTP answer: \(what)"
            }
        }
    }

    private let address: SocketAddress
    private let patience: Duration
    private var socket: Descriptor?
    private var buffer: [UInt8] = []

    /// `patience` is the longest silence before an answer counts as missing.
    init(_ address: SocketAddress, patience: Duration = .seconds(40)) {
        self.address = address
        self.patience = patience
    }

    /// Sends a GET and reads the whole answer. `onHead` sees the head before the body is there.
    func get(_ path: String, onHead: (Answer) -> Void = { _ in }) throws(Failure) -> Answer {
        let start = monotonicNow()
        do throws(Failure) {
            try open()
            try send("GET \(path) HTTP/1.1\r\nHost: demo\r\n\r\n")
            var answer = try readHead()
            onHead(answer)
            try readBody(&answer)
            answer.took = .nanoseconds(monotonicNow() - start)
            if answer.headers["connection"]?.lowercased() == "close" || !answer.isWhole { close() }
            return answer
        } catch {
            close()
            throw error
        }
    }

    func close() {
        socket = nil
        buffer = []
    }

    private func open() throws(Failure) {
        guard socket == nil else { return }
        do throws(SystemError) {
            let domain = address.family == .v6 ? AF_INET6 : AF_INET
            let raw = Int32(try check(lh_socket(domain, Int32(SOCK_STREAM.rawValue)), "socket"))
            socket = Descriptor(owning: raw)
            _ = try check(lh_fcntl_block(raw), "fcntl")
            var limit = timeval(tv_sec: Int(patience.milliseconds / 1000), tv_usec: 0)
            setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            var to = address.system
            _ = try check(lh_connect(raw, &to), "connect", "\(address)")
        } catch {
            throw .system(error)
        }
    }

    private func send(_ text: String) throws(Failure) {
        let bytes = Array(text.utf8)
        // A request this small goes into an empty socket buffer whole.
        let sent = raw { lh_send($0, bytes, bytes.count, 0) }
        guard sent == bytes.count else { throw sent < 0 ? .system(SystemError(Int32(-sent), "send")) : .closed }
    }

    private func readHead() throws(Failure) -> Answer {
        let blank: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a]
        while true {
            if let end = (0..<max(0, buffer.count - 3)).first(where: { buffer[$0..<$0 + 4].elementsEqual(blank) }) {
                let head = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeFirst(end + 4)
                let answer = try parse(head)
                if (100..<200).contains(answer.status) { continue }
                return answer
            }
            guard buffer.count < 65_536 else { throw .notHTTP("a head of more than 64 KiB") }
            guard try receive() else { throw .closed }
        }
    }

    private func parse(_ head: String) throws(Failure) -> Answer {
        var lines = head.split(separator: "\r\n")[...]
        let start = (lines.popFirst() ?? "").split(separator: " ")
        guard start.count >= 2, start[0].hasPrefix("HTTP/1."), let status = Int(start[1]) else { throw .notHTTP(String(head.prefix(80))) }
        var headers: [String: String] = [:]
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { throw .notHTTP(String(line.prefix(80))) }
            headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmed
        }
        return Answer(status: status, headers: headers, body: [], isWhole: false, took: .zero)
    }

    private func readBody(_ answer: inout Answer) throws(Failure) {
        guard let length = answer.headers["content-length"].flatMap({ Int($0) }), length >= 0 else {
            throw .notHTTP("no Content-Length")
        }
        while buffer.count < length {
            // A cut: the answer stays short, and says so.
            guard (try? receive()) == true else {
                answer.body = buffer
                return
            }
        }
        answer.body = Array(buffer[..<length])
        buffer.removeFirst(length)
        answer.isWhole = true
    }

    /// False at the end of the stream.
    private func receive() throws(Failure) -> Bool {
        var part = [UInt8](repeating: 0, count: 16_384)
        let count = raw { descriptor in part.withUnsafeMutableBytes { lh_recv(descriptor, $0.baseAddress, $0.count, 0) } }
        if count == Int(-EAGAIN) { throw .timedOut }
        guard count >= 0 else { throw .system(SystemError(Int32(-count), "recv")) }
        buffer += part[..<count]
        return count > 0
    }

    private func raw(_ body: (Int32) -> Int) -> Int { body(socket?.raw ?? -1) }
}

extension Substring {
    fileprivate var trimmed: String {
        var text = self
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return String(text)
    }
}
