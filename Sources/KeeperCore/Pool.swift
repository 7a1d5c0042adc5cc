import Model
import Wire

/// A pool's policy, queue, free endpoints and counters.
struct Pool: Sendable {
    var policy: PoolPolicy
    /// Whether configuration names it. A pool that only the watcher or an asserted lease names keeps its endpoints
    /// (its configuration may be on the way) and takes no ticket.
    var isConfigured: Bool
    /// What a subscriber sees, up to the moment's age of the queue.
    var state: PoolState
    /// Endpoints that its source names.
    var existing = 0
    /// Whether a complete snapshot has come: until then no endpoint means unknown, not empty.
    var isKnown = false
    var refusesWhilePaused = false
    /// Changed by the input at hand.
    var isTouched = false
    /// Whether subscribers know of it.
    var isReported = false

    /// Tickets that may be granted any endpoint.
    var queue: PoolQueue
    /// Bytes of all its tickets.
    var bytes: UInt64 = 0
    /// Which endpoint served an affinity key last.
    var affinities = AffinityMemory(most: Keeper.Limits.affinities)
    /// Tickets that wait for one endpoint, by its place here, and when they stop to.
    var waits: [Slot: SlotList] = [:]
    var waitDeadlines = SlotHeap()
    /// Free places that tickets wait for: more than one only while something else is in the way.
    var wanted: [Slot] = []

    /// When the quarantine of each place ends.
    var quarantines = DeadlineHeap()

    /// All members, by ``Keeper/poolLinks``.
    var members = SlotList()
    /// Free members, least recently used first.
    var free = SlotList()
    /// Free members on nodes where dials time out: taken when there is no other.
    var avoided = SlotList()
    /// Local members without a job, longest idle first.
    var idle = SlotList()

    /// Smoothed time between two ends of leases, in nanoseconds; 0 before the second.
    var drainInterval: Int64 = 0
    var lastEnd: Instant?

    /// The policy's durations in nanoseconds: arithmetic on `Duration` costs more than a grant.
    var hold: Int64 = 0
    var noEndpoints: Int64 = 0
    var ageAfter: Int64 = 0
    var affinityWait: Int64 = 0
    var dialBy: Duration

    init(policy: PoolPolicy, isConfigured: Bool) {
        self.policy = policy
        self.isConfigured = isConfigured
        state = PoolState(pool: policy.id)
        dialBy = policy.dialBy
        queue = PoolQueue(policy.tenants)
        takeDurations()
    }

    mutating func adopt(_ policy: PoolPolicy) {
        self.policy = policy
        isConfigured = true
        dialBy = policy.dialBy
        takeDurations()
    }

    private mutating func takeDurations() {
        hold = policy.holdTimeout.nanoseconds
        noEndpoints = policy.noEndpointsTimeout.nanoseconds
        ageAfter = policy.ageAfter.nanoseconds
        affinityWait = policy.affinityWait.nanoseconds
    }

    var hasFree: Bool { !free.isEmpty || !avoided.isEmpty }

    /// The member that the next job gets; ``hasFree`` must be true.
    var next: Slot {
        let list = free.isEmpty ? avoided : free
        return switch policy.order {
        case .spread: list.head
        case .pack: list.tail
        }
    }

    /// Whether no endpoint exists, as opposed to none being known yet.
    var isEmpty: Bool { existing == 0 && isKnown }

    /// How long a ticket without a budget of its own may wait now: as long as it may at all while nobody knows whether an endpoint exists,
    /// since a predecessor may have known of none.
    private var budget: Int64 { isEmpty ? noEndpoints : isKnown ? hold : max(hold, noEndpoints) }

    /// How long a ticket may wait now: its own budget or the pool's, and another one while no endpoint exists.
    func budget(own: Int64) -> Int64 {
        if own < 0 { return budget }
        return isEmpty ? min(own, noEndpoints) : own
    }

    /// What orders and ends waits at present.
    var times: PoolQueue.Times { PoolQueue.Times(ageAfter: ageAfter, budget: budget, limit: isEmpty ? noEndpoints : .max) }

    /// Whether only tickets of effective urgency 0 may take one more.
    var isAtReserve: Bool { policy.reserve > 0 && Int(state.free) <= policy.reserve }

    /// When a line of this length will have been served, from the measured rate at which leases end: at least a second, at most a minute.
    func retryAfter(_ ahead: UInt64) -> Duration {
        guard existing > 0, drainInterval > 0 else { return existing > 0 ? .seconds(1) : .seconds(5) }
        let (wait, overflow) = drainInterval.multipliedReportingOverflow(by: Int64(clamping: min(ahead, 1 << 40)) + 1)
        return .nanoseconds(min(max(overflow ? .max : wait, 1_000_000_000), 60_000_000_000))
    }

    /// A lease ended: one more sample of the drain rate (weight 1/8).
    mutating func noteEnd(at now: Instant) {
        if let lastEnd {
            let sample = max(0, now.nanoseconds - lastEnd.nanoseconds)
            drainInterval = drainInterval == 0 ? sample : drainInterval + (sample - drainInterval) / 8
        }
        lastEnd = now
    }

    /// Counts a member in or out of a state.
    mutating func count(_ endpointState: EndpointState, isLocal: Bool, by change: UInt32) {
        switch endpointState {
        case .unready: state.unready &+= change
        case .free: state.free &+= change
        case .leased: state.leased &+= change
        case .ending: state.ending &+= change
        case .recovering: state.recovering &+= change
        case .quarantined: state.quarantined &+= change
        case .draining: state.draining &+= change
        }
        if !isLocal, endpointState != .unready, endpointState != .draining { state.remote &+= change }
    }
}

extension Instant {
    /// Saturates at ``never``.
    @inline(__always)
    func advanced(by nanoseconds: Int64) -> Instant {
        let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
        return overflow ? .never : Instant(nanoseconds: sum)
    }
}
