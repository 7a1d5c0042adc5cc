import Model
import Wire

// Pools come and go with configuration.

extension Keeper {
    /// The pool's slot; one that configuration does not name (yet) is made to remember its endpoints.
    mutating func poolSlot(_ id: PoolID) -> Slot {
        let known = poolSlots[UInt64(id.rawValue)]
        if known != .null { return known }
        var policy = PoolPolicy(name: "")
        policy.id = id
        return addPool(Pool(policy: policy, isConfigured: false))
    }

    private mutating func addPool(_ pool: Pool) -> Slot {
        let p = pools.insert(pool)
        pools[p].isKnown = snapshots > 0
        poolSlots.insert(UInt64(pool.policy.id.rawValue), p)
        poolOrder.append(p)
        return p
    }

    mutating func configure(_ policy: PoolPolicy, at now: Instant) {
        let known = poolSlots[UInt64(policy.id.rawValue)]
        if known == .null {
            let p = addPool(Pool(policy: policy, isConfigured: true))
            pools[p].isReported = true
            touch(p)
        } else if !pools[known].isConfigured || pools[known].policy != policy {
            let tenants = pools[known].policy.tenants
            pools[known].adopt(policy)
            pools[known].isReported = true
            if policy.tenants != tenants { regroup(known, at: now) }
            touch(known)
        }
    }

    /// A reload. Waiting tickets and open leases stay; of a pool that is gone only the leases do.
    mutating func policiesChanged(_ policies: [PoolPolicy], at now: Instant, _ actions: inout [Action]) {
        let ids = Set(policies.map(\.id))
        for p in poolOrder where pools[p].isConfigured && !ids.contains(pools[p].policy.id) {
            refuseRetired(p, at: now, &actions)
        }
        for policy in policies { configure(policy, at: now) }
        for p in touched {
            for m in pools[p].members.slots(poolLinks) {
                let e = members[m].endpoint
                setSlots(e)
                if !endpoints[e].isQuarantined, endpoints[e].recovery != .settling { scheduleProbe(e, at: now) }
                move(e, .entered, at: now)
            }
        }
    }

    private mutating func refuseRetired(_ p: Slot, at now: Instant, _ actions: inout [Action]) {
        pools[p].isConfigured = false
        pools[p].state.isPaused = false
        pools[p].refusesWhilePaused = false
        touch(p)
        refuseAll(p, at: now, &actions)
    }

    /// The pool's tenants have changed: every ticket and lease goes to the tenant that has its own's name now, or to the default one. What
    /// the shares owed each other is forgotten. O(n) in all tickets and leases.
    private mutating func regroup(_ p: Slot, at now: Instant) {
        let names = pools[p].queue.shares.elements.map(\.name)
        let listed = waiting(in: p)
        for t in listed { suspend(t, at: now) }
        pools[p].queue = PoolQueue(pools[p].policy.tenants)
        pools[p].queue.setTimes(pools[p].times, tickets, at: now)
        let numbers = names.map { UInt16(truncatingIfNeeded: pools[p].queue.share(named: $0)) }
        for d in dispatcherOrder {
            for t in toldTickets(d) where tickets[t].pool == p {
                tickets[t].share = numbers[Int(tickets[t].share)]
                pools[p].queue.countTicket(Int(tickets[t].share), by: 1)
            }
            for l in dispatchers[d].leases.slots(leaseLinks) where leases[l].pool == p {
                leases[l].share = numbers[Int(leases[l].share)]
                leases[l].charged = -1
                if !leases[l].isProbe { pools[p].queue.countLease(Int(leases[l].share), by: 1) }
            }
        }
        for t in listed { enqueue(t, at: now) }
    }
}
