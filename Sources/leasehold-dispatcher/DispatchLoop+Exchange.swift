import CLinux
import DispatcherCore
import Linux
import Model

/// One HTTP request and its response, over a joined caller and worker.
extension DispatchLoop {
    func pumpExchange(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        let generation = worker.pointee.generation
        if caller.pointee.socket.broken { return callerLost(slot) }
        if worker.pointee.exchange == .requestHead {
            guard flushRequestHead(slot) else { return }
        }
        let before = worker.pointee.up.moved &+ worker.pointee.down.moved
        guard pumpUp(slot), worker.pointee.generation == generation, worker.pointee.state == .session else { return }
        if worker.pointee.exchange == .responseHead { readResponse(slot) }
        guard worker.pointee.generation == generation, worker.pointee.state == .session else { return }
        if worker.pointee.exchange == .tunnel { return pump(slot) }
        if worker.pointee.exchange == .responseBody { pumpDown(slot) }
        guard worker.pointee.generation == generation, worker.pointee.state == .session else { return }
        if worker.pointee.socket.broken { return workerLost(slot) }
        armWrites(callerSlot)
        if before != worker.pointee.up.moved &+ worker.pointee.down.moved { armExchange(slot) }
    }

    /// The deadline that fits where the exchange stands, never past the job's own.
    func armExchange(_ slot: Int32) {
        let worker = workers[slot]
        let deadlines = rules.listeners[Int(worker.pointee.listener)].configuration.deadlines
        let kind: WorkerDeadline = worker.pointee.exchange == .responseBody || awaitsCaller(worker) ? .idle : .firstByte
        let limit = kind == .idle ? deadlines.idle : deadlines.firstByte
        setDeadline(worker: slot, kind, until: min(limit.map { now + $0 } ?? .never, worker.pointee.jobDeadline))
    }

    /// Whether it is for the caller to go on with its body: whoever stalls there is no worker that says nothing.
    private func awaitsCaller(_ worker: UnsafeMutablePointer<Worker>) -> Bool {
        guard worker.pointee.exchange == .responseHead, worker.pointee.up.mode != .done, worker.pointee.socket.writable else { return false }
        return !worker.pointee.traits.contains(.expectsContinue) || worker.pointee.up.moved > 0
    }

    /// False while the head is not whole at the worker.
    private func flushRequestHead(_ slot: Int32) -> Bool {
        let worker = workers[slot]
        guard var bytes = worker.pointee.outgoing else { return true }
        guard worker.pointee.socket.writable else {
            if worker.pointee.socket.broken { workerLost(slot) }
            return false
        }
        let sent = lh_send(worker.pointee.descriptor.raw, bytes.rest.baseAddress, bytes.rest.count, 0)
        if sent == Int(-EAGAIN) {
            worker.pointee.socket.writable = false
            return false
        }
        guard sent >= 0 else {
            workerLost(slot)
            return false
        }
        bytes.advance(sent)
        worker.pointee.socket.given &+= UInt64(sent)
        worker.pointee.sentBytes += UInt64(sent)
        worker.pointee.outgoing = bytes
        guard bytes.isDone else {
            worker.pointee.socket.writable = false
            return false
        }
        bytes.free()
        worker.pointee.outgoing = nil
        headSent(slot)
        return true
    }

    // MARK: The request's body

    /// False when the session ended in here.
    func pumpUp(_ slot: Int32) -> Bool {
        let worker = workers[slot]
        let caller = callers[worker.pointee.caller]
        let step: RelayStep
        let before = worker.pointee.up.moved
        if worker.pointee.up.mode != .done, caller.pointee.headLength > 0 {
            guard bodyIsHere(worker.pointee.caller) else { return true }
            takeHead(worker.pointee.caller)
        }
        allowance = share
        switch worker.pointee.up.mode {
        case .done, .open: return true
        case .counted:
            step = move(
                &worker.pointee.up, worker.pointee.up.left, from: caller.pointee.descriptor.raw, &caller.pointee.socket,
                to: worker.pointee.descriptor.raw, &worker.pointee.socket)
            if step == .spent && worker.pointee.up.left == 0 { worker.pointee.up.mode = .done }
        case .chunked:
            step = moveChunked(
                &worker.pointee.up, worker.pointee.traits.contains(.takesTrailers) ? .whole : .withoutTrailers,
                from: caller.pointee.descriptor.raw, &caller.pointee.socket, to: worker.pointee.descriptor.raw, &worker.pointee.socket)
        }
        if worker.pointee.up.mode == .done { release(&worker.pointee.up) }
        worker.pointee.sentBytes += worker.pointee.up.moved &- before
        switch step {
        case .waiting, .spent, .yielded:
            if let most = rules.listeners[Int(worker.pointee.listener)].configuration.limits.body, worker.pointee.up.moved > UInt64(most) {
                refuseBody(slot, .bodyTooLarge)
                return false
            }
            if step == .yielded { yield(slot) }
            return true
        case .ended, .sourceBroken:
            // The body is cut off: the worker must not take what came for the whole.
            callerLost(slot)
            return false
        case .malformed:
            refuseBody(slot, .badRequest)
            return false
        case .sinkBroken:
            // A worker may answer and close before it has read the whole body: its answer is in the queue.
            worker.pointee.up.mode = .done
            worker.pointee.up.isShut = true
            return true
        case .starved:
            starved(slot)
            return false
        }
    }

    /// Whether more than the head is in the caller's socket, or nothing more will come.
    private func bodyIsHere(_ callerSlot: Int32) -> Bool {
        let caller = callers[callerSlot]
        guard caller.pointee.socket.readable else { return false }
        if caller.pointee.socket.finned || caller.pointee.socket.broken { return true }
        if lh_unread(caller.pointee.descriptor.raw) > Int(caller.pointee.headLength) { return true }
        caller.pointee.socket.readable = false
        return false
    }

    /// The body itself is at fault: an answer if none has begun, and the worker is left to finish with what it got.
    private func refuseBody(_ slot: Int32, _ reason: Reason) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let began = worker.pointee.exchange == .responseBody
        let traits = worker.pointee.traits
        callers[callerSlot].pointee.worker = -1
        jobEnded(worker.pointee.job, began ? .cut : .refused, reason: reason, outcome: .abandoned, worker: slot)
        if began {
            resetCaller(callerSlot)
        } else {
            answer(callerSlot, Answer(.problem(reason), for: traits, closes: true, facts: facts(ofWorker: slot)))
        }
        orphan(slot)
    }
}
