import Model

/// A pool as the pool-keeper sees it at one moment.
public struct PoolState: Hashable, Sendable {
    public var pool: PoolID
    public var isPaused = false
    /// Grants nothing yet: waits for endpoints or for assertions after a start.
    public var isRecovering = false
    /// Endpoints by state; their sum is the pool's size.
    public var unready: UInt32 = 0
    public var free: UInt32 = 0
    public var leased: UInt32 = 0
    public var ending: UInt32 = 0
    public var recovering: UInt32 = 0
    public var quarantined: UInt32 = 0
    public var draining: UInt32 = 0
    /// Of the endpoints that are neither unready nor draining, those that no local scaler started.
    public var remote: UInt32 = 0
    /// Leases open in this pool, those that are ending included.
    public var leases: UInt32 = 0
    /// Tickets that wait.
    public var queued: UInt32 = 0
    public var oldestWait: Duration = .zero

    public init(pool: PoolID) { self.pool = pool }

    /// The number to scale on: jobs that have a worker plus jobs that wait for one.
    public var demand: UInt32 { leases &+ queued }
    public var total: UInt32 { unready &+ free &+ leased &+ ending &+ recovering &+ quarantined &+ draining }
}

/// Pool-keeper → publisher, scaler, operator's command: the state of every pool, then of each that changed.
public enum StateMessage: WireMessage {
    case pool(PoolState)
    case poolGone(PoolID)
    /// Every pool has been told once.
    case snapshotEnd

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .pool(let state):
            writer.integer(UInt8(1))
            writer.pool(state.pool)
            writer.flag(state.isPaused)
            writer.flag(state.isRecovering)
            writer.integer(state.unready)
            writer.integer(state.free)
            writer.integer(state.leased)
            writer.integer(state.ending)
            writer.integer(state.recovering)
            writer.integer(state.quarantined)
            writer.integer(state.draining)
            writer.integer(state.remote)
            writer.integer(state.leases)
            writer.integer(state.queued)
            writer.duration(state.oldestWait)
        case .poolGone(let pool):
            writer.integer(UInt8(2))
            writer.pool(pool)
        case .snapshotEnd:
            writer.integer(UInt8(3))
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> StateMessage {
        switch try reader.integer(UInt8.self) {
        case 1:
            var state = PoolState(pool: try reader.pool())
            state.isPaused = try reader.flag("paused")
            state.isRecovering = try reader.flag("recovering")
            state.unready = try reader.integer()
            state.free = try reader.integer()
            state.leased = try reader.integer()
            state.ending = try reader.integer()
            state.recovering = try reader.integer()
            state.quarantined = try reader.integer()
            state.draining = try reader.integer()
            state.remote = try reader.integer()
            state.leases = try reader.integer()
            state.queued = try reader.integer()
            state.oldestWait = try reader.duration("oldest wait")
            return .pool(state)
        case 2: return .poolGone(try reader.pool())
        case 3: return .snapshotEnd
        case let tag: throw .unknownValue(field: "state message", value: UInt64(tag))
        }
    }
}
