import Model
import Wire

// One method per input.

extension Scaler {
    mutating func began(_ configured: [WorkerPool], _ found: [RosterEntry], _ now: Instant, _ actions: inout [Action]) {
        precondition(pools.isEmpty, "began twice")
        pools = configured.map(Pool.init)
        for entry in found { findAgain(entry, now, &actions) }
        for i in pools.indices {
            // The fleet stays as it was found until the pool-keeper says what is needed.
            freeze(i)
            reconcile(i, now, &actions)
        }
    }

    private mutating func findAgain(_ entry: RosterEntry, _ now: Instant, _ actions: inout [Action]) {
        let id = PoolID(name: entry.pool)
        let i: Int
        if let known = index(of: id) {
            i = known
        } else {
            // Its pool was taken out of the configuration while nobody watched.
            i = pools.count
            pools.append(Pool(WorkerPool(name: entry.pool, command: [], ports: [entry.port], max: 0)))
            pools[i].isRetired = true
            pools[i].target = 0
        }
        let w = pools[i].indexAdding(entry.port)
        // Two lines for one port cannot both be true; the first was verified like the second, so the port decides.
        guard pools[i].workers[w].process == nil else { return }
        pools[i].workers[w].fingerprint = entry.fingerprint
        switch entry.state {
        case .starting: pools[i].workers[w].state = .starting(entry.process, since: now, probe: .due(now))
        case .ready: pools[i].workers[w].state = .ready(entry.process, since: now)
        case .draining: pools[i].workers[w].state = .draining(entry.process, since: now)
        case .stopping:
            pools[i].workers[w].state = .stopping(entry.process, killAt: now + pools[i].config.stopTimeout)
            actions.append(.stop(WorkerPlace(pool: id, port: entry.port), entry.process))
        }
        rosterChanged = true
        actions.append(.notice(.foundAgain(pool: entry.pool, port: entry.port, pid: entry.process.pid)))
        if pools[i].workers[w].isAnnounced { actions.append(.announce(id, endpoint(pools[i], entry.port, entry.process))) }
    }

    mutating func reconfigure(_ configured: [WorkerPool], _ now: Instant, _ actions: inout [Action]) {
        var kept = pools
        pools = configured.map { config in
            guard let old = kept.firstIndex(where: { $0.config.id == config.id }) else { return Pool(config) }
            var pool = kept.remove(at: old)
            pool.config = config
            pool.fingerprint = config.fingerprint
            pool.isRetired = false
            pool.isKnownShort = false
            pool.nextDrainAsk = .zero
            pool.target = max(config.min, min(pool.target, config.max))
            return pool
        }
        for var pool in kept {
            pool.isRetired = true
            pool.target = 0
            pools.append(pool)
        }
        for i in pools.indices {
            // A start that was not ordered yet may be for a port that is gone; reconcile orders it again where it is still wanted.
            for w in pools[i].workers.indices where pools[i].workers[w].isUnstarted { pools[i].workers[w].state = .vacant }
            reconcile(i, now, &actions)
        }
    }

    mutating func poolState(_ state: PoolState, _ now: Instant, _ actions: inout [Action]) {
        // A pool without local workers, which is most of them.
        guard let i = index(of: state.pool) else { return }
        if state.isRecovering {
            // Its numbers are those of a keeper that has not heard everybody yet.
            if pools[i].state != nil { freeze(i) }
            pools[i].state = nil
        } else {
            pools[i].state = state
        }
        reconcile(i, now, &actions)
    }

    mutating func poolGone(_ pool: PoolID, _ now: Instant, _ actions: inout [Action]) {
        guard let i = index(of: pool) else { return }
        freeze(i)
        reconcile(i, now, &actions)
    }

    mutating func stateLost(_ now: Instant, _ actions: inout [Action]) {
        for i in pools.indices {
            freeze(i)
            reconcile(i, now, &actions)
        }
    }

    /// The fleet stays as it is: what serves or is on its way is the target.
    private mutating func freeze(_ i: Int) {
        pools[i].state = nil
        if !pools[i].isRetired { pools[i].target = max(pools[i].config.min, min(pools[i].wanted, pools[i].config.max)) }
    }

    mutating func scalingUp(_ now: Instant, _ actions: inout [Action]) {
        scalingIsUp = true
        for i in pools.indices {
            // The edge is level-triggered, and either side may have forgotten: the pool-keeper its drains in a restart, we
            // what it answered to an earlier connection. It takes back only what a scaler drained, never an operator's drain.
            for worker in pools[i].workers {
                guard worker.isAnnounced, let process = worker.process else { continue }
                let endpoint = WorkerName.endpointID(port: worker.port, process: process)
                if worker.isDraining {
                    actions.append(.drain(endpoint))
                } else if !pools[i].isOutdated(worker) {
                    actions.append(.undrain(endpoint))
                }
            }
            pools[i].nextDrainAsk = now
            reconcile(i, now, &actions)
        }
    }

    mutating func drained(_ endpoint: EndpointID, _ now: Instant, _ actions: inout [Action]) {
        for i in pools.indices {
            for w in pools[i].workers.indices {
                let worker = pools[i].workers[w]
                guard worker.isAnnounced, let process = worker.process,
                    WorkerName.endpointID(port: worker.port, process: process) == endpoint
                else { continue }
                // Demand rose between question and answer. The answer has arrived and we ask nothing in between, so
                // the pool-keeper's next word on this endpoint follows our undrain.
                let isNeeded = worker.isReady && pools[i].wanted <= pools[i].target
                if isNeeded && !pools[i].isOutdated(worker) && !pools[i].config.isSingleUse {
                    actions.append(.undrain(endpoint))
                } else {
                    stop(i, w, process, now, &actions)
                    reconcile(i, now, &actions)
                }
                return
            }
        }
        // Its process ended while the answer was under way.
    }

    mutating func portFree(_ place: WorkerPlace, _ now: Instant, _ actions: inout [Action]) {
        // Not wanted any more, or asked twice.
        guard let (i, w) = find(place), case .checking = pools[i].workers[w].state else { return }
        if pools[i].workers[w].isKnownHeld {
            pools[i].workers[w].isKnownHeld = false
            actions.append(.notice(.portFree(pool: pools[i].config.name, port: place.port)))
        }
        pools[i].workers[w].fingerprint = pools[i].fingerprint
        pools[i].workers[w].state = .launching
        actions.append(.start(place))
    }

    mutating func portHeld(_ place: WorkerPlace, _ now: Instant, _ actions: inout [Action]) {
        // Not wanted any more, or asked twice.
        guard let (i, w) = find(place), case .checking = pools[i].workers[w].state else { return }
        pools[i].workers[w].state = .held
        pools[i].workers[w].notBefore = now + Pace.heldRetry
        if !pools[i].workers[w].isKnownHeld {
            pools[i].workers[w].isKnownHeld = true
            actions.append(.notice(.portHeld(pool: pools[i].config.name, port: place.port, retryIn: Pace.heldRetry)))
        }
        reconcile(i, now, &actions)
    }

    mutating func started(_ place: WorkerPlace, _ process: ProcessIdentity, _ now: Instant, _ actions: inout [Action]) {
        guard let (i, w) = find(place), case .launching = pools[i].workers[w].state else {
            preconditionFailure("a process that nobody ordered on \(place)")
        }
        move(i, w, to: .starting(process, since: now, probe: .due(now + Pace.probe)))
        reconcile(i, now, &actions)
    }

    mutating func startFailed(
        _ place: WorkerPlace, _ reason: String, _ jitter: UInt32, _ now: Instant, _ actions: inout [Action]
    ) {
        guard let (i, w) = find(place), case .launching = pools[i].workers[w].state else {
            preconditionFailure("a start that nobody ordered failed on \(place)")
        }
        let delay = fail(i, w, jitter, now)
        actions.append(.notice(.startFailed(pool: pools[i].config.name, port: place.port, reason: reason, retryIn: delay)))
        reconcile(i, now, &actions)
    }

    mutating func accepts(_ place: WorkerPlace, _ process: ProcessIdentity, _ now: Instant, _ actions: inout [Action]) {
        // It exited or was stopped while the probe was under way.
        guard let (i, w) = find(place), case .starting(process, let since, _) = pools[i].workers[w].state else { return }
        move(i, w, to: .ready(process, since: now))
        actions.append(.announce(place.pool, endpoint(pools[i], place.port, process)))
        actions.append(.notice(.ready(pool: pools[i].config.name, port: place.port, pid: process.pid, after: now - since)))
        reconcile(i, now, &actions)
    }

    mutating func silent(_ place: WorkerPlace, _ process: ProcessIdentity, _ now: Instant, _ actions: inout [Action]) {
        // It exited or was stopped while the probe was under way.
        guard let (i, w) = find(place), case .starting(process, let since, _) = pools[i].workers[w].state else { return }
        pools[i].workers[w].state = .starting(process, since: since, probe: .due(now + Pace.probe))
    }

    mutating func exited(
        _ place: WorkerPlace, _ process: ProcessIdentity, _ status: ExitStatus, _ jitter: UInt32, _ now: Instant, _ actions: inout [Action]
    ) {
        guard let (i, w) = find(place), pools[i].workers[w].process == process else {
            preconditionFailure("an unknown process \(process) ended on \(place)")
        }
        let worker = pools[i].workers[w]
        let name = pools[i].config.name
        if worker.isAnnounced { actions.append(.withdraw(place.pool, WorkerName.endpointID(port: place.port, process: process))) }
        switch worker.state {
        case .vacant, .checking, .held, .launching, .waiting: break  // none of these has a process
        case .stopping:
            // `notBefore` and `failures` stay: a worker that was too slow keeps its back-off.
            move(i, w, to: .vacant)
            actions.append(.notice(.ended(pool: name, port: place.port, status: status)))
        case .draining:
            pools[i].workers[w].failures = 0
            move(i, w, to: .vacant)
            actions.append(.notice(.ended(pool: name, port: place.port, status: status)))
        case .ready(_, let since):
            if now - since >= Pace.ranWell { pools[i].workers[w].failures = 0 }
            if status == .code(0) {
                // It had served and chose to end, like a single-use worker: no failure, the next one may start at once.
                pools[i].workers[w].failures = 0
                move(i, w, to: .vacant)
                actions.append(.notice(.ended(pool: name, port: place.port, status: status)))
            } else {
                let delay = fail(i, w, jitter, now)
                actions.append(.notice(.crashed(pool: name, port: place.port, status: status, restartIn: delay)))
            }
        case .starting:
            let delay = fail(i, w, jitter, now)
            actions.append(.notice(.crashed(pool: name, port: place.port, status: status, restartIn: delay)))
        }
        reconcile(i, now, &actions)
    }

    /// One more failure on this port; returns how long it now waits.
    private mutating func fail(_ i: Int, _ w: Int, _ jitter: UInt32, _ now: Instant) -> Duration {
        pools[i].workers[w].failures += 1
        let delay = pools[i].backOff(failures: pools[i].workers[w].failures, jitter: jitter)
        pools[i].workers[w].notBefore = now + delay
        move(i, w, to: pools[i].isOutdated(pools[i].workers[w]) ? .vacant : .waiting)
        return delay
    }

    func index(of pool: PoolID) -> Int? { pools.firstIndex { $0.config.id == pool } }

    private func find(_ place: WorkerPlace) -> (Int, Int)? {
        guard let i = index(of: place.pool), let w = pools[i].index(of: place.port) else { return nil }
        return (i, w)
    }
}
