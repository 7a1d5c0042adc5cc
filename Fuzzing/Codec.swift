import Model
import Wire

// The bytes of a peer's packet, as each edge and direction reads them. What was accepted must survive being written and read again.

private func read<Message: WireMessage>(_: Message.Type, _ bytes: UnsafeRawBufferPointer) {
    var reader = ByteReader(bytes)
    while !reader.isAtEnd {
        guard let message = try? Message.decode(from: &reader) else { return }
        var writer = ByteWriter()
        message.encode(into: &writer)
        precondition(!writer.overflowed, "a message of one packet does not fit into one: \(message)")
        var again = ByteReader(writer.bytes)
        guard let copy = try? Message.decode(from: &again), again.isAtEnd else { fatalError("cannot be read back: \(message)") }
        precondition(copy == message, "reads back as another: \(message), \(copy)")
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCodec(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = UnsafeRawBufferPointer(start: start, count: count)
    guard let first = input.first else { return 0 }
    let bytes = UnsafeRawBufferPointer(rebasing: input.dropFirst())
    switch first % 10 {
    case 0: read(LeasingRequest.self, bytes)
    case 1: read(LeasingReply.self, bytes)
    case 2: read(EndpointsMessage.self, bytes)
    case 3: read(WorkersMessage.self, bytes)
    case 4: read(ScalingRequest.self, bytes)
    case 5: read(ScalingReply.self, bytes)
    case 6: read(StateMessage.self, bytes)
    case 7: read(ControlRequest.self, bytes)
    case 8: read(ControlReply.self, bytes)
    default: for edge in Edge.allCases { _ = try? Hello.decode(bytes, edge: edge) }
    }
    return 0
}
