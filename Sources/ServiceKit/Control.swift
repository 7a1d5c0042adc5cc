import CLinux
import Linux
import Wire

/// What a control request is answered with.
public enum ControlAnswer {
    /// JSON text of a report.
    case report(String)
    /// It was done; one line for people.
    case done(String)
    /// It was not done; an exit status of sysexits(3) and a line with the remedy.
    case failed(status: UInt8, String)

    /// A verb named something that is not there.
    public static let nothingMatched = "nothing matched; 'leasehold show endpoints' lists what there is"
}

/// The control edge of a process: `RUNTIME/control/NAME.sock`.
public final class ControlServer {
    private let server: LinkServer

    public init(
        path: String, listener: Int32?, hello: Hello, outbox: Outbox, answer: @escaping (ControlRequest, Link) -> ControlAnswer
    ) throws(SystemError) {
        if let listener {
            server = try LinkServer(owning: listener, hello: hello, outbox: outbox)
        } else {
            server = try LinkServer(path: path, hello: hello, outbox: outbox)
        }
        server.onPacket = { (link, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd {
                let request = try ControlRequest.decode(from: &reader)
                switch answer(request, link) {
                case .report(let json):
                    for part in parts(of: json) { link.send(ControlReply.part(part)) }
                    link.send(ControlReply.end(status: 0, message: ""))
                case .done(let message): link.send(ControlReply.end(status: 0, message: message))
                case .failed(let status, let message): link.send(ControlReply.end(status: status, message: message))
                }
            }
        }
    }
}

/// Text cut into pieces of at most ``Bounds/stringBytes`` without cutting a scalar.
func parts(of text: String) -> [String] {
    let utf8 = Array(text.utf8)
    var out: [String] = []
    var start = 0
    while start < utf8.count {
        var end = min(start + Bounds.stringBytes, utf8.count)
        while end < utf8.count, utf8[end] & 0xc0 == 0x80 { end -= 1 }
        out.append(String(decoding: utf8[start..<end], as: UTF8.self))
        start = end
    }
    return out
}

/// A blocking call over a control edge, for the operator's command.
public enum ControlClient {
    public enum Failure: Error, CustomStringConvertible {
        /// Nobody listens there.
        case notRunning(path: String)
        case notPermitted(path: String)
        case timedOut(path: String)
        case broken(path: String, detail: String)

        public var description: String {
            switch self {
            case .notRunning(let path): "nothing listens on \(path)"
            case .notPermitted(let path): "no permission to use \(path)"
            case .timedOut(let path): "no answer on \(path) in time"
            case .broken(let path, let detail): "\(path): \(detail)"
            }
        }
    }

    public struct Result: Sendable {
        public var text: String
        public var status: UInt8
        public var message: String
    }

    /// Connects, says hello, asks one thing and returns the whole answer.
    public static func call(path: String, _ request: ControlRequest, seconds: Double = 5) throws(Failure) -> Result {
        let raw = lh_socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue))
        guard raw >= 0 else { throw .broken(path: path, detail: SystemError(Int32(-raw), "socket").description) }
        let socket = Descriptor(owning: Int32(raw))
        let connected = lh_connect_unix(socket.raw, path)
        if connected < 0 {
            switch Int32(-connected) {
            case EACCES, EPERM: throw .notPermitted(path: path)
            case ENOENT, ECONNREFUSED: throw .notRunning(path: path)
            case let errno: throw .broken(path: path, detail: SystemError(errno, "connect").description)
            }
        }
        let deadline = monotonicNow() + Int64(seconds * 1e9)
        var writer = ByteWriter()
        Hello(edge: .control, seat: "operator", instance: UInt64.random(in: 1 ... .max)).encode(into: &writer)
        try send(socket, &writer, path)
        request.encode(into: &writer)
        try send(socket, &writer, path)

        var buffer = [UInt8](repeating: 0, count: Bounds.packetBytes + 1)
        var greeted = false
        var result = Result(text: "", status: 0, message: "")
        while true {
            let count = try receive(socket, &buffer, until: deadline, path)
            do throws(WireError) {
                let finished = try read(buffer, count, &greeted, &result)
                if finished { return result }
            } catch {
                throw .broken(path: path, detail: error.description)
            }
        }
    }

    /// One packet of the answer; true at its end.
    private static func read(_ buffer: [UInt8], _ count: Int, _ greeted: inout Bool, _ result: inout Result) throws(WireError) -> Bool {
        let outcome = buffer.withUnsafeBytes { bytes -> Swift.Result<Bool, WireError> in
            let packet = UnsafeRawBufferPointer(rebasing: bytes[..<count])
            do throws(WireError) {
                guard greeted else {
                    if let refusal = HelloRefusal.decode(packet) {
                        result.status = 76
                        result.message = "refused: \(refusal.reason)"
                        return .success(true)
                    }
                    _ = try Hello.decode(packet, edge: .control)
                    greeted = true
                    return .success(false)
                }
                var reader = ByteReader(packet)
                while !reader.isAtEnd {
                    switch try ControlReply.decode(from: &reader) {
                    case .part(let text): result.text += text
                    case .end(let status, let message):
                        result.status = status
                        result.message = message
                        return .success(true)
                    }
                }
                return .success(false)
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    private static func send(_ socket: borrowing Descriptor, _ writer: inout ByteWriter, _ path: String) throws(Failure) {
        let sent = lh_send(socket.raw, writer.bytes.baseAddress, writer.count, 0)
        writer.removeAll()
        if sent < 0 { throw .broken(path: path, detail: SystemError(Int32(-sent), "send").description) }
    }

    private static func receive(
        _ socket: borrowing Descriptor, _ buffer: inout [UInt8], until deadline: Int64, _ path: String
    ) throws(Failure) -> Int {
        while true {
            let count = buffer.withUnsafeMutableBytes { lh_recv(socket.raw, $0.baseAddress, $0.count, 0) }
            if count > 0 { return count }
            if count == 0 { throw .broken(path: path, detail: "the process closed the connection before its answer was complete") }
            guard count == Int(-EAGAIN) else { throw .broken(path: path, detail: SystemError(Int32(-count), "recv").description) }
            let left = (deadline - monotonicNow()) / 1_000_000
            guard left > 0 else { throw .timedOut(path: path) }
            var waiter = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
            // EINTR and time-outs are both seen by the next look at the clock.
            _ = poll(&waiter, 1, Int32(clamping: left))
        }
    }
}
