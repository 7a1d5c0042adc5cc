/// A message of one edge in one direction. A packet carries one or more of them, end to end.
public protocol WireMessage: Sendable, Hashable {
    /// Writes the message; the writer notes an overflow.
    func encode(into writer: inout ByteWriter)
    /// Reads one message and leaves the reader behind it.
    static func decode(from reader: inout ByteReader) throws(WireError) -> Self
}

/// The edges of the design, as the hello names them.
public enum Edge: UInt8, Sendable, Hashable, CaseIterable {
    case endpoints = 1
    case workers
    case leasing
    case state
    case scaling
    case control
    case vitals
    /// Of the pool-keeper, for the asset cache.
    case leases

    /// Whether packets of this edge may carry descriptors; elsewhere the kernel closes what comes.
    public var carriesDescriptors: Bool { self == .leasing }

    /// The name in journals, counters and socket files.
    public var name: String {
        switch self {
        case .endpoints: "endpoints"
        case .workers: "workers"
        case .leasing: "leasing"
        case .state: "state"
        case .scaling: "scaling"
        case .control: "control"
        case .leases: "leases"
        case .vitals: "vitals"
        }
    }
}
