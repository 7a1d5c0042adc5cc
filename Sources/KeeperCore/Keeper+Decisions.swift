import Model
import Wire

// What is remembered of each decision, for `leasehold explain`.

extension Keeper {
    /// The newest decisions after the first `number` ever made, oldest first; O(n) in ``Parameters/decisions``.
    public func decisions(since number: UInt64 = 0) -> [(number: UInt64, decision: Decision)] { ring.since(number) }

    /// The name of a tenant in a pool as it is configured now.
    public func tenantName(_ number: UInt16, in pool: PoolID) -> String {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null, Int(number) < pools[p].queue.shares.count else { return "" }
        return pools[p].queue.shares[Int(number)].name
    }

    mutating func noteWaiting(_ t: Slot, at now: Instant) {
        let p = tickets[t].pool
        let soonest = pools[p].quarantines.earliest
        let passed = Decision.PassedOver(
            free: pools[p].state.free, leased: pools[p].state.leased, ending: pools[p].state.ending, recovering: pools[p].state.recovering,
            quarantined: pools[p].state.quarantined, unready: pools[p].state.unready, draining: pools[p].state.draining,
            soonestNanoseconds: soonest == .never ? -1 : max(0, (soonest - now).nanoseconds))
        let obstacle = obstacle(t, p)
        note(
            .waits(obstacle, passed: passed, queued: pools[p].state.queued, isRequeued: tickets[t].isRequeued), JobPlace(t, tickets), p, tickets[t].dispatcher,
            share: tickets[t].share, at: now)
    }

    /// Reads only; inlined, because the compiler hands such a method a copy of a machine that is being changed.
    @inline(__always)
    private func obstacle(_ t: Slot, _ p: Slot) -> Decision.Obstacle {
        if isRecovering { return .recovering }
        if pools[p].state.isPaused { return .paused }
        if pools[p].queue.shares[Int(tickets[t].share)].isCapped { return .tenantCap }
        if tickets[t].place == .affine { return .affinity }
        if pools[p].existing == 0 { return .noEndpoint }
        return pools[p].hasFree ? .reserve : .noneFree
    }

    @inline(__always)
    mutating func note(_ event: Decision.Event, _ job: JobPlace, _ p: Slot, _ d: Slot, share: UInt16, at now: Instant) {
        ring.note(
            Decision(
                at: now, pool: pools[p].policy.id, ticket: job.ticket, instance: dispatchers[d].instance, caller: job.caller,
                urgency: job.urgency, tenant: share, event: event))
    }
}

extension JobPlace {
    init(_ t: Slot, _ tickets: borrowing Tickets) {
        self.init(ticket: tickets[t].id, arrival: tickets[t].arrival, caller: tickets[t].connection, urgency: tickets[t].urgency)
    }
}
