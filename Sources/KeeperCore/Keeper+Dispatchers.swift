import Model
import Wire

// A dispatcher's way: (expected) → asserting → up ⇄ away → dead, and what it says it holds.

extension Keeper {
    /// The dispatchers that are believed alive, and the dead whose leases are not over: what has to be on disk to recover after our own
    /// start, with ``setAside(at:)``.
    public var roster: [RosterEntry] {
        dispatcherOrder.filter { dispatchers[$0].phase != .dead || dispatchers[$0].leasesUntil != .never || dispatchers[$0].blocksRecovery }
            .map { RosterEntry(instance: dispatchers[$0].instance, seat: dispatchers[$0].seat) }
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
        dispatcherOrder.append(d)
        return d
    }

    /// By process; there are few.
    private func dispatcher(_ instance: InstanceID) -> Slot {
        dispatcherOrder.first { dispatchers[$0].instance == instance } ?? .null
    }

    mutating func connected(
        _ link: DispatcherID, _ instance: InstanceID, _ seat: String, at now: Instant, _ actions: inout [Action]
    ) {
        var d = dispatcher(instance)
        if d == .null {
            d = addDispatcher(DispatcherRecord(instance: instance, seat: seat, phase: .asserting))
            actions.append(.rosterChanged)
        } else {
            switch dispatchers[d].phase {
            case .dead: return actions.append(.closeDispatcher(link, .dead))
            case .asserting, .up: fault(d, .superseded, at: now, &actions)
            case .expected, .away: break
            }
        }
        dispatchers[d].phase = .asserting
        dispatchers[d].link = link
        dispatchers[d].assertion &+= 1
        if isRecovering { dispatchers[d].blocksRecovery = true }
        linkSlots.insert(link.rawValue, d)
    }

    mutating func linkEnded(_ link: DispatcherID, at now: Instant, _ actions: inout [Action]) {
        let d = linkSlots[link.rawValue]
        guard d != .null else { return ignore(.lateLinkEnd, &actions) }
        linkSlots.remove(link.rawValue)
        dispatchers[d].link = nil
        dispatchers[d].phase = .away
        var t = dispatchers[d].tickets.head
        while t != .null {
            suspend(t)
            t = tickets.ownerLinks[Int(t)].next
        }
    }

    /// The peer's fault: its link ends, with a reason. What it holds stays as after any end of a link.
    mutating func fault(_ d: Slot, _ reason: CloseReason, at now: Instant, _ actions: inout [Action]) {
        guard let link = dispatchers[d].link else { return }
        actions.append(.closeDispatcher(link, reason))
        linkEnded(link, at: now, &actions)
    }

    mutating func died(_ instance: InstanceID, at now: Instant, _ actions: inout [Action]) {
        let d = dispatcher(instance)
        guard d != .null, dispatchers[d].phase != .dead else { return ignore(.lateLinkEnd, &actions) }
        if let link = dispatchers[d].link { linkEnded(link, at: now, &actions) }
        dispatchers[d].phase = .dead
        while dispatchers[d].tickets.head != .null {
            let t = dispatchers[d].tickets.head
            let (pool, arrival) = (pools[tickets[t].pool].policy.id, tickets[t].arrival)
            forget(t)
            actions.append(.notice(.gone(pool, held: now - arrival)))
        }
        dispatchers[d].leasesUntil = now + parameters.adoptWithin
        // Nobody knows what it held, so every endpoint might be at a job of the dead.
        if dispatchers[d].blocksRecovery { dispatchers[d].graceUntil = now + max(parameters.recoveryGrace, longestAbandon) }
        dispatcherTimer(d, at: now, &actions)
    }

    /// What the death of a dispatcher leaves to be done, as its times come.
    mutating func dispatcherTimer(_ d: Slot, at now: Instant, _ actions: inout [Action]) {
        if dispatchers[d].leasesUntil <= now {
            dispatchers[d].leasesUntil = .never
            while dispatchers[d].leases.head != .null { close(dispatchers[d].leases.head, .holderDied, at: now, &actions) }
        }
        if dispatchers[d].graceUntil <= now {
            dispatchers[d].graceUntil = .never
            dispatchers[d].blocksRecovery = false
        }
        let next = min(dispatchers[d].leasesUntil, dispatchers[d].graceUntil)
        timers.set(Timer.dispatcher.number(d), to: next)
        if next == .never {
            dispatchers[d].ticketSlots = SlotTable()
            dispatchers.remove(d)
            dispatcherOrder.removeAll { $0 == d }
            actions.append(.rosterChanged)
        }
        recoverIfComplete(at: now, &actions)
    }

    private var longestAbandon: Duration {
        poolOrder.reduce(Duration.zero) { pools[$1].isConfigured ? max($0, pools[$1].policy.abandon) : $0 }
    }

    /// A lease that its holder tells again: known, from before our start, or not its own any more.
    mutating func leaseAsserted(_ asserted: AssertedLease, by d: Slot, at now: Instant, _ actions: inout [Action]) {
        let known = slot(of: asserted.lease)
        if known != .null, leases[known].dispatcher == d {
            leases[known].told = dispatchers[d].assertion
            if asserted.isEnding, !leases[known].isEnding { leaseEnding(asserted.lease, by: d, at: now, &actions) }
            return
        }
        let isOver = asserted.lease.epoch == parameters.epoch && asserted.lease <= latest
        if known != .null || isOver {
            guard let link = dispatchers[d].link else { return }
            return actions.append(.reply(link, .revoke(asserted.lease)))
        }
        if asserted.lease > latest {
            // Our epoch file was lost: tokens must go on growing all the same.
            guard asserted.lease.epoch < 1 << 62, asserted.lease.counter < 1 << 62 else {
                return fault(d, .impossibleToken, at: now, &actions)
            }
            latest = asserted.lease
        }
        let p = poolSlot(asserted.pool)
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
                isProbe: asserted.isProbe, since: now - asserted.age))
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
        dispatchers[d].blocksRecovery = false
        let assertion = dispatchers[d].assertion
        for l in dispatchers[d].leases.slots(leaseLinks) where leases[l].told != assertion {
            close(l, .unaccounted, at: now, &actions)
        }
        for t in dispatchers[d].tickets.slots(tickets.ownerLinks) {
            if tickets[t].told == assertion {
                resume(t, at: now, &actions)
            } else {
                let (pool, arrival) = (pools[tickets[t].pool].policy.id, tickets[t].arrival)
                forget(t)
                actions.append(.notice(.gone(pool, held: now - arrival)))
            }
        }
        recoverIfComplete(at: now, &actions)
    }
}
