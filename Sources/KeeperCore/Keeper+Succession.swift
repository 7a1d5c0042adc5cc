import Model
import Wire

// What a dead dispatcher leaves, and who inherits it.
//
// Its leases and its tickets wait `adoptWithin` for the next process in its seat. They go to that one as a whole at its hello, and become
// its own one by one as it asserts them. What it does not assert is over: a lease is fenced, because somebody may still hold the connection
// and the worker may still be at work. A lease without a worker in escrow cannot be asserted; but where its job's ticket is told again no
// byte has gone to the worker, and it was not used.

extension Keeper {
    mutating func died(_ instance: InstanceID, at now: Instant, _ actions: inout [Action]) {
        let d = dispatcher(instance)
        guard d != .null, dispatchers[d].phase != .dead else { return ignore(.lateLinkEnd, &actions) }
        if let link = dispatchers[d].link { linkEnded(link, at: now, &actions) }
        dispatchers[d].phase = .dead
        actions.append(.rosterChanged)
        // Nobody knows what it held, so every endpoint might be at a job of the dead.
        if dispatchers[d].mayHoldUntold { dispatchers[d].graceUntil = now + max(parameters.recoveryGrace, longestAbandon) }
        dispatchers[d].blocksRecovery = dispatchers[d].mayHoldUntold
        // One that dies while it adopts leaves what it has inherited to the next, but not for longer.
        if dispatchers[d].adoptUntil == .never { dispatchers[d].adoptUntil = now + parameters.adoptWithin }
        for l in dispatchers[d].leases.slots(leaseLinks) where !leases[l].isEscrowed && !mayBeUnread(l) { close(l, .holderDied, at: now, &actions) }
        if dispatchers[d].ticketSlots.count > 0, dispatchers[d].adoptUntil > now { actions.append(.watchCallers(instance)) }
        dispatcherTimer(d, at: now, &actions)
    }

    /// Whether the lease's grant may still be on its way to its job.
    private func mayBeUnread(_ l: Slot) -> Bool { leases[l].job != nil && !leases[l].isEnding && !leases[l].isEscrowed }

    private var longestAbandon: Duration {
        poolOrder.reduce(Duration.zero) { pools[$1].isConfigured ? max($0, pools[$1].policy.abandon) : $0 }
    }

    /// What a dispatcher's death leaves to be done, as its times come.
    mutating func dispatcherTimer(_ d: Slot, at now: Instant, _ actions: inout [Action]) {
        if dispatchers[d].adoptUntil <= now {
            dispatchers[d].adoptUntil = .never
            endAdoption(d, at: now, &actions)
        }
        if dispatchers[d].graceUntil <= now {
            dispatchers[d].graceUntil = .never
            dispatchers[d].blocksRecovery = false
            actions.append(.rosterChanged)
        }
        let next = min(dispatchers[d].adoptUntil, dispatchers[d].graceUntil)
        timers.set(Timer.dispatcher.number(d), to: next)
        if next == .never, dispatchers[d].phase == .dead {
            dispatchers[d].ticketSlots = SlotTable()
            dispatchers.remove(d)
            dispatcherOrder.removeAll { $0 == d }
        }
        recoverIfComplete(at: now, &actions)
    }

    /// Nobody has adopted in time what was left here: by a dead process, or to one that lives and has not asserted it.
    private mutating func endAdoption(_ d: Slot, at now: Instant, _ actions: inout [Action]) {
        let isDead = dispatchers[d].phase == .dead
        actions.append(.rosterChanged)
        for l in dispatchers[d].leases.slots(leaseLinks) where isDead || leases[l].told == 0 { close(l, .holderDied, at: now, &actions) }
        for t in toldTickets(d) where isDead || tickets[t].told == 0 {
            gone(t, at: now, &actions)
        }
        if isDead { actions.append(.dropEscrow(dispatchers[d].instance)) }
    }

    /// The dead process whose seat this was; of several the last to die.
    func estate(in seat: String) -> Slot {
        var best = Slot.null
        for d in dispatcherOrder where dispatchers[d].phase == .dead && dispatchers[d].adoptUntil != .never && dispatchers[d].seat == seat {
            if best == .null || dispatchers[best].adoptUntil <= dispatchers[d].adoptUntil { best = d }
        }
        return best
    }

    /// Moves what the dead one left to a new record, still to be asserted. O(n) in leases and tickets.
    mutating func inherit(from dead: Slot, _ heir: Slot, at now: Instant, _ actions: inout [Action]) {
        for l in dispatchers[dead].leases.slots(leaseLinks) {
            dispatchers[dead].leases.remove(l, &leaseLinks)
            dispatchers[heir].leases.append(l, &leaseLinks)
            leases[l].dispatcher = heir
            leases[l].told = 0
            if mayBeUnread(l), let job = leases[l].job { dispatchers[heir].unread[job.ticket] = leases[l].id }
        }
        for t in dispatchers[dead].ticketSlots.slots {
            tickets[t].dispatcher = heir
            tickets[t].told = 0
        }
        dispatchers[heir].ticketSlots = dispatchers[dead].ticketSlots
        dispatchers[dead].ticketSlots = SlotTable()
        dispatchers[heir].returned = dispatchers[dead].returned
        setAdoption(heir, until: dispatchers[dead].adoptUntil)
        dispatchers[dead].adoptUntil = .never
        dispatcherTimer(dead, at: now, &actions)
    }

    /// The lease that its predecessor did not use, of a job that a successor tells again; nil when there is none.
    mutating func takeUnread(_ ticket: Ticket, _ p: Slot, by d: Slot) -> Slot? {
        // One that was in line twice may have had a worker in between.
        guard !ticket.isRequeued, let lease = dispatchers[d].unread.removeValue(forKey: ticket.id) else { return nil }
        let l = slot(of: lease)
        guard l != .null, leases[l].dispatcher == d, leases[l].pool == p, leases[l].told == 0, mayBeUnread(l) else { return nil }
        return l
    }

    mutating func setAdoption(_ d: Slot, until: Instant) {
        guard dispatchers[d].adoptUntil != until else { return }
        dispatchers[d].adoptUntil = until
        timers.set(Timer.dispatcher.number(d), to: min(until, dispatchers[d].graceUntil))
    }

    /// The worker's connection is in escrow; one of a lease that is over, or another's, leaves it again.
    mutating func workerEscrowed(_ lease: LeaseID, by d: Slot, _ actions: inout [Action]) {
        let l = slot(of: lease)
        guard l != .null, leases[l].dispatcher == d else {
            ignore(.lateEscrow, &actions)
            return actions.append(.closeWorker(dispatchers[d].instance, lease))
        }
        leases[l].isEscrowed = true
    }

    mutating func callerLeft(_ ticket: TicketID, of instance: InstanceID, at now: Instant, _ actions: inout [Action]) {
        let d = dispatcher(instance)
        guard d != .null else { return ignore(.lateCancel, &actions) }
        cancelled(ticket, by: d, at: now, &actions)
    }

    /// The process's waiting jobs, oldest told first, with the callers that they belong to; O(n).
    public func waiting(of instance: InstanceID) -> [(ticket: TicketID, caller: ConnectionID)] {
        let d = dispatcher(instance)
        guard d != .null else { return [] }
        return toldTickets(d).map { (tickets[$0].id, tickets[$0].connection) }
    }

    /// Whose job has the lease; empty for the default tenant, and for one that is over. O(1).
    public func tenant(of lease: LeaseID) -> String {
        let l = slot(of: lease)
        guard l != .null, leases[l].share > 0 else { return "" }
        return pools[leases[l].pool].queue.shares[Int(leases[l].share)].name
    }

    /// The lease as its holder is to assert it; nil when it is over. O(1).
    public func held(_ lease: LeaseID, at now: Instant) -> AssertedLease? {
        let l = slot(of: lease)
        guard l != .null else { return nil }
        let (p, e) = (leases[l].pool, leases[l].endpoint)
        let m = member(of: e, in: p)
        guard m != .null else { return nil }
        return AssertedLease(
            lease: lease, pool: pools[p].policy.id, endpoint: endpoints[e].id, address: members[m].address,
            age: max(.zero, now - leases[l].since), isEnding: leases[l].isEnding, isProbe: leases[l].isProbe,
            tenant: TenantID(name: tenant(of: lease)))
    }
}
