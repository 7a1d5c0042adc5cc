import Model
import Wire

// A dispatcher's way: (expected) → asserting → up ⇄ away → dead, and what it says it holds.

extension Keeper {
    /// The dispatchers that are believed alive, and the dead whose leases are not over: what has to be on disk to recover after our own
    /// start, with ``setAside(at:)``.
    public var roster: [RosterEntry] {
        dispatcherOrder.filter { dispatchers[$0].phase != .dead || !dispatchers[$0].leases.isEmpty || dispatchers[$0].blocksRecovery }
            .map { RosterEntry(instance: dispatchers[$0].instance, seat: dispatchers[$0].seat) }
    }

    /// What of the roster outlives a stop in order, after the last message was sent: a dispatcher that has nothing to tell and holds no
    /// lease gets none before it has met the next pool-keeper, which therefore need not wait for it, alive or not.
    public var rosterAtStop: [RosterEntry] {
        let idle = Set(dispatcherOrder.filter { !dispatchers[$0].mayHoldUntold && dispatchers[$0].leases.isEmpty }.map { dispatchers[$0].instance })
        return roster.filter { !idle.contains($0.instance) }
    }

    /// The endpoints whose worker may be at a job of which nobody is left to tell: the dispatcher that held it, or cut it, may be dead.
    /// They change with the roster, as far as they have to be on disk: while that dispatcher lives, it tells. O(n).
    public func setAside(at now: Instant) -> [SetAside] {
        var all = inherited.compactMap { $0.value > now ? SetAside(endpoint: $0.key, until: $0.value) : nil }
        for (id, e) in endpointSlots where endpoints[e].isQuarantined && endpoints[e].cutUntil > now {
            all.append(SetAside(endpoint: id, until: endpoints[e].cutUntil))
        }
        return all.sorted { $0.endpoint < $1.endpoint }
    }

    /// Whom recovery waits for.
    public var unasserted: [RosterEntry] {
        guard isRecovering else { return [] }
        return dispatcherOrder.filter { dispatchers[$0].blocksRecovery }
            .map { RosterEntry(instance: dispatchers[$0].instance, seat: dispatchers[$0].seat) }
    }

    /// Whether a complete snapshot of endpoints has come.
    public var hasEndpoints: Bool { snapshots > 0 }

    mutating func addDispatcher(_ record: DispatcherRecord) -> Slot {
        let d = dispatchers.insert(record)
        dispatchers[d].seatNumber = seatNumber(record.seat)
        dispatcherOrder.append(d)
        return d
    }

    /// By process; there are few.
    func dispatcher(_ instance: InstanceID) -> Slot {
        dispatcherOrder.first { dispatchers[$0].instance == instance } ?? .null
    }

    mutating func connected(
        _ link: DispatcherID, _ instance: InstanceID, _ seat: String, at now: Instant, _ actions: inout [Action]
    ) {
        var d = dispatcher(instance)
        var isHeir = false
        if d == .null {
            d = addDispatcher(DispatcherRecord(instance: instance, seat: seat, phase: .asserting))
            dispatchers[d].mayHoldUntold = isRecovering && hasLostRoster
            actions.append(.rosterChanged)
            let predecessor = estate(in: seat)
            if predecessor != .null {
                isHeir = true
                actions.append(.handOver(from: dispatchers[predecessor].instance, to: instance, link))
                inherit(from: predecessor, d, at: now, &actions)
            }
        } else {
            switch dispatchers[d].phase {
            case .dead: return actions.append(.closeDispatcher(link, .dead))
            case .asserting, .up: fault(d, .superseded, at: now, &actions)
            case .expected, .away: break
            }
            // It has accepted callers by now, whose jobs may have the names of those that it did not get.
            dispatchers[d].unread = [:]
            // Its link broke before it had asserted what it inherited: it may not have got all of it.
            if dispatchers[d].adoptUntil != .never {
                isHeir = true
                actions.append(.handOver(from: instance, to: instance, link))
            }
        }
        dispatchers[d].phase = .asserting
        dispatchers[d].link = link
        dispatchers[d].assertion &+= 1
        if isRecovering { dispatchers[d].blocksRecovery = true }
        linkSlots.insert(link.rawValue, d)
        if !isHeir { actions.append(.reply(link, .adopt(.end))) }
    }

    mutating func linkEnded(_ link: DispatcherID, at now: Instant, _ actions: inout [Action]) {
        let d = linkSlots[link.rawValue]
        guard d != .null else { return ignore(.lateLinkEnd, &actions) }
        linkSlots.remove(link.rawValue)
        dispatchers[d].link = nil
        dispatchers[d].phase = .away
        for t in dispatchers[d].ticketSlots.slots { suspend(t, at: now) }
    }

    /// The peer's fault: its link ends, with a reason. What it holds stays as after any end of a link.
    mutating func fault(_ d: Slot, _ reason: CloseReason, at now: Instant, _ actions: inout [Action]) {
        guard let link = dispatchers[d].link else { return }
        actions.append(.closeDispatcher(link, reason))
        linkEnded(link, at: now, &actions)
    }

    /// A lease that its holder tells again: known, from before our start, or not its own any more.
    mutating func leaseAsserted(_ asserted: AssertedLease, by d: Slot, at now: Instant, _ actions: inout [Action]) {
        let known = slot(of: asserted.lease)
        if known != .null, leases[known].dispatcher == d {
            if leases[known].told == 0 { actions.append(.notice(.adopted(asserted.lease))) }
            leases[known].told = dispatchers[d].assertion
            if asserted.isEnding, !leases[known].isEnding { leaseEnding(asserted.lease, by: d, at: now, &actions) }
            return
        }
        let isOver = asserted.lease.epoch == parameters.epoch && asserted.lease <= latest
        if known != .null || isOver {
            actions.append(.notice(.revoked(asserted.lease)))
            if let link = dispatchers[d].link { actions.append(.reply(link, .revoke(asserted.lease))) }
            return
        }
        if asserted.lease > latest {
            // Our epoch file was lost: tokens must go on growing all the same.
            guard asserted.lease.epoch < 1 << 62, asserted.lease.counter < 1 << 62 else {
                return fault(d, .impossibleToken, at: now, &actions)
            }
            latest = asserted.lease
        }
        let p = poolSlot(asserted.pool)
        let share = pools[p].queue.share(of: asserted.tenant)
        var e = endpointSlots[asserted.endpoint] ?? .null
        if e == .null {
            e = addEndpoint(asserted.endpoint)
            actions.append(.notice(.unknownEndpoint(asserted.endpoint, asserted.lease)))
        }
        let place = member(of: e, in: p)
        let isGhost = place == .null
        if !isGhost, members[place].isKept {
            members[place].isKept = false
            setSlots(e)
        }
        if isGhost {
            let ghost = Endpoint(id: asserted.endpoint, uid: "", addresses: [asserted.address], conditions: [])
            _ = addMember(e, p, ghost, address: asserted.address, isGone: true)
        }
        add(
            LeaseRecord(
                id: asserted.lease, pool: p, endpoint: e, dispatcher: d, told: dispatchers[d].assertion, isEnding: asserted.isEnding,
                isProbe: asserted.isProbe, since: now - asserted.age, share: UInt16(truncatingIfNeeded: share)))
        // Not before the lease is counted: a place that is gone and without one is dropped.
        if isGhost { claim(asserted.address, e, at: now) }
        inherit(e, p, at: now, &actions)
        move(e, .used, at: now)
        if endpoints[e].used > endpoints[e].slots {
            actions.append(.notice(.conflict(asserted.endpoint, asserted.lease, open: UInt32(clamping: endpoints[e].used))))
        }
    }

    /// Everything that the dispatcher holds has been told: what was not told again is over.
    mutating func asserted(by d: Slot, at now: Instant, _ actions: inout [Action]) {
        guard dispatchers[d].phase == .asserting else { return }
        dispatchers[d].phase = .up
        dispatchers[d].mayHoldUntold = false
        dispatchers[d].blocksRecovery = false
        setAdoption(d, until: .never)
        dispatchers[d].unread = [:]
        let assertion = dispatchers[d].assertion
        for l in dispatchers[d].leases.slots(leaseLinks) where leases[l].told != assertion {
            // What it has inherited and does not name nobody goes on with: its worker may be at it for as long as after a death.
            if leases[l].told == 0 { actions.append(.rosterChanged) }
            close(l, leases[l].told == 0 ? .holderDied : .unaccounted, at: now, &actions)
        }
        for t in toldTickets(d) {
            if tickets[t].told == assertion {
                resume(t, at: now, &actions)
            } else {
                gone(t, at: now, &actions)
            }
        }
        recoverIfComplete(at: now, &actions)
    }
}
