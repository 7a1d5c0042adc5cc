import Model
import Wire

// From what a pool has to what it should have. Called after every input that touched the pool.

extension Scaler {
    mutating func reconcile(_ i: Int, _ now: Instant, _ actions: inout [Action]) {
        passTime(i, now, &actions)
        aim(i, &actions)
        replaceOutdated(i, now, &actions)
        cancelUnstarted(i)
        if pools[i].wanted < pools[i].target { startMissing(i, now, &actions) }
        askForIdle(i, now, &actions)
        pools[i].forgetQuietPorts()
    }

    func nextWake(of pool: Pool) -> Instant {
        var next = Instant.never
        for worker in pool.workers {
            switch worker.state {
            case .vacant, .held, .checking, .launching, .ready, .draining: break
            case .starting(_, let since, let probe):
                next = min(next, since + pool.config.startTimeout)
                switch probe {
                case .asked: break
                case .due(let at): next = min(next, at)
                }
            case .stopping(_, let killAt): next = min(next, killAt)
            case .waiting: next = min(next, worker.notBefore)
            }
        }
        if pool.wanted < pool.target, pool.occupied < pool.config.max { next = min(next, pool.nextVacancy) }
        if mayAskForIdle(pool) { next = min(next, pool.nextDrainAsk) }
        return next
    }

    /// What falls due by time alone.
    private mutating func passTime(_ i: Int, _ now: Instant, _ actions: inout [Action]) {
        for w in pools[i].workers.indices {
            let worker = pools[i].workers[w]
            let place = pools[i].place(worker)
            switch worker.state {
            case .vacant, .checking, .launching, .ready, .draining: break
            case .held: if worker.notBefore <= now { pools[i].workers[w].state = .vacant }
            case .waiting:
                if worker.notBefore <= now {
                    pools[i].workers[w].state = .checking
                    actions.append(.check(place))
                }
            case .starting(let process, let since, let probe):
                if pools[i].isOutdated(worker) {
                    stop(i, w, process, now, &actions)
                } else if since + pools[i].config.startTimeout <= now {
                    actions.append(.notice(.slow(pool: pools[i].config.name, port: worker.port, pid: process.pid, after: now - since)))
                    pools[i].workers[w].failures += 1
                    pools[i].workers[w].notBefore = now + pools[i].backOff(failures: worker.failures + 1, jitter: 0)
                    stop(i, w, process, now, &actions)
                } else {
                    switch probe {
                    case .asked: break
                    case .due(let at):
                        if at <= now {
                            pools[i].workers[w].state = .starting(process, since: since, probe: .asked)
                            actions.append(.probe(place, process))
                        }
                    }
                }
            case .stopping(let process, let killAt):
                if killAt <= now {
                    pools[i].workers[w].state = .stopping(process, killAt: .never)
                    actions.append(.kill(place, process))
                    actions.append(.notice(.killed(pool: pools[i].config.name, port: worker.port, pid: process.pid)))
                }
            }
        }
    }

    /// The target, from the pool-keeper's last word; without one it stays, within the configured bounds.
    private mutating func aim(_ i: Int, _ actions: inout [Action]) {
        let pool = pools[i]
        var target = pool.target
        if let state = pool.state {
            target = Need.workers(state: state, slots: pool.config.slots, ready: pool.ready, draining: pool.draining)
        }
        target = pool.isRetired ? 0 : max(pool.config.min, min(target, pool.config.max))
        guard target != pool.target else { return }
        let demand = pool.state.map { Int($0.leases) + Int($0.queued) } ?? 0
        actions.append(.notice(.target(pool: pool.config.name, from: pool.target, to: target, demand: demand)))
        pools[i].target = target
    }

    /// Workers of an earlier configuration go: all at once when the pool is retired, else one at a time and only while every
    /// other one serves, so that a new command that does not start costs one worker and not the fleet.
    private mutating func replaceOutdated(_ i: Int, _ now: Instant, _ actions: inout [Action]) {
        guard scalingIsUp else { return }
        for w in pools[i].workers.indices {
            let worker = pools[i].workers[w]
            guard case .ready(let process, let since) = worker.state, pools[i].isOutdated(worker) else { continue }
            if !pools[i].isRetired && pools[i].workers.contains(where: \.isChanging) { return }
            move(i, w, to: .draining(process, since: since))
            actions.append(.drain(WorkerName.endpointID(port: worker.port, process: process)))
        }
    }

    /// Takes back starts that were not ordered yet, highest port first: nobody needs them, or the processes that are being
    /// drained and stopped fill a maximum that was lowered.
    private mutating func cancelUnstarted(_ i: Int) {
        for w in pools[i].workers.indices.reversed() {
            guard pools[i].wanted > pools[i].target || pools[i].occupied > pools[i].config.max else { return }
            switch pools[i].workers[w].state {
            case .checking, .waiting: pools[i].workers[w].state = .vacant
            case .vacant, .held, .launching, .starting, .ready, .draining, .stopping: break
            }
        }
    }

    private mutating func startMissing(_ i: Int, _ now: Instant, _ actions: inout [Action]) {
        while pools[i].wanted < pools[i].target, pools[i].occupied < pools[i].config.max {
            guard let port = pools[i].vacantPort(at: now) else {
                if !pools[i].isKnownShort {
                    pools[i].isKnownShort = true
                    actions.append(
                        .notice(.outOfPorts(pool: pools[i].config.name, wanted: pools[i].target, running: pools[i].wanted)))
                }
                return
            }
            let w = pools[i].indexAdding(port)
            pools[i].workers[w].state = .checking
            actions.append(.check(WorkerPlace(pool: pools[i].config.id, port: port)))
        }
        if pools[i].wanted >= pools[i].target { pools[i].isKnownShort = false }
    }

    /// More workers than wanted: the pool-keeper is asked to drain those that were free for `idle`. It alone knows which.
    private mutating func askForIdle(_ i: Int, _ now: Instant, _ actions: inout [Action]) {
        guard mayAskForIdle(pools[i]), pools[i].nextDrainAsk <= now else { return }
        let pool = pools[i]
        pools[i].nextDrainAsk = now + pool.drainAskInterval
        // Those above the configured maximum go as soon as they are free.
        let surplus = min(pool.wanted - pool.config.max, pool.ready)
        if surplus > 0 {
            actions.append(.drainIdle(pool.config.id, idleFor: .zero, most: surplus))
        } else {
            actions.append(.drainIdle(pool.config.id, idleFor: pool.config.idle, most: pool.excess))
        }
    }

    private func mayAskForIdle(_ pool: Pool) -> Bool { scalingIsUp && pool.state != nil && !pool.isRetired && pool.excess > 0 }

    // MARK: Steps of one worker

    /// Moves a worker that has, or had, a process: what the roster says of it changes.
    mutating func move(_ i: Int, _ w: Int, to state: Worker.State) {
        let before = pools[i].workers[w]
        pools[i].workers[w].state = state
        let after = pools[i].workers[w]
        if before.process != after.process || before.rosterState != after.rosterState { rosterChanged = true }
    }

    mutating func stop(_ i: Int, _ w: Int, _ process: ProcessIdentity, _ now: Instant, _ actions: inout [Action]) {
        let worker = pools[i].workers[w]
        if worker.isAnnounced {
            actions.append(.withdraw(pools[i].config.id, WorkerName.endpointID(port: worker.port, process: process)))
        }
        move(i, w, to: .stopping(process, killAt: now + pools[i].config.stopTimeout))
        actions.append(.stop(pools[i].place(worker), process))
    }
}
