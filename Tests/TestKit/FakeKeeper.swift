import CLinux
import Linux
import Model
import Wire

/// A pool-keeper's end of the leasing edge, said word by word: it hears only when the test listens.
public final class FakeKeeper {
    private let listener: Descriptor
    private var link = Descriptor(owning: -1)
    /// What was heard so far, in order, with the descriptors that came with it; those are closed with this object.
    public private(set) var heard: [LeasingRequest] = []
    public private(set) var descriptors: [Int32] = []

    /// Listens in the fleet's runtime directory.
    public init(_ fleet: Fleet) throws {
        listener = try Sockets.listenUnix("\(fleet.runtimeDirectory)/leasing.sock")
    }

    deinit { for raw in descriptors { _ = lh_close(raw) } }

    /// A dispatcher's link, greeted, with nothing to inherit; its first words are heard up to `asserted`. `meanwhile` happens before it
    /// hears that there is nothing to inherit.
    public func greet(budget: UInt32 = 10_000, meanwhile: () throws -> Void = {}) throws {
        try waitReady(listener.raw, POLLIN, "a dispatcher")
        var peer = lh_address()
        link = Descriptor(owning: Int32(try check(lh_accept(listener.raw, &peer), "accept")))
        var writer = ByteWriter()
        Hello(edge: .leasing, seat: "0", instance: 1, descriptorBudget: budget).encode(into: &writer)
        _ = try check(lh_send(link.raw, writer.bytes.baseAddress, writer.bytes.count, 0), "send")
        var bytes = [UInt8](repeating: 0, count: Bounds.packetBytes)
        try waitReady(link.raw, POLLIN, "a hello")
        _ = lh_recv(link.raw, &bytes, bytes.count, 0)
        try meanwhile()
        try say(.adopt(.end))
        try hear("asserted") { if case .asserted = $0 { true } else { false } }
    }

    public func say(_ reply: LeasingReply) throws {
        var writer = ByteWriter()
        reply.encode(into: &writer)
        _ = try check(lh_send(link.raw, writer.bytes.baseAddress, writer.bytes.count, 0), "send")
    }

    /// Listens until a message is as wanted.
    @discardableResult
    public func hear(_ what: String, _ isWanted: (LeasingRequest) -> Bool) throws -> LeasingRequest {
        let deadline = Patience.deadline()
        while true {
            try waitReady(link.raw, POLLIN, until: deadline, what)
            var numbers = [Int32](repeating: -1, count: Bounds.packetDescriptors)
            var bytes = [UInt8](repeating: 0, count: Bounds.packetBytes)
            var received: Int32 = 0
            var wasCut: Int32 = 0
            let count = lh_receive_descriptors(link.raw, &bytes, bytes.count, &numbers, Int32(numbers.count), &received, &wasCut)
            guard count > 0 else { throw TestFailure("the link ended while it was waited for \(what)") }
            descriptors += numbers[..<Int(received)]
            var found: LeasingRequest?
            try bytes.withUnsafeBytes { raw in
                var reader = ByteReader(UnsafeRawBufferPointer(rebasing: raw[..<count]))
                while !reader.isAtEnd {
                    let request = try LeasingRequest.decode(from: &reader)
                    heard.append(request)
                    if found == nil, isWanted(request) { found = request }
                }
            }
            if let found { return found }
        }
    }
}
