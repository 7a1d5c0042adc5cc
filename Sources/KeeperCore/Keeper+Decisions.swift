import Model
import Wire

// What is remembered of each decision, for `leasehold explain`.

extension Keeper {
    /// The newest decisions after the first `number` ever made, oldest first; O(n) in ``Parameters/decisions``.
    public func decisions(since number: UInt64 = 0) -> [(number: UInt64, decision: Decision)] { ring.since(number) }

    /// Of this start: decisions are counted anew with each.
    public var epoch: UInt64 { parameters.epoch }

    /// The name of a tenant in a pool as it is configured now.
    public func tenantName(_ number: UInt16, in pool: PoolID) -> String {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null, Int(number) < pools[p].queue.shares.count else { return "" }
        return pools[p].queue.shares[Int(number)].name
    }

    /// The seat with that number in a decision.
    public func seatName(_ number: UInt16) -> String { Int(number) < seats.count ? seats[Int(number)] : "" }

    /// What people call an endpoint, also one that left lately; nil where that is not known any more. O(1).
    public func endpointName(_ id: EndpointID) -> String? {
        if let e = endpointSlots[id], endpoints[e].firstMember != .null {
            let label = descriptions[Int(endpoints[e].firstMember)].label
            if !label.isEmpty { return label }
        }
        return ring.formerName(of: id)
    }

    /// The number of a seat, the same for all who sit there one after the other. Of more than ``Limits/seats`` the others have no name.
    mutating func seatNumber(_ seat: String) -> UInt16 {
        if let known = seats.firstIndex(of: seat) { return UInt16(truncatingIfNeeded: known) }
        guard seats.count < Limits.seats else { return .max }
        seats.append(seat)
        return UInt16(truncatingIfNeeded: seats.count - 1)
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
                at: now, pool: pools[p].policy.id, ticket: job.ticket, seat: dispatchers[d].seatNumber, caller: job.caller,
                urgency: job.urgency, tenant: share, event: event))
    }
}

extension Endpoint {
    /// Its name, or where it has none its UID.
    var label: String { name.isEmpty ? uid : name }
}

extension JobPlace {
    init(_ t: Slot, _ tickets: borrowing Tickets) {
        self.init(ticket: tickets[t].id, arrival: tickets[t].arrival, caller: tickets[t].connection, urgency: tickets[t].urgency)
    }
}
