import Model
import Wire

// An endpoint's way through its states: `move` is the one function that changes them.

extension Keeper {
    /// Where an endpoint that turns free goes in its pools' order.
    enum Place {
        /// A job had it: most recently used.
        case used
        /// A job gave it back untouched: it is still the next.
        case unused
        /// New, back from being set aside, or probed: taken last.
        case entered
    }

    /// What the member's pool counts its endpoint as; nil when it is only remembered.
    @inline(__always)
    func state(of m: Slot, _ e: Slot) -> EndpointState? {
        if members[m].isKept { return nil }
        let isGone = members[m].isGone
        let isUsable = members[m].isUsable
        let used = endpoints[e].used
        if used > 0 {
            if used < endpoints[e].slots, isUsable, !isGone, endpoints[e].isWilling { return .free }
            return used == endpoints[e].ending ? .ending : .leased
        }
        if isGone { return nil }
        if endpoints[e].isDraining { return .draining }
        if !isUsable || endpoints[e].isShadowed { return .unready }
        if endpoints[e].isQuarantined { return .quarantined }
        return endpoints[e].recovery == .none ? .free : .recovering
    }

    /// Brings every pool's view of an endpoint in line with its record. Cost: the number of its pools.
    mutating func move(_ e: Slot, _ place: Place, at now: Instant) {
        if endpoints[e].isContested || endpoints[e].isShadowed { endpoints[e].isShadowed = isShadowed(e) }
        var m = endpoints[e].firstMember
        while m != .null {
            let state = state(of: m, e)
            let old = members[m].state
            if state != old {
                let p = members[m].pool
                if let old { pools[p].count(old, isLocal: members[m].isLocal, by: .max) }  // one less, modulo 2³²
                if let state { pools[p].count(state, isLocal: members[m].isLocal, by: 1) }
                members[m].state = state
                touch(p)
                if members[m].isWanted { wantedMoved(m, state, at: now) }
            }
            if state == .quarantined {
                pools[members[m].pool].quarantines.set(m, to: timer(of: e))
            } else if old == .quarantined {
                pools[members[m].pool].quarantines.set(m, to: .never)
            }
            if state == .free {
                if old != .free || place == .used { list(m, place) }
            } else if members[m].list != .none {
                unlist(m)
            }
            if members[m].isLocal { noteIdle(m, at: now) }
            m = members[m].nextOfEndpoint
        }
        if endpoints[e].isContested { settleRivals(of: e, at: now) }
        if endpoints[e].goneMembers > 0, endpoints[e].used == 0 { reap(e, at: now) }
    }

    /// Puts a free member where its pool's order takes it from, or moves it there.
    mutating func list(_ m: Slot, _ place: Place) {
        let p = members[m].pool
        let node = endpoints[members[m].endpoint].node
        let isAvoided = node != .null && nodes[node].isAvoided
        let atTail =
            switch (place, pools[p].policy.order) {
            case (.used, .spread), (.used, .pack), (.unused, .pack), (.entered, .spread): true
            case (.unused, .spread), (.entered, .pack): false
            }
        unlist(m)
        members[m].list = isAvoided ? .avoided : .free
        switch (isAvoided, atTail) {
        case (false, true): pools[p].free.append(m, &freeLinks)
        case (false, false): pools[p].free.prepend(m, &freeLinks)
        case (true, true): pools[p].avoided.append(m, &freeLinks)
        case (true, false): pools[p].avoided.prepend(m, &freeLinks)
        }
    }

    private mutating func unlist(_ m: Slot) {
        switch members[m].list {
        case .none: return
        case .free: pools[members[m].pool].free.remove(m, &freeLinks)
        case .avoided: pools[members[m].pool].avoided.remove(m, &freeLinks)
        }
        members[m].list = .none
    }

    /// Local workers without a job, in the order in which they became so. A probe does not end idleness.
    private mutating func noteIdle(_ m: Slot, at now: Instant) {
        let (p, e) = (members[m].pool, members[m].endpoint)
        let isIdle = endpoints[e].jobs == 0 && members[m].isUsable && !members[m].isGone && endpoints[e].isWilling
        if isIdle == members[m].isIdle { return }
        members[m].isIdle = isIdle
        if isIdle {
            members[m].idleSince = now
            pools[p].idle.append(m, &idleLinks)
        } else {
            pools[p].idle.remove(m, &idleLinks)
        }
    }

    /// Whether any source that still names it says that it takes nothing.
    func isUnready(_ e: Slot) -> Bool {
        var m = endpoints[e].firstMember
        while m != .null {
            if !members[m].isUsable, !members[m].isGone { return true }
            m = members[m].nextOfEndpoint
        }
        return false
    }

    func member(of e: Slot, in p: Slot) -> Slot {
        var m = endpoints[e].firstMember
        while m != .null, members[m].pool != p { m = members[m].nextOfEndpoint }
        return m
    }

    mutating func addEndpoint(_ id: EndpointID) -> Slot {
        let e = endpoints.insert(EndpointRecord(id: id))
        nodeLinks.cover(e, with: Links())
        endpointSlots[id] = e
        endpoints[e].drainedByOperator = drained.contains(id)
        return e
    }

    /// A place in a pool, not yet counted.
    mutating func addMember(_ e: Slot, _ p: Slot, _ description: Endpoint, address: SocketAddress, isGone: Bool) -> Slot {
        let m = members.insert(
            Member(
                pool: p, endpoint: e, nextOfEndpoint: endpoints[e].firstMember, isGone: isGone, isUsable: description.isUsable,
                isLocal: description.isLocal, address: address))
        endpoints[e].firstMember = m
        if isGone { endpoints[e].goneMembers += 1 } else { pools[p].existing += 1 }
        if Int(m) < descriptions.count { descriptions[Int(m)] = description } else { descriptions.append(description) }
        poolLinks.cover(m, with: Links())
        freeLinks.cover(m, with: Links())
        idleLinks.cover(m, with: Links())
        pools[p].members.append(m, &poolLinks)
        setSlots(e)
        touch(p)
        return m
    }

    /// The least of the configured pools' slots: pools that reach the same endpoint share them.
    mutating func setSlots(_ e: Slot) {
        var least = Int.max
        var m = endpoints[e].firstMember
        while m != .null {
            let p = members[m].pool
            if pools[p].isConfigured, !members[m].isKept { least = min(least, pools[p].policy.slots) }
            m = members[m].nextOfEndpoint
        }
        endpoints[e].slots = least == .max ? 1 : Int32(clamping: max(1, least))
    }

    /// Drops the places that no source names any more, and the endpoint with the last of them. A place on a host where another pool
    /// still names the endpoint is kept for its address.
    private mutating func reap(_ e: Slot, at now: Instant) {
        if endpoints[e].isRemembered { return }
        var lost: [SocketAddress] = []
        var kept: Int32 = 0
        var m = endpoints[e].firstMember
        var previous = Slot.null
        var hasChanged = false
        while m != .null {
            let next = members[m].nextOfEndpoint
            if members[m].isGone, isNamed(e, onHostOf: members[m].address) {
                if !members[m].isKept { hasChanged = true }
                members[m].isKept = true
                kept += 1
                previous = m
            } else if members[m].isGone {
                hasChanged = true
                if previous == .null {
                    endpoints[e].firstMember = next
                } else {
                    members[previous].nextOfEndpoint = next
                }
                pools[members[m].pool].members.remove(m, &poolLinks)
                lost.append(members[m].address)
                if let alternate = members[m].alternate { lost.append(alternate) }
                ring.remember(endpoints[e].id, descriptions[Int(m)].label)
                members.remove(m)
            } else {
                previous = m
            }
            m = next
        }
        endpoints[e].goneMembers = kept
        for address in lost { disclaim(address, e, at: now) }
        if endpoints[e].firstMember == .null {
            setNode(e, "")
            setTimer(e, .never)
            endpointSlots[endpoints[e].id] = nil
            endpoints.remove(e)
        } else if hasChanged {
            setSlots(e)
            // The address that it has lost may be the one that it was held back for.
            if endpoints[e].isShadowed != isShadowed(e) { move(e, .entered, at: now) }
        }
    }

    func isNamed(_ e: Slot) -> Bool {
        var m = endpoints[e].firstMember
        while m != .null {
            if !members[m].isGone { return true }
            m = members[m].nextOfEndpoint
        }
        return false
    }

    /// Whether a source names the endpoint at any port of this host.
    private func isNamed(_ e: Slot, onHostOf address: SocketAddress) -> Bool {
        var m = endpoints[e].firstMember
        while m != .null {
            if !members[m].isGone, members[m].address.isOnHost(of: address) || members[m].alternate?.isOnHost(of: address) == true { return true }
            m = members[m].nextOfEndpoint
        }
        return false
    }

    /// At most one timer per endpoint: the end of its quarantine or settling, or else its next probe.
    func timer(of e: Slot) -> Instant { timers.deadline(of: Timer.endpoint.number(e)) }
    mutating func setTimer(_ e: Slot, _ deadline: Instant) { timers.set(Timer.endpoint.number(e), to: deadline) }

    mutating func endpointTimer(_ e: Slot, at now: Instant, _ actions: inout [Action]) {
        if endpoints[e].isQuarantined {
            endQuarantine(e, at: now, &actions)
        } else if endpoints[e].recovery == .settling {
            endpoints[e].recovery = .none
            scheduleProbe(e, at: now)
            move(e, .entered, at: now)
        } else {
            probe(e, at: now, &actions)
        }
    }
}
