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
    /// Tickets that wait, by the urgency that they came with.
    public var queuedByUrgency = SIMD8<UInt32>()
    /// The configured tenants, the default one first, in the order of the configuration: at most ``Bounds/stateTenants``. Empty where
    /// the pool has only the default tenant.
    public var tenants: [TenantState] = []
    /// What is left of the tenants beyond that bound, summed; nil where all are named.
    public var otherTenants: TenantState?

    public init(pool: PoolID) { self.pool = pool }

    /// The number to scale on: jobs that have a worker plus jobs that wait for one.
    public var demand: UInt32 { leases &+ queued }
    public var total: UInt32 { unready &+ free &+ leased &+ ending &+ recovering &+ quarantined &+ draining }
}

/// One tenant's share of a pool at one moment.
public struct TenantState: Hashable, Sendable {
    /// As configured, `default` for jobs of no configured tenant; empty for the sum of those that are not named.
    public var name: String
    /// Tickets that wait.
    public var queued: UInt32
    /// Leases open, those that are ending included.
    public var leased: UInt32
    public var oldestWait: Duration

    public init(name: String, queued: UInt32 = 0, leased: UInt32 = 0, oldestWait: Duration = .zero) {
        self.name = name
        self.queued = queued
        self.leased = leased
        self.oldestWait = oldestWait
    }
}

/// Pool-keeper → publisher, scaler, operator's command: the state of every pool, then of each that changed.
public enum StateMessage: WireMessage {
    case pool(PoolState)
    case poolGone(PoolID)
    /// Every pool has been told once.
    case snapshotEnd
    /// Every endpoint's state, while ``StateRequest/cells(_:)`` asks for it: `total` endpoints, of which the first so many are told as raw
    /// values of ``EndpointState``. The order is that in which the pool has come to know them.
    case cells(pool: PoolID, total: UInt32, states: [UInt8])

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
            for urgency in 0..<8 { writer.integer(state.queuedByUrgency[urgency]) }
            writer.tenants(state.tenants)
            writer.flag(state.otherTenants != nil)
            if let others = state.otherTenants { writer.tenant(others) }
        case .poolGone(let pool):
            writer.integer(UInt8(2))
            writer.pool(pool)
        case .snapshotEnd:
            writer.integer(UInt8(3))
        case .cells(let pool, let total, let states):
            writer.integer(UInt8(4))
            writer.pool(pool)
            writer.integer(total)
            let told = states.prefix(Bounds.cells)
            writer.integer(UInt32(told.count))
            for state in told { writer.integer(state) }
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
            for urgency in 0..<8 { state.queuedByUrgency[urgency] = try reader.integer() }
            state.tenants = try reader.tenants()
            state.otherTenants = try reader.flag("has other tenants") ? try reader.tenant() : nil
            return .pool(state)
        case 2: return .poolGone(try reader.pool())
        case 3: return .snapshotEnd
        case 4:
            let pool = try reader.pool()
            let total = try reader.integer(UInt32.self)
            let count = Int(try reader.integer(UInt32.self))
            guard count <= Bounds.cells else { throw .tooLong(field: "cells", count: count) }
            guard count <= reader.remaining else { throw .truncated }
            var states: [UInt8] = []
            states.reserveCapacity(count)
            for _ in 0..<count { states.append(try reader.byte(EndpointState.self, "endpoint's state").rawValue) }
            return .cells(pool: pool, total: total, states: states)
        case let tag: throw .unknownValue(field: "state message", value: UInt64(tag))
        }
    }
}

/// Publisher → pool-keeper.
public enum StateRequest: WireMessage {
    /// Whether ``StateMessage/cells(pool:total:states:)`` is told on this link, now and whenever a pool has changed; off at first.
    case cells(Bool)

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .cells(let wanted):
            writer.integer(UInt8(1))
            writer.flag(wanted)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> StateRequest {
        switch try reader.integer(UInt8.self) {
        case 1: return .cells(try reader.flag("cells wanted"))
        case let tag: throw .unknownValue(field: "state request", value: UInt64(tag))
        }
    }
}
