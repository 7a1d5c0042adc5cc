import KeeperCore
import Model
import Wire

// What the scaler, the operator and the configuration ask for.

extension ReferenceKeeper {
    func drain(_ id: EndpointID) {
        if workers[id] != nil {
            workers[id]?.drainedByScaler = true
            workers[id]?.owesDrained = true
            if isRecovering { heldDrains.append(id) } else { payDrained(id) }
        } else if isRecovering {
            heldDrains.append(id)
        } else {
            expected.append(.scaling(.drained(id)))
        }
    }

    func scaling(_ request: ScalingRequest) throws {
        switch request {
        case .drain(let id): drain(id)
        case .undrain(let id):
            heldDrains.removeAll { $0 == id }
            guard let worker = workers[id] else { return }
            if worker.isUsedUp, worker.drainedByScaler || isLocal(id) { workers[id]?.owesDrained = true }
            if worker.drainedByScaler {
                workers[id]?.drainedByScaler = false
                if !worker.isUsedUp { workers[id]?.owesDrained = false }
            }
            payDrained(id)
        case .drainIdle(let pool, let idleFor, let most):
            if isRecovering { return }
            let idle = workers.compactMap { id, worker in worker.places[pool]?.idleSince.map { (id: id, since: $0) } }
                .filter { $0.since + idleFor <= now }
            guard idle.count > 0, most > 0 else { return }
            // Of those idle equally long any may go: the walk asks for all or for none of them.
            let chosen = idle.sorted { ($0.since, $0.id) < ($1.since, $1.id) }.prefix(Int(most))
            for (id, _) in chosen { drain(id) }
        }
    }

    func operated(_ verb: OperatorVerb) throws {
        var count: UInt32 = 0
        switch verb {
        case .drain(let text, let pool):
            for id in named(text, pool) {
                workers[id]?.drainedByOperator = true
                drained.insert(id)
                count += 1
            }
        case .undrain(let text, let pool):
            for id in named(text, pool) {
                workers[id]?.drainedByOperator = false
                drained.remove(id)
                if workers[id]?.cutUntil.map({ $0 <= now }) ?? true { endQuarantine(id) }
                count += 1
            }
            if pool == nil, drained.remove(EndpointID(uid: text)) != nil { count += 1 }
        case .quarantine(let text, let pool, let duration):
            for id in named(text, pool) {
                quarantine(id, PoolPolicy(name: ""), isFault: false, lasting: duration)
                count += 1
            }
        case .pause(let pool, let refuse):
            if pools[pool]?.isConfigured ?? false {
                pools[pool]?.isPaused = true
                pools[pool]?.refuses = refuse
                count = 1
                if refuse { for ticket in tickets where ticket.pool == pool && !ticket.isSuspended { try self.refuse(ticket) } }
            }
        case .resume(let pool):
            if pools[pool]?.isConfigured ?? false {
                pools[pool]?.isPaused = false
                pools[pool]?.refuses = false
                count = 1
            }
        }
        expected.append(.operated(count: count))
    }

    private func named(_ text: String, _ pool: PoolID?) -> [EndpointID] {
        workers.filter { _, worker in
            worker.places.contains { (pool == nil || $0.key == pool) && !$0.value.isKept && $0.value.description.uid == text }
        }.map(\.key)
    }

    func reload(_ policies: [PoolPolicy]) throws {
        for id in pools.keys where !policies.contains(where: { $0.id == id }) {
            pools[id]?.isConfigured = false
            pools[id]?.isPaused = false
            pools[id]?.refuses = false
            for ticket in tickets where ticket.pool == id && !ticket.isSuspended { try refuse(ticket) }
        }
        for policy in policies {
            let tenants = pools[policy.id]?.policy.tenants
            pools[policy.id, default: Pool(policy: policy, isConfigured: true)].policy = policy
            pools[policy.id]?.isConfigured = true
            if let tenants, tenants != policy.tenants { regroup(policy.id) }
        }
    }
}
