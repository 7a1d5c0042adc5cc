import CLinux
import Linux
import Wire

/// The control edge as an outsider speaks it.
public struct ControlAnswer: Sendable {
    /// JSON of a report.
    public var text = ""
    /// Of sysexits(3); 0 is success.
    public var status: UInt8 = 0
    public var message = ""
}

enum ControlCall {
    /// Nil while nobody answers there.
    static func call(_ path: String, _ request: ControlRequest) throws -> ControlAnswer? {
        let raw = lh_socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue))
        guard raw >= 0 else { throw TestFailure("socket: errno \(-raw)") }
        let socket = Descriptor(owning: Int32(raw))
        guard lh_connect_unix(socket.raw, path) >= 0 else { return nil }
        var writer = ByteWriter()
        Hello(edge: .control, seat: "test", instance: .random(in: 1 ... .max)).encode(into: &writer)
        guard lh_send(socket.raw, writer.bytes.baseAddress, writer.count, 0) > 0 else { return nil }
        writer.removeAll()
        request.encode(into: &writer)
        guard lh_send(socket.raw, writer.bytes.baseAddress, writer.count, 0) > 0 else { return nil }
        var buffer = [UInt8](repeating: 0, count: Bounds.packetBytes + 1)
        var answer = ControlAnswer()
        var greeted = false
        let deadline = Patience.deadline()
        while true {
            try waitReady(socket.raw, POLLIN, until: deadline, "an answer on \(path)")
            let count = lh_recv(socket.raw, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            let ended = try buffer.withUnsafeBytes { bytes -> Bool in
                let packet = UnsafeRawBufferPointer(rebasing: bytes[..<count])
                guard greeted else {
                    if let refusal = HelloRefusal.decode(packet) { throw TestFailure("\(path) refused: \(refusal.reason)") }
                    _ = try Hello.decode(packet, edge: .control)
                    greeted = true
                    return false
                }
                var reader = ByteReader(packet)
                while !reader.isAtEnd {
                    switch try ControlReply.decode(from: &reader) {
                    case .part(let text): answer.text += text
                    case .end(let status, let message):
                        answer.status = status
                        answer.message = message
                        return true
                    }
                }
                return false
            }
            if ended { return answer }
        }
    }
}
