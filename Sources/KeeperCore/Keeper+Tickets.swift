import Model
import Wire

// A ticket's way: told → (granted | waiting | refused); waiting → granted, refused, gone.

extension Keeper {
    mutating func ticketTold(_ ticket: Ticket, by d: Slot, at now: Instant, _ actions: inout [Action]) {
        let p = poolSlots[UInt64(ticket.pool.rawValue)]
        guard p != .null, pools[p].isConfigured else {
            // A dispatcher that has been reloaded before us, or an older one: it may try again.
            let refusal = Refusal(ticket: ticket.id, reason: .noEndpoints, retryAfter: .seconds(1))
            return refuse(refusal, pool: ticket.pool, held: ticket.age, d, &actions)
        }
        var arrival = ticket.age == .zero ? now : now.advanced(by: -max(0, ticket.age.nanoseconds))
        if ticket.isRequeued, let job = dispatchers[d].returned, job.ticket == ticket.id { arrival = min(arrival, job.arrival) }
        let ownBudget = ticket.budget.map { max(0, $0.nanoseconds) } ?? -1
        let known = dispatchers[d].ticketSlots[ticket.id.rawValue]
        if dispatchers[d].phase == .asserting {
            return ticketAsserted(ticket, known, p, d, arrival, ownBudget, at: now, &actions)
        }
        guard known == .null else { return fault(d, .duplicateTicket, at: now, &actions) }
        if ticket.isRequeued { actions.append(.notice(.requeued(ticket.pool))) }

        let share = pools[p].queue.share(named: ticket.tenant)
        let budget = pools[p].budget(own: ownBudget)
        let end = arrival.advanced(by: budget)
        let isLate = budget > 0 && end <= now
        let affinity = ticket.affinity.isEmpty ? nil : affinityHash(ticket, share, p)
        if !isLate {
            let m = offer(p, share, ticket.urgency, since: arrival, affinity, until: end, at: now)
            if m != .null {
                let job = JobPlace(ticket: ticket.id, arrival: arrival, caller: ticket.connection, urgency: ticket.urgency)
                return grant(m, to: job, of: d, share: share, charged: -1, affinity: affinity, at: now, &actions)
            }
        }
        if isLate || budget == 0 || (pools[p].state.isPaused && pools[p].refusesWhilePaused) {
            let reason = reason(p, share, isRequeued: ticket.isRequeued)
            let job = JobPlace(ticket: ticket.id, arrival: arrival, caller: ticket.connection, urgency: ticket.urgency)
            return refuse(job, p, reason, share, d, at: now, &actions)
        }
        if !ticket.isRequeued, let reason = makeRoom(ticket, p, share, at: now, &actions) {
            let job = JobPlace(ticket: ticket.id, arrival: arrival, caller: ticket.connection, urgency: ticket.urgency)
            return refuse(job, p, reason, share, d, at: now, &actions)
        }
        guard let t = fileTicket(ticket, share, p, d, arrival, ownBudget, at: now, &actions) else { return }
        enqueue(t, at: now)
        noteWaiting(t, at: now)
    }

    private func affinityHash(_ ticket: Ticket, _ share: Int, _ p: Slot) -> UInt64 {
        AffinityMemory.hash(tenant: pools[p].queue.shares[share].name, key: ticket.affinity)
    }

    /// Whether a ticket may wait beside the others: nil, or the bound that it meets. Where the pool sheds the oldest, those that have to go
    /// for it are refused first, unless they are more urgent.
    private mutating func makeRoom(_ ticket: Ticket, _ p: Slot, _ share: Int, at now: Instant, _ actions: inout [Action]) -> Reason? {
        while true {
            let reason: Reason
            if pools[p].queue.shares[share].queued >= pools[p].queue.shares[share].maxQueued {
                reason = .tenantLimit
            } else if Int(pools[p].state.queued) >= pools[p].policy.maxQueued
                || pools[p].policy.maxBytes.map({ pools[p].bytes + UInt64(ticket.bytes) > UInt64($0) }) ?? false
            {
                reason = .queueFull
            } else {
                return nil
            }
            guard pools[p].policy.shed == .oldest else { return reason }
            let t = pools[p].queue.leastUrgent(of: reason == .tenantLimit ? share : nil, atMost: ticket.urgency, tickets)
            // One that had an endpoint already is never refused for want of room.
            guard t != .null, !tickets[t].isRequeued else { return reason }
            refuseWaiting(t, reason, at: now, &actions)
        }
    }

    /// A ticket told between the hello and `asserted`: it waits for the end of the telling, in its old place.
    private mutating func ticketAsserted(
        _ ticket: Ticket, _ known: Slot, _ p: Slot, _ d: Slot, _ arrival: Instant, _ ownBudget: Int64, at now: Instant,
        _ actions: inout [Action]
    ) {
        guard known != .null else {
            var arrival = arrival
            if let l = takeUnread(ticket, p, by: d) {
                // It waits as if it had never been granted: at the end of the telling.
                arrival = min(arrival, leases[l].job?.arrival ?? arrival)
                close(l, .released(.unused), at: now, &actions)
            }
            _ = fileTicket(ticket, pools[p].queue.share(named: ticket.tenant), p, d, arrival, ownBudget, at: now, &actions)
            return
        }
        guard tickets[known].told != dispatchers[d].assertion, tickets[known].pool == p else {
            return fault(d, .duplicateTicket, at: now, &actions)
        }
        // Our own memory of its arrival is better than the age, which has travelled.
        tickets[known].told = dispatchers[d].assertion
        tickets[known].connection = ticket.connection
        tickets[known].budget = ownBudget
        tickets[known].isRequeued = ticket.isRequeued
    }

    /// A new record, suspended; nil when the dispatcher has been closed for having too many.
    private mutating func fileTicket(
        _ ticket: Ticket, _ share: Int, _ p: Slot, _ d: Slot, _ arrival: Instant, _ ownBudget: Int64, at now: Instant,
        _ actions: inout [Action]
    ) -> Slot? {
        guard dispatchers[d].ticketSlots.count < Limits.ticketsPerDispatcher else {
            fault(d, .tooManyTickets, at: now, &actions)
            return nil
        }
        sequence += 1
        let t = tickets.insert(
            TicketRecord(
                id: ticket.id, connection: ticket.connection, arrival: arrival, sequence: sequence, budget: ownBudget, pool: p, dispatcher: d,
                place: .suspended, isRequeued: ticket.isRequeued, hasAffinity: !ticket.affinity.isEmpty, urgency: ticket.urgency,
                share: UInt16(truncatingIfNeeded: share), told: dispatchers[d].assertion, bytes: ticket.bytes))
        if !ticket.affinity.isEmpty { tickets.affinities[t] = TicketAffinity(hash: affinityHash(ticket, share, p)) }
        dispatchers[d].ticketSlots.insert(ticket.id.rawValue, t)
        count(t, by: 1)
        return t
    }

    /// A dispatcher's tickets, oldest told first; O(n log n).
    func toldTickets(_ d: Slot) -> [Slot] {
        dispatchers[d].ticketSlots.slots.sorted { tickets[$0].sequence < tickets[$1].sequence }
    }

    /// Counts a ticket in or out.
    @inline(__always)
    private mutating func count(_ t: Slot, by change: UInt32) {
        let p = tickets[t].pool
        pools[p].state.queued &+= change
        pools[p].state.queuedByUrgency[Int(tickets[t].urgency.rawValue)] &+= change
        pools[p].bytes = change == 1 ? pools[p].bytes + UInt64(tickets[t].bytes) : pools[p].bytes - UInt64(tickets[t].bytes)
        pools[p].queue.countTicket(Int(tickets[t].share), by: change)
        touch(p)
    }

    mutating func cancelled(_ ticket: TicketID, by d: Slot, at now: Instant, _ actions: inout [Action]) {
        let t = dispatchers[d].ticketSlots[ticket.rawValue]
        guard t != .null else { return ignore(.lateCancel, &actions) }
        gone(t, at: now, &actions)
    }

    /// The caller left, or nobody goes on with it.
    mutating func gone(_ t: Slot, at now: Instant, _ actions: inout [Action]) {
        let (p, arrival) = (tickets[t].pool, tickets[t].arrival)
        note(.gone(heldNanoseconds: (now - arrival).nanoseconds), JobPlace(t, tickets), p, tickets[t].dispatcher, share: tickets[t].share, at: now)
        forget(t, at: now)
        actions.append(.notice(.gone(pools[p].policy.id, held: now - arrival)))
    }

    /// Takes a ticket out of its queue and out of every table.
    mutating func forget(_ t: Slot, at now: Instant) {
        let (d, id) = (tickets[t].dispatcher, tickets[t].id)
        suspend(t, at: now)
        dispatchers[d].ticketSlots.remove(id.rawValue)
        count(t, by: .max)  // one less, modulo 2³²
        tickets.remove(t)
    }

    /// Takes a ticket out of its queue; it stays counted.
    mutating func suspend(_ t: Slot, at now: Instant) {
        let p = tickets[t].pool
        switch tickets[t].place {
        case .suspended: return
        case .listed, .late: pools[p].queue.remove(t, &tickets, at: now)
        case .affine: leaveWait(t)
        }
        touch(p)
    }

    /// A ticket that was told again takes its place, unless its budget has ended meanwhile.
    mutating func resume(_ t: Slot, at now: Instant, _ actions: inout [Action]) {
        let p = tickets[t].pool
        let budget = pools[p].budget(own: tickets[t].budget)
        let isLate = budget > 0 && tickets[t].arrival.advanced(by: budget) <= now
        if isLate || !pools[p].isConfigured || (pools[p].state.isPaused && pools[p].refusesWhilePaused) {
            return refuseWaiting(t, at: now, &actions)
        }
        enqueue(t, at: now)
        touch(p)
    }

    /// The next moment at which a wait ends, or a ticket becomes urgent enough for the reserve. O(1).
    @inline(__always)
    func deadline(of p: Slot) -> Instant {
        let wait = pools[p].waitDeadlines.first.map { Instant(nanoseconds: $0.key) } ?? .never
        return min(wait, pools[p].queue.deadline(tickets, withRises: pools[p].policy.reserve > 0, at: latestInput))
    }

    mutating func expireTickets(of p: Slot, at now: Instant, _ actions: inout [Action]) {
        endWaits(of: p, at: now)
        while true {
            let t = pools[p].queue.expired(tickets, at: now)
            if t == .null { break }
            refuseWaiting(t, at: now, &actions)
        }
        touch(p)
    }

    /// Why a ticket that cannot be held any longer goes without an endpoint.
    private func reason(_ p: Slot, _ share: Int, isRequeued: Bool) -> Reason {
        if pools[p].state.isPaused { return .paused }
        if isRecovering { return .keeperUnavailable }
        if isRequeued { return .dialFailed }
        if pools[p].existing == 0 { return .noEndpoints }
        return pools[p].queue.shares[share].isCapped ? .tenantLimit : .holdTimeout
    }

    /// Refuses a ticket that has a record.
    mutating func refuseWaiting(_ t: Slot, _ reason: Reason? = nil, at now: Instant, _ actions: inout [Action]) {
        let (job, p, d, share) = (JobPlace(t, tickets), tickets[t].pool, tickets[t].dispatcher, Int(tickets[t].share))
        let reason = reason ?? (pools[p].isConfigured ? self.reason(p, share, isRequeued: tickets[t].isRequeued) : .noEndpoints)
        let standing = standing(of: t, at: now)
        forget(t, at: now)
        refuse(job, p, reason, share, standing: standing, d, at: now, &actions)
    }

    /// What a refused caller is told of the line: its place, those who waited, and how long the oldest had.
    private struct Standing {
        var position: UInt32 = 0
        var queued: UInt32
        var oldestWait: Duration
    }

    private func standing(of t: Slot, at now: Instant) -> Standing {
        let p = tickets[t].pool
        var standing = standing(in: p, at: now)
        switch tickets[t].place {
        case .suspended: break
        case .listed, .late:
            let before = pools[p].queue.before(t, tickets)
            let ahead = pools[p].queue.ahead(
                share: Int(tickets[t].share), urgency: tickets[t].urgency, before: before, arrival: tickets[t].arrival)
            standing.position = min(ahead, .max - 1) + 1
        // It is among the first for the one endpoint that it waits for.
        case .affine: standing.position = 1
        }
        return standing
    }

    private func standing(in p: Slot, at now: Instant) -> Standing {
        let oldest = oldestArrival(in: p)
        return Standing(queued: pools[p].state.queued, oldestWait: oldest == .never ? .zero : max(.zero, now - oldest))
    }

    /// When the ticket came that has waited longest, of those whose dispatcher is there; `Instant.never` for none.
    func oldestArrival(in p: Slot) -> Instant {
        var oldest = pools[p].queue.isEmpty ? Instant.never : pools[p].queue.oldest(tickets)
        for wait in pools[p].waitDeadlines.entries { oldest = min(oldest, tickets[wait.slot].arrival) }
        return oldest
    }

    /// What a caller who comes again would find before it.
    private func retryAfter(_ p: Slot, _ reason: Reason, _ share: Int, _ urgency: Urgency, arrival: Instant) -> Duration {
        let own = pools[p].queue.shares[share]
        guard reason == .tenantLimit else {
            let before = pools[p].queue.count(of: share, at: Int(urgency.rawValue))
            return pools[p].retryAfter(UInt64(pools[p].queue.ahead(share: share, urgency: urgency, before: before, arrival: arrival)))
        }
        // Of the leases that end only the tenant's own are for it.
        let rounds = max(1, UInt64(pools[p].state.leases) / UInt64(max(1, own.leased)))
        return pools[p].retryAfter((UInt64(own.queued) + 1) * rounds - 1)
    }

    private mutating func refuse(
        _ job: JobPlace, _ p: Slot, _ reason: Reason, _ share: Int, standing: Standing? = nil, _ d: Slot, at now: Instant,
        _ actions: inout [Action]
    ) {
        let standing = standing ?? self.standing(in: p, at: now)
        let retryAfter = retryAfter(p, reason, share, job.urgency, arrival: job.arrival)
        note(
            .refused(reason, heldNanoseconds: (now - job.arrival).nanoseconds, position: standing.position, queued: standing.queued), job, p, d,
            share: UInt16(truncatingIfNeeded: share), at: now)
        let refusal = Refusal(
            ticket: job.ticket, reason: reason, retryAfter: retryAfter, queued: standing.queued, position: standing.position,
            oldestWait: standing.oldestWait)
        refuse(refusal, pool: pools[p].policy.id, held: now - job.arrival, d, &actions)
    }

    private func refuse(_ refusal: Refusal, pool: PoolID, held: Duration, _ d: Slot, _ actions: inout [Action]) {
        if let link = dispatchers[d].link { actions.append(.reply(link, .refuse(refusal))) }
        actions.append(.notice(.refused(refusal.ticket, pool, refusal.reason, held: held)))
    }
}
