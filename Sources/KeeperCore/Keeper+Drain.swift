import Model
import Wire

// What the scaler and the operator ask.

extension Keeper {
    mutating func scalingRequested(_ request: ScalingRequest, at now: Instant, _ actions: inout [Action]) {
        switch request {
        case .drainIdle(let pool, let idleFor, let most): drainIdle(pool, idleFor, most, at: now, &actions)
        case .drain(let id):
            if let e = endpointSlots[id] {
                endpoints[e].drainedByScaler = true
                endpoints[e].owesDrained = true
                move(e, .entered, at: now)
                // Until recovery is over a lease may still be asserted.
                if isRecovering { heldDrains.append(id) } else { payDrained(e, &actions) }
            } else if isRecovering {
                heldDrains.append(id)
            } else {
                actions.append(.scaling(.drained(id)))
            }
        case .undrain(let id):
            heldDrains.removeAll { $0 == id }
            guard let e = endpointSlots[id] else { return }
            // It cannot be taken back, and a scaler that has just connected does not know yet.
            if endpoints[e].isUsedUp, endpoints[e].drainedByScaler || isLocal(e) { endpoints[e].owesDrained = true }
            guard endpoints[e].drainedByScaler else { return payDrained(e, &actions) }
            endpoints[e].drainedByScaler = false
            if !endpoints[e].isUsedUp { endpoints[e].owesDrained = false }
            move(e, .entered, at: now)
            payDrained(e, &actions)
        }
    }

    /// The longest idle first; O(1) for each that is drained.
    private mutating func drainIdle(_ pool: PoolID, _ idleFor: Duration, _ most: UInt32, at now: Instant, _ actions: inout [Action]) {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null, !isRecovering else { return }
        for _ in 0..<most {
            let m = pools[p].idle.head
            guard m != .null, members[m].idleSince + idleFor <= now else { return }
            let e = members[m].endpoint
            endpoints[e].drainedByScaler = true
            endpoints[e].owesDrained = true
            move(e, .entered, at: now)
            payDrained(e, &actions)
        }
    }

    /// Tells the scaler that the endpoint it drains has no lease left.
    mutating func payDrained(_ e: Slot, _ actions: inout [Action]) {
        guard endpoints[e].owesDrained, endpoints[e].used == 0, !isRecovering else { return }
        endpoints[e].owesDrained = false
        actions.append(.scaling(.drained(endpoints[e].id)))
    }

    /// A single-use worker has had its lease. A local one is the scaler's to stop and to replace.
    mutating func useUp(_ e: Slot, _ actions: inout [Action]) {
        endpoints[e].isUsedUp = true
        if isLocal(e) { endpoints[e].owesDrained = true }
        payDrained(e, &actions)
    }

    private func isLocal(_ e: Slot) -> Bool {
        var m = endpoints[e].firstMember
        while m != .null {
            if members[m].isLocal { return true }
            m = members[m].nextOfEndpoint
        }
        return false
    }

    /// What is on disk before an operator's verb is answered.
    public var heldBack: HeldBack {
        var paused: [PoolID: Bool] = [:]
        for p in poolOrder where pools[p].state.isPaused { paused[pools[p].policy.id] = pools[p].refusesWhilePaused }
        return HeldBack(paused: paused, drained: drained)
    }

    mutating func operated(_ verb: OperatorVerb, at now: Instant, _ actions: inout [Action]) {
        var count: UInt32 = 0
        switch verb {
        case .drain(let text, let pool):
            for (e, _) in endpoints(named: text, in: pool) {
                endpoints[e].drainedByOperator = true
                drained.insert(endpoints[e].id)
                move(e, .entered, at: now)
                count += 1
            }
            if drained.count > Limits.drained { drained = drained.filter { endpointSlots[$0] != nil } }
        case .undrain(let text, let pool):
            for (e, _) in endpoints(named: text, in: pool) {
                // The scaler's own drain stays: it may have been told `drained` already and be about to stop the worker.
                endpoints[e].drainedByOperator = false
                drained.remove(endpoints[e].id)
                // Not so soon after a cut: the worker may still be at its job.
                if endpoints[e].isQuarantined, endpoints[e].cutUntil <= now {
                    endQuarantine(e, at: now, &actions)
                } else {
                    move(e, .entered, at: now)
                }
                count += 1
            }
            // One that no source names has nothing but its UID.
            if pool == nil, drained.remove(EndpointID(uid: text)) != nil { count += 1 }
        case .quarantine(let text, let pool, let duration):
            for (e, p) in endpoints(named: text, in: pool) {
                quarantine(e, p, .byOperator, lasting: duration, at: now, &actions)
                count += 1
            }
        case .pause(let pool, let refuse):
            let p = poolSlots[UInt64(pool.rawValue)]
            if p != .null, pools[p].isConfigured {
                pools[p].state.isPaused = true
                pools[p].refusesWhilePaused = refuse
                touch(p)
                if refuse { refuseAll(p, at: now, &actions) }
                count = 1
            }
        case .resume(let pool):
            let p = poolSlots[UInt64(pool.rawValue)]
            if p != .null, pools[p].isConfigured {
                pools[p].state.isPaused = false
                pools[p].refusesWhilePaused = false
                touch(p)
                count = 1
            }
        }
        actions.append(.operated(count: count))
    }

    /// Refuses every ticket in the pool's queue, first come first; O(n).
    mutating func refuseAll(_ p: Slot, at now: Instant, _ actions: inout [Action]) {
        for t in waiting(in: p) { refuseWaiting(t, at: now, &actions) }
    }

    /// Endpoints that a person means: by UID, id, name, address and port, or address. Each once; O(n).
    private func endpoints(named text: String, in pool: PoolID?) -> [(endpoint: Slot, pool: Slot)] {
        var found: [(Slot, Slot)] = []
        let id = EndpointID(uid: text)
        for p in poolOrder where pool == nil || pools[p].policy.id == pool {
            for m in pools[p].members.slots(poolLinks) where !members[m].isKept {
                let e = members[m].endpoint
                let description = descriptions[Int(m)]
                let isMeant =
                    endpoints[e].id == id || description.uid == text || description.name == text
                    || description.addresses.contains { $0.description == text || $0.ip == text }
                if isMeant, !found.contains(where: { $0.0 == e }) { found.append((e, p)) }
            }
        }
        return found
    }
}
