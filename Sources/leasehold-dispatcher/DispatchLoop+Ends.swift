import CLinux
import DispatcherCore
import Linux
import Model

/// How exchanges end, and what becomes of the two connections.
extension DispatchLoop {
    /// The response is whole at the caller: the caller goes on, the worker's lease ends when the worker is done.
    func responseEnded(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        let id = worker.pointee.job
        let isWhole = worker.pointee.up.mode == .done && !worker.pointee.up.isShut
        let keeps = worker.pointee.keepsCaller && isWhole && !isDraining
        jobEnded(id, .served, outcome: .served, worker: slot)
        // The caller moves on first: then a successor takes what is left for a worker that is done, and never the other way round.
        note(caller: callerSlot, keeps ? .idle : .closing)
        caller.pointee.worker = -1
        owners[Int(id.slot)] = -1
        release(&worker.pointee.up)
        release(&worker.pointee.down)
        if isWhole && worker.pointee.keepsAlive && !worker.pointee.socket.finned && !worker.pointee.socket.readable && !isDraining
            && rules.keepsConnections(pool: worker.pointee.pool, listener: worker.pointee.listener) {
            keep(slot)
            feed(.ended(id, .served))
        } else if !isWhole || worker.pointee.socket.finned || worker.pointee.socket.broken {
            freeWorker(slot, .served)
            feed(.ended(id, .served))
        } else {
            worker.pointee.state = .grace
            worker.pointee.caller = -1
            note(worker: slot, .grace)
            setDeadline(worker: slot, .grace, rules.pools[Int(worker.pointee.pool)].configuration.closeGrace)
        }
        if keeps {
            nextRequest(callerSlot)
        } else {
            beginClosing(callerSlot)
        }
    }

    /// The caller may send its next request, or has already.
    func nextRequest(_ slot: Int32) {
        let caller = callers[slot]
        caller.pointee.state = .idle
        if caller.pointee.outgoing == nil { note(caller: slot, .idle) }
        caller.pointee.headLength = 0
        let wait = rules.listeners[Int(caller.pointee.listener)].configuration.deadlines.keepAlive
        if wait == .zero { return beginClosing(slot) }
        setDeadline(caller: slot, .keepAlive, wait)
        if caller.pointee.socket.readable || caller.pointee.socket.finned || caller.pointee.socket.broken {
            caller.pointee.socket.readable = true
            again.append(slot)
        }
    }

    /// The worker's connection waits for the next job of its endpoint.
    private func keep(_ slot: Int32) {
        let worker = workers[slot]
        worker.pointee.state = .idle
        worker.pointee.caller = -1
        note(worker: slot, over: .served)
        // The release takes it out of escrow; its next job puts it in again.
        if worker.pointee.isEscrowed {
            worker.pointee.isEscrowed = false
            escrowed -= 1
        }
        if let other = idle.updateValue(slot, forKey: worker.pointee.endpoint) { freeWorker(other, nil) }
        setDeadline(worker: slot, .keep, .seconds(60))
    }

    /// An idle connection has ended, or the worker says something that nobody asked for.
    func dropIdle(_ slot: Int32) {
        let worker = workers[slot]
        // Only write readiness: nothing to see.
        guard worker.pointee.socket.readable || worker.pointee.socket.finned || worker.pointee.socket.broken else { return }
        if idle[worker.pointee.endpoint] == slot { idle[worker.pointee.endpoint] = nil }
        freeWorker(slot, nil)
    }

    func graceAdvanced(_ slot: Int32) {
        let worker = workers[slot]
        guard worker.pointee.socket.finned || worker.pointee.socket.broken else { return }
        let id = worker.pointee.job
        freeWorker(slot, .served)
        feed(.ended(id, .served))
    }

    /// The worker said Busy, or never took anything: the job goes back in line, whole.
    func turnedAway(_ slot: Int32, _ outcome: Outcome) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        let id = worker.pointee.job
        counters.requeues += 1
        // Its head is still at the front of the caller's socket.
        caller.pointee.worker = -1
        caller.pointee.state = .parked
        note(parkedAgain: callerSlot)
        resetWorker(slot, outcome)
        setHoldDeadline(callerSlot)
        feed(.turnedAway(id, outcome))
        if callers[callerSlot].pointee.state == .parked { callerParked(callerSlot) }
    }

    /// The connection ended before a response came.
    func lostBeforeResponse(_ slot: Int32) {
        let worker = workers[slot]
        // Tried again only when the worker's host has acknowledged none of it. A kept connection that its worker closed meanwhile is
        // nobody's fault.
        let acked = lh_bytes_acked(worker.pointee.descriptor.raw)
        if canSendAgain(slot), acked >= 0, UInt64(acked) <= worker.pointee.ackedBefore {
            return turnedAway(slot, worker.pointee.isReused ? .unused : .lostBeforeResponse)
        }
        failExchange(slot, .workerLost, .lostBeforeResponse)
    }

    func badResponse(_ slot: Int32) { failExchange(slot, .badResponse, .lostBeforeResponse) }

    func failExchange(_ slot: Int32, _ reason: Reason, _ outcome: Outcome) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let id = worker.pointee.job
        let traits = worker.pointee.traits
        callers[callerSlot].pointee.worker = -1
        jobEnded(id, .refused, reason: reason, outcome: outcome, worker: slot)
        owners[Int(id.slot)] = -1
        answer(callerSlot, Answer(.problem(reason), for: traits, closes: true, facts: facts(ofWorker: slot)))
        resetWorker(slot, outcome)
        feed(.ended(id, outcome))
    }
}
