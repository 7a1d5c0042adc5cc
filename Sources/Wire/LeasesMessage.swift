import Model

/// A lease that is open, and whose it is.
public struct LiveLease: Hashable, Sendable {
    public var lease: LeaseID
    public var pool: PoolID
    /// Empty is the default tenant.
    public var tenant: String

    public init(lease: LeaseID, pool: PoolID, tenant: String) {
        self.lease = lease
        self.pool = pool
        self.tenant = tenant
    }
}

/// Pool-keeper → asset-cache: every open lease, then what changes.
public enum LeasesMessage: WireMessage {
    /// What was told before holds no more; what follows up to `snapshotEnd` is everything, and is applied when it is complete.
    case snapshotBegin
    case live(LiveLease)
    case ended(LeaseID)
    case snapshotEnd

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .snapshotBegin: writer.integer(UInt8(1))
        case .live(let live):
            writer.integer(UInt8(2))
            writer.lease(live.lease)
            writer.pool(live.pool)
            writer.string(live.tenant)
        case .ended(let lease):
            writer.integer(UInt8(3))
            writer.lease(lease)
        case .snapshotEnd: writer.integer(UInt8(4))
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> LeasesMessage {
        switch try reader.integer(UInt8.self) {
        case 1: return .snapshotBegin
        case 2:
            return .live(LiveLease(lease: try reader.lease(), pool: try reader.pool(), tenant: try reader.string("tenant")))
        case 3: return .ended(try reader.lease())
        case 4: return .snapshotEnd
        case let tag: throw .unknownValue(field: "leases message", value: UInt64(tag))
        }
    }
}
