/// The first packet each way on every link; the link is up when both have been accepted.
public struct Hello: Hashable, Sendable {
    public var edge: Edge
    /// The stable name of the instance (its unit instance); it outlives the process.
    public var seat: String
    /// A number drawn anew by every process at its start: tells a restart from a reconnect.
    public var instance: UInt64
    /// How many descriptors the sender of this hello is willing to receive over its lifetime at once.
    public var descriptorBudget: UInt32

    public init(edge: Edge, seat: String, instance: UInt64, descriptorBudget: UInt32 = 0) {
        self.edge = edge
        self.seat = seat
        self.instance = instance
        self.descriptorBudget = descriptorBudget
    }

    private static let magic: UInt32 = 0x3153_484c  // "LHS1"

    public func encode(into writer: inout ByteWriter) {
        writer.integer(Self.magic)
        writer.integer(Bounds.version)
        writer.integer(edge.rawValue)
        writer.string(seat)
        writer.integer(instance)
        writer.integer(descriptorBudget)
    }

    /// Accepts a hello for `edge` of this version; anything else names the field that differs.
    public static func decode(_ packet: UnsafeRawBufferPointer, edge: Edge) throws(WireError) -> Hello {
        var reader = ByteReader(packet)
        let magic = try reader.integer(UInt32.self)
        guard magic == Self.magic else { throw .mismatch(field: "magic", ours: UInt64(Self.magic), theirs: UInt64(magic)) }
        let version = try reader.integer(UInt16.self)
        guard version == Bounds.version else {
            throw .mismatch(field: "version", ours: UInt64(Bounds.version), theirs: UInt64(version))
        }
        let theirs = try reader.integer(UInt8.self)
        guard theirs == edge.rawValue else { throw .mismatch(field: "edge", ours: UInt64(edge.rawValue), theirs: UInt64(theirs)) }
        let hello = Hello(
            edge: edge, seat: try reader.string("seat"), instance: try reader.integer(), descriptorBudget: try reader.integer())
        guard reader.isAtEnd else { throw .tooLong(field: "hello", count: packet.count) }
        return hello
    }
}

/// The answer to a hello that does not fit: a named reason, then the link is closed.
public struct HelloRefusal: Hashable, Sendable {
    public var reason: String
    public init(reason: String) { self.reason = reason }

    private static let magic: UInt32 = 0x5853_484c  // "LHSX"

    public func encode(into writer: inout ByteWriter) {
        writer.integer(Self.magic)
        writer.string(reason)
    }

    /// Nil when the packet is not a refusal.
    public static func decode(_ packet: UnsafeRawBufferPointer) -> HelloRefusal? {
        var reader = ByteReader(packet)
        guard let magic = try? reader.integer(UInt32.self), magic == Self.magic, let reason = try? reader.string("reason") else {
            return nil
        }
        return HelloRefusal(reason: reason)
    }
}
