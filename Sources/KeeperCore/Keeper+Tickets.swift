import Model
import Wire

// A ticket's way: told → (granted | waiting | refused); waiting → granted, refused, gone.

extension Keeper {
    mutating func ticketTold(_ ticket: Ticket, by d: Slot, at now: Instant, _ actions: inout [Action]) {
        let p = poolSlots[UInt64(ticket.pool.rawValue)]
        guard p != .null, pools[p].isConfigured else {
            // A dispatcher that has been reloaded before us, or an older one: it may try again.
            return refuse(ticket.id, pool: ticket.pool, queued: 0, .noEndpoints, .seconds(1), held: ticket.age, d, &actions)
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

        let budget = pools[p].budget(own: ownBudget)
        let isLate = budget > 0 && arrival.advanced(by: budget) <= now
        // Where an endpoint is free nobody waits, so the ticket is first in line.
        if !isLate, canGrant(p) { return grant(pools[p].next, to: ticket.id, of: d, arrival: arrival, at: now, &actions) }
        if isLate || budget == 0 || (pools[p].state.isPaused && pools[p].refusesWhilePaused) {
            return refuse(ticket.id, p, reason(p, isRequeued: ticket.isRequeued), arrival: arrival, d, at: now, &actions)
        }
        if !ticket.isRequeued, Int(pools[p].state.queued) >= pools[p].policy.maxQueued {
            return refuse(ticket.id, p, .queueFull, arrival: arrival, d, at: now, &actions)
        }
        guard let t = fileTicket(ticket, p, d, arrival, ownBudget, at: now, &actions) else { return }
        pools[p].enqueue(t, &tickets)
    }

    /// A ticket told between the hello and `asserted`: it waits for the end of the telling, in its old place.
    private mutating func ticketAsserted(
        _ ticket: Ticket, _ known: Slot, _ p: Slot, _ d: Slot, _ arrival: Instant, _ ownBudget: Int64, at now: Instant,
        _ actions: inout [Action]
    ) {
        guard known != .null else {
            _ = fileTicket(ticket, p, d, arrival, ownBudget, at: now, &actions)
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
        _ ticket: Ticket, _ p: Slot, _ d: Slot, _ arrival: Instant, _ ownBudget: Int64, at now: Instant, _ actions: inout [Action]
    ) -> Slot? {
        guard dispatchers[d].ticketSlots.count < Limits.ticketsPerDispatcher else {
            fault(d, .tooManyTickets, at: now, &actions)
            return nil
        }
        sequence += 1
        let t = tickets.insert(
            TicketRecord(
                id: ticket.id, connection: ticket.connection, arrival: arrival, sequence: sequence, budget: ownBudget, pool: p, dispatcher: d, place: .suspended,
                isRequeued: ticket.isRequeued, urgency: ticket.urgency, told: dispatchers[d].assertion, bytes: ticket.bytes))
        dispatchers[d].ticketSlots.insert(ticket.id.rawValue, t)
        dispatchers[d].tickets.append(t, &tickets.ownerLinks)
        pools[p].state.queued &+= 1
        touch(p)
        return t
    }

    mutating func cancelled(_ ticket: TicketID, by d: Slot, at now: Instant, _ actions: inout [Action]) {
        let t = dispatchers[d].ticketSlots[ticket.rawValue]
        guard t != .null else { return ignore(.lateCancel, &actions) }
        let (p, arrival) = (tickets[t].pool, tickets[t].arrival)
        forget(t)
        actions.append(.notice(.gone(pools[p].policy.id, held: now - arrival)))
    }

    /// Takes a ticket out of its queue and out of every table.
    mutating func forget(_ t: Slot) {
        let (p, d, id) = (tickets[t].pool, tickets[t].dispatcher, tickets[t].id)
        suspend(t)
        dispatchers[d].ticketSlots.remove(id.rawValue)
        dispatchers[d].tickets.remove(t, &tickets.ownerLinks)
        tickets.remove(t)
        pools[p].state.queued &-= 1
        touch(p)
    }

    /// Takes a ticket out of its queue; it stays counted.
    mutating func suspend(_ t: Slot) {
        guard tickets[t].place != .suspended else { return }
        let p = tickets[t].pool
        pools[p].dequeue(t, &tickets)
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
        pools[p].enqueue(t, &tickets)
        touch(p)
    }

    mutating func grantFirst(of p: Slot, at now: Instant, _ actions: inout [Action]) {
        let t = pools[p].first(tickets)
        let (id, d, arrival) = (tickets[t].id, tickets[t].dispatcher, tickets[t].arrival)
        forget(t)
        grant(pools[p].next, to: id, of: d, arrival: arrival, at: now, &actions)
    }

    mutating func expireTickets(of p: Slot, at now: Instant, _ actions: inout [Action]) {
        while true {
            let (t, deadline) = pools[p].earliestDeadline(tickets)
            guard t != .null, deadline <= now else { return }
            refuseWaiting(t, at: now, &actions)
        }
    }

    /// Why a ticket that cannot be held any longer goes without an endpoint.
    private func reason(_ p: Slot, isRequeued: Bool) -> Reason {
        if pools[p].state.isPaused { return .paused }
        if isRecovering { return .keeperUnavailable }
        if isRequeued { return .dialFailed }
        return pools[p].existing == 0 ? .noEndpoints : .holdTimeout
    }

    /// Refuses a ticket that has a record.
    mutating func refuseWaiting(_ t: Slot, at now: Instant, _ actions: inout [Action]) {
        let (id, p, d, arrival) = (tickets[t].id, tickets[t].pool, tickets[t].dispatcher, tickets[t].arrival)
        let reason = pools[p].isConfigured ? reason(p, isRequeued: tickets[t].isRequeued) : .noEndpoints
        forget(t)
        refuse(id, p, reason, arrival: arrival, d, at: now, &actions)
    }

    private mutating func refuse(
        _ id: TicketID, _ p: Slot, _ reason: Reason, arrival: Instant, _ d: Slot, at now: Instant, _ actions: inout [Action]
    ) {
        refuse(
            id, pool: pools[p].policy.id, queued: pools[p].state.queued, reason, pools[p].retryAfter, held: now - arrival, d, &actions)
    }

    private func refuse(
        _ id: TicketID, pool: PoolID, queued: UInt32, _ reason: Reason, _ retryAfter: Duration, held: Duration, _ d: Slot,
        _ actions: inout [Action]
    ) {
        if let link = dispatchers[d].link {
            actions.append(.reply(link, .refuse(Refusal(ticket: id, reason: reason, retryAfter: retryAfter, queued: queued))))
        }
        actions.append(.notice(.refused(id, pool, reason, held: held)))
    }
}
