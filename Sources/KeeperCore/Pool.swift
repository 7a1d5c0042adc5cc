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

    /// Tickets that wait as long as the pool says.
    var standard = TicketQueue()
    /// Tickets that brought their own budget, and when those end.
    var own = TicketQueue()
    var ownDeadlines = SlotHeap()

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
    var dialBy: Duration

    init(policy: PoolPolicy, isConfigured: Bool) {
        self.policy = policy
        self.isConfigured = isConfigured
        state = PoolState(pool: policy.id)
        dialBy = policy.dialBy
        hold = policy.holdTimeout.nanoseconds
        noEndpoints = policy.noEndpointsTimeout.nanoseconds
    }

    mutating func adopt(_ policy: PoolPolicy) {
        self.policy = policy
        isConfigured = true
        dialBy = policy.dialBy
        hold = policy.holdTimeout.nanoseconds
        noEndpoints = policy.noEndpointsTimeout.nanoseconds
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

    /// The ticket that is first in line, or `Slot.null`.
    @inline(__always)
    func first(_ tickets: borrowing Tickets) -> Slot {
        let a = standard.first(tickets)
        if own.isEmpty { return a }
        let b = own.first(tickets)
        if a == .null { return b }
        return tickets[b].order < tickets[a].order ? b : a
    }

    mutating func enqueue(_ slot: Slot, _ tickets: inout Tickets) {
        guard tickets[slot].hasOwnBudget else { return standard.insert(slot, &tickets) }
        own.insert(slot, &tickets)
        let deadline = tickets[slot].arrival.advanced(by: tickets[slot].budget)
        ownDeadlines.insert(
            SlotHeap.Entry(key: deadline.nanoseconds, tie: tickets[slot].sequence, slot: slot), &tickets.deadlinePositions)
    }

    mutating func dequeue(_ slot: Slot, _ tickets: inout Tickets) {
        guard tickets[slot].hasOwnBudget else { return standard.remove(slot, &tickets) }
        own.remove(slot, &tickets)
        ownDeadlines.remove(slot, &tickets.deadlinePositions)
    }

    /// Whether no endpoint exists, as opposed to none being known yet.
    var isEmpty: Bool { existing == 0 && isKnown }

    /// How long a ticket may wait now: its own budget or the pool's, and another one while no endpoint exists.
    func budget(own: Int64) -> Int64 {
        if !isEmpty { return own >= 0 ? own : hold }
        return own >= 0 ? min(own, noEndpoints) : noEndpoints
    }

    /// The ticket whose budget ends first, and when. O(1): tickets with the same budget end in the order of arrival.
    @inline(__always)
    func earliestDeadline(_ tickets: borrowing Tickets) -> (ticket: Slot, at: Instant) {
        var earliest: (ticket: Slot, at: Instant) = (.null, .never)
        let first = standard.first(tickets)
        if first != .null { earliest = (first, tickets[first].arrival.advanced(by: isEmpty ? noEndpoints : hold)) }
        guard let entry = ownDeadlines.first else { return earliest }
        if entry.key < earliest.at.nanoseconds { earliest = (entry.slot, Instant(nanoseconds: entry.key)) }
        if isEmpty {
            let oldest = own.first(tickets)
            let deadline = tickets[oldest].arrival.advanced(by: noEndpoints)
            if deadline < earliest.at { earliest = (oldest, deadline) }
        }
        return earliest
    }

    /// When the queue will be short enough to try again, from the measured rate at which leases end.
    var retryAfter: Duration {
        guard existing > 0, drainInterval > 0 else { return existing > 0 ? .seconds(1) : .seconds(5) }
        let (wait, overflow) = drainInterval.multipliedReportingOverflow(by: Int64(state.queued) + 1)
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
