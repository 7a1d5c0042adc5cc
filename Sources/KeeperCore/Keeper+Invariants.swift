import Model
import Wire

extension Keeper {
    /// Checks every list, table and counter against every other, and the promises of the design; O(n).
    ///
    /// Traps with the sentence that does not hold: that is our bug, never a peer's doing.
    public func checkInvariants() {
        precondition(touched.isEmpty, "a touched pool was not finished")
        var openLeases: [Slot: (used: Int32, ending: Int32, probes: Int32)] = [:]
        var jobs: [Slot: UInt32] = [:]
        var waiting: [Slot: UInt32] = [:]
        checkDispatchers(&openLeases, &jobs, &waiting)
        checkEndpoints(openLeases)
        checkAddresses()
        for p in poolOrder {
            precondition(pools[p].state.leases == jobs[p, default: 0], "a pool's open leases are miscounted")
            precondition(pools[p].state.queued == waiting[p, default: 0], "a pool's tickets are miscounted")
            checkPool(p)
        }
    }

    private func checkDispatchers(
        _ openLeases: inout [Slot: (used: Int32, ending: Int32, probes: Int32)], _ jobs: inout [Slot: UInt32],
        _ waiting: inout [Slot: UInt32]
    ) {
        var leaseCount = 0
        var ticketCount = 0
        for d in dispatcherOrder {
            let dispatcher = dispatchers[d]
            precondition(
                (dispatcher.phase == .up || dispatcher.phase == .asserting) == (dispatcher.link != nil),
                "a dispatcher's link and phase differ")
            if let link = dispatcher.link { precondition(linkSlots[link.rawValue] == d, "a link is not found") }
            for l in dispatcher.leases.slots(leaseLinks) {
                let lease = leases[l]
                precondition(lease.dispatcher == d && slot(of: lease.id) == l, "a lease is not found by its token")
                precondition(lease.id <= latest, "a lease is newer than the newest token")
                openLeases[lease.endpoint, default: (0, 0, 0)].used += 1
                if lease.isEnding { openLeases[lease.endpoint, default: (0, 0, 0)].ending += 1 }
                if lease.isProbe { openLeases[lease.endpoint, default: (0, 0, 0)].probes += 1 } else { jobs[lease.pool, default: 0] += 1 }
                precondition(member(of: lease.endpoint, in: lease.pool) != .null, "a leased endpoint has left its pool")
                precondition(
                    dispatcher.phase != .dead || dispatcher.adoptUntil != .never, "a dead process holds a lease that nobody can adopt")
                precondition(dispatcher.phase != .dead || lease.isEscrowed || lease.job != nil, "a dead process holds what only it knew of")
                leaseCount += 1
            }
            for t in dispatcher.ticketSlots.slots {
                precondition(
                    tickets[t].dispatcher == d && dispatcher.ticketSlots[tickets[t].id.rawValue] == t, "a ticket is not found by its id")
                precondition(tickets[t].place == .suspended || dispatcher.phase == .up, "a ticket waits for a dispatcher that is not up")
                precondition(dispatcher.phase != .dead || dispatcher.adoptUntil != .never, "a ticket waits for a process that nobody succeeds")
                waiting[tickets[t].pool, default: 0] += 1
                ticketCount += 1
            }
        }
        precondition(leaseCount == leases.count && leaseCount == leaseSlots.count + inheritedLeases.count, "leases are lost")
        precondition(ticketCount == tickets.count, "tickets are lost")
        precondition(isRecovering || !dispatcherOrder.contains { dispatchers[$0].blocksRecovery }, "recovery ended too early")
    }

    /// Of the endpoints with one address at most one is on offer or may be dialled anew.
    private func checkAddresses() {
        for (address, rivals) in contested {
            precondition(rivals.count > 1 && Set(rivals).count == rivals.count, "\(address) is contested by nobody else")
            precondition(rivals.allSatisfy { endpoints[$0].isContested }, "an endpoint does not know that \(address) is contested")
            let open = rivals.filter { endpoints[$0].used < endpoints[$0].slots && endpoints[$0].isWilling }
            precondition(open.count <= 1, "\(address) is on offer twice")
        }
    }

    private func checkEndpoints(_ openLeases: [Slot: (used: Int32, ending: Int32, probes: Int32)]) {
        precondition(endpointSlots.count == endpoints.count, "endpoints are lost")
        var memberCount = 0
        for (id, e) in endpointSlots {
            let endpoint = endpoints[e]
            precondition(endpoint.id == id && endpoint.firstMember != .null, "an endpoint is in no pool")
            let open = openLeases[e] ?? (0, 0, 0)
            precondition(
                endpoint.used == open.used && endpoint.ending == open.ending && endpoint.probes == open.probes,
                "an endpoint's open leases are miscounted")
            var gone: Int32 = 0
            var m = endpoint.firstMember
            while m != .null {
                let member = members[m]
                precondition(member.endpoint == e, "an endpoint's member belongs to another")
                precondition(member.state == state(of: m, e), "an endpoint is counted in a state that it is not in")
                precondition((member.state == .free) == (member.list != .none), "a free endpoint is not on offer, or another is")
                precondition(member.state != .free || endpoint.used < endpoint.slots, "an endpoint on offer has no open slot")
                if member.isGone { gone += 1 }
                precondition(!member.isGone || member.isKept || endpoint.isRemembered, "a place that is gone was kept")
                precondition(member.isGone || !member.isKept, "a place that is named is kept for its address only")
                memberCount += 1
                m = member.nextOfEndpoint
            }
            precondition(endpoint.isShadowed == isShadowed(e), "an address has changed hands unnoticed")
            precondition(gone == endpoint.goneMembers, "places that are gone are miscounted")
            precondition(!endpoint.isQuarantined || timer(of: e) != .never, "a quarantine has no end")
            precondition(endpoint.recovery != .settling || timer(of: e) != .never, "settling has no end")
        }
        precondition(memberCount == members.count, "members are lost")
    }

    private func checkPool(_ p: Slot) {
        let pool = pools[p]
        precondition(poolSlots[UInt64(pool.policy.id.rawValue)] == p && !pool.isTouched, "a pool is not found by its id")
        var counted = PoolState(pool: pool.policy.id)
        var existing = 0
        var listed = 0
        for m in pool.members.slots(poolLinks) {
            let member = members[m]
            precondition(member.pool == p, "a pool's member belongs to another")
            if !member.isGone { existing += 1 }
            if member.list != .none { listed += 1 }
            guard let state = member.state else { continue }
            switch state {
            case .unready: counted.unready += 1
            case .free: counted.free += 1
            case .leased: counted.leased += 1
            case .ending: counted.ending += 1
            case .recovering: counted.recovering += 1
            case .quarantined: counted.quarantined += 1
            case .draining: counted.draining += 1
            }
            if !member.isLocal, state != .unready, state != .draining { counted.remote += 1 }
        }
        counted.leases = pool.state.leases
        counted.queued = pool.state.queued
        counted.queuedByUrgency = pool.state.queuedByUrgency
        counted.isPaused = pool.state.isPaused
        precondition(counted == pool.state, "a pool's endpoints are miscounted")
        precondition(existing == pool.existing, "a pool's existing endpoints are miscounted")
        precondition(
            pool.free.slots(freeLinks).count + pool.avoided.slots(freeLinks).count == listed, "a pool's free lists are broken")
        precondition(budgets.deadline(of: p) == deadline(of: p), "a wait has no timer")
        checkQueue(p)
    }
}
