import Model
import Wire

// Probes of free endpoints, for pools with `health`. A probe is a lease: it holds the slot.

extension Keeper {
    /// The endpoint's place in a pool that wants probes, if any.
    private func probed(_ e: Slot) -> (member: Slot, health: PoolPolicy.Health)? {
        var m = endpoints[e].firstMember
        while m != .null {
            let p = members[m].pool
            if let health = pools[p].policy.health, pools[p].isConfigured, !members[m].isGone { return (m, health) }
            m = members[m].nextOfEndpoint
        }
        return nil
    }

    /// Sets the endpoint's timer to its first probe, at its own moment within the interval so that probes spread out;
    /// clears it where no pool wants any. Not for endpoints that are set aside: their timer is taken.
    mutating func scheduleProbe(_ e: Slot, at now: Instant) {
        guard let (_, health) = probed(e) else { return setTimer(e, .never) }
        let interval = max(health.interval.nanoseconds, 1_000_000)
        let id = endpoints[e].id
        let phase = Int64(truncatingIfNeeded: (id.low ^ id.high) % UInt64(interval))
        setTimer(e, now.advanced(by: interval).advanced(by: -phase / 2))
    }

    /// The endpoint's probe is due: now, if it has been free for the interval; else when it will have been.
    mutating func probe(_ e: Slot, at now: Instant, _ actions: inout [Action]) {
        guard let (m, health) = probed(e) else { return }
        let interval = max(health.interval.nanoseconds, 1_000_000)
        let due = endpoints[e].lastLeaseEnd.advanced(by: interval)
        let p = members[m].pool
        guard members[m].state == .free, endpoints[e].used == 0, canGrant(p), due <= now, let d = prober() else {
            return setTimer(e, due > now ? due : now.advanced(by: interval))
        }
        setTimer(e, now.advanced(by: interval))
        guard let link = dispatchers[d].link else { return }
        let lease = open(e, p, d, for: nil, at: now)
        let probe = Probe(
            lease: lease, pool: pools[p].policy.id, endpoint: endpoints[e].id, address: members[m].address, timeout: health.timeout)
        actions.append(.reply(link, .probe(probe)))
    }

    /// The dispatchers that are up take turns.
    private mutating func prober() -> Slot? {
        for _ in dispatcherOrder {
            nextProber = (nextProber + 1) % dispatcherOrder.count
            let d = dispatcherOrder[nextProber]
            if dispatchers[d].phase == .up { return d }
        }
        return nil
    }
}
