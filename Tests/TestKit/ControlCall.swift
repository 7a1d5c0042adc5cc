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
    /// Nil while nobody answers there. Whoever is not `patient` takes a quarter of a second for an answer that does not come.
    static func call(_ path: String, _ request: ControlRequest, patient: Bool = true) throws -> ControlAnswer? {
        let raw = lh_socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue))
        guard raw >= 0 else { throw TestFailure("socket: errno \(-raw)") }
        let socket = Int32(raw)
        defer { _ = lh_close(socket) }
        guard lh_connect_unix(socket, path) >= 0 else { return nil }
        guard ask(request, on: socket) else { return nil }
        return try receive(on: socket, path, patient: patient)
    }

    private static func ask(_ request: ControlRequest, on socket: Int32) -> Bool {
        var writer = ByteWriter()
        Hello(edge: .control, seat: "test", instance: .random(in: 1 ... .max)).encode(into: &writer)
        guard lh_send(socket, writer.bytes.baseAddress, writer.count, 0) > 0 else { return false }
        writer.removeAll()
        request.encode(into: &writer)
        return lh_send(socket, writer.bytes.baseAddress, writer.count, 0) > 0
    }

    private static func receive(on socket: Int32, _ path: String, patient: Bool) throws -> ControlAnswer? {
        var buffer = [UInt8](repeating: 0, count: Bounds.packetBytes + 1)
        var answer = ControlAnswer()
        var greeted = false
        let deadline = patient ? Patience.deadline() : monotonicNow() + 250_000_000
        while true {
            guard isReady(socket, until: deadline) else {
                if patient { throw TestFailure("no answer on \(path)") }
                return nil
            }
            let count = lh_recv(socket, &buffer, buffer.count, 0)
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

    private static func isReady(_ socket: Int32, until deadline: Int64) -> Bool {
        (try? waitReady(socket, POLLIN, until: deadline, "an answer")) != nil
    }
}
