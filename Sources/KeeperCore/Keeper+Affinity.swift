import Model
import Wire

// Jobs that would rather have the endpoint that they, or others with their key, had before.

extension Keeper {
    /// The place of the endpoint that served the key last, as far as it still has one here; `Slot.null` else.
    func remembered(_ hash: UInt64, in p: Slot) -> Slot {
        guard let id = pools[p].affinities.endpoint(of: hash), let e = endpointSlots[id] else { return .null }
        let m = member(of: e, in: p)
        return m == .null || members[m].state == nil ? .null : m
    }

    /// Whether a ticket waits for this place and takes no other: for a moment, where the endpoint can be expected back, and not behind too
    /// many others.
    func awaits(_ m: Slot, _ p: Slot, since arrival: Instant, until: Instant, at now: Instant) -> Bool {
        guard m != .null, !members[m].isGone, arrival.advanced(by: pools[p].affinityWait) > now, until > now, isAwaitable(members[m].state)
        else { return false }
        var waiting = 0
        var t = pools[p].waits[m]?.head ?? .null
        while t != .null, waiting < Limits.affinityWaits {
            waiting += 1
            t = tickets.queueLinks[Int(t)].next
        }
        return waiting < Limits.affinityWaits
    }

    /// Whether an endpoint in this state comes back by itself, and soon, if its source goes on naming it.
    func isAwaitable(_ state: EndpointState?) -> Bool {
        switch state {
        case .leased, .ending, .recovering, .unready: true
        case .free, .quarantined, .draining, nil: false
        }
    }

    /// Lets a ticket wait: for the endpoint of its key, or in line for any.
    mutating func enqueue(_ t: Slot, at now: Instant) {
        let p = tickets[t].pool
        if tickets[t].hasAffinity, let affinity = tickets.affinities[t] {
            let arrival = tickets[t].arrival
            let m = remembered(affinity.hash, in: p)
            let until = arrival.advanced(by: pools[p].budget(own: tickets[t].budget))
            if awaits(m, p, since: arrival, until: until, at: now) {
                return wait(t, for: m, until: min(until, arrival.advanced(by: pools[p].affinityWait)))
            }
        }
        pools[p].queue.insert(t, &tickets, at: now)
    }

    private mutating func wait(_ t: Slot, for m: Slot, until: Instant) {
        let p = tickets[t].pool
        tickets[t].place = .affine
        tickets.affinities[t]?.member = m
        pools[p].waits[m, default: SlotList()].append(t, &tickets.queueLinks)
        pools[p].waitDeadlines.insert(
            SlotHeap.Entry(key: until.nanoseconds, tie: tickets[t].sequence, slot: t), &tickets.latePositions)
        members[m].isWanted = true
    }

    /// The ticket waits for its endpoint no longer; it is suspended afterwards.
    mutating func leaveWait(_ t: Slot) {
        let p = tickets[t].pool
        guard let m = tickets.affinities[t]?.member, m != .null else { return }
        tickets[t].place = .suspended
        tickets.affinities[t]?.member = .null
        pools[p].waitDeadlines.remove(t, &tickets.latePositions)
        pools[p].waits[m]?.remove(t, &tickets.queueLinks)
        guard pools[p].waits[m]?.isEmpty ?? true else { return }
        pools[p].waits[m] = nil
        pools[p].wanted.removeAll { $0 == m }
        members[m].isWanted = false
    }

    /// Tickets whose wait for one endpoint has lasted long enough take their places in line.
    mutating func endWaits(of p: Slot, at now: Instant) {
        while let first = pools[p].waitDeadlines.first, first.key <= now.nanoseconds {
            leaveWait(first.slot)
            pools[p].queue.insert(first.slot, &tickets, at: now)
            touch(p)
        }
    }

    /// A place that tickets wait for is in another state; nil for gone, with a lease still open or without.
    mutating func wantedMoved(_ m: Slot, _ state: EndpointState?, at now: Instant) {
        let p = members[m].pool
        pools[p].wanted.removeAll { $0 == m }
        if state == .free { return pools[p].wanted.append(m) }
        if isAwaitable(state) { return }
        while let t = pools[p].waits[m]?.head, t != .null {
            leaveWait(t)
            pools[p].queue.insert(t, &tickets, at: now)
        }
    }
}
