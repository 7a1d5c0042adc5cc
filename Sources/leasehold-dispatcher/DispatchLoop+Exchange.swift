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
        let kind: WorkerDeadline = worker.pointee.exchange == .responseBody ? .idle : .firstByte
        let limit = kind == .idle ? deadlines.idle : deadlines.firstByte
        setDeadline(worker: slot, kind, until: min(limit.map { now + $0 } ?? .never, worker.pointee.jobDeadline))
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
    private func pumpUp(_ slot: Int32) -> Bool {
        let worker = workers[slot]
        let caller = callers[worker.pointee.caller]
        let step: RelayStep
        let before = worker.pointee.up.moved
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
        case .waiting, .spent:
            if let most = rules.listeners[Int(worker.pointee.listener)].configuration.limits.body, worker.pointee.up.moved > UInt64(most) {
                refuseBody(slot, .bodyTooLarge)
                return false
            }
            return true
        case .yielded:
            resume.append((slot, worker.pointee.generation))
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

    /// The body itself is at fault: an answer if none has begun, and the worker is left to finish with what it got.
    private func refuseBody(_ slot: Int32, _ reason: Reason) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let began = worker.pointee.exchange == .responseBody
        let traits = worker.pointee.traits
        callers[callerSlot].pointee.worker = -1
        if began { resetCaller(callerSlot) } else { answer(callerSlot, Answer(.problem(reason), for: traits, closes: true)) }
        orphan(slot)
    }

    // MARK: The response

    private func readResponse(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        var limit = Self.peekBytes
        while worker.pointee.socket.readable {
            guard flushOutgoing(callerSlot) else {
                if callers[callerSlot].pointee.socket.broken { callerLost(slot) }
                return
            }
            consume(slot)
            let count = lh_recv(worker.pointee.descriptor.raw, scratch.baseAddress, limit, Int32(MSG_PEEK))
            if count == Int(-EAGAIN) {
                worker.pointee.socket.readable = false
                return
            }
            guard count > 0 else { return lostBeforeResponse(slot) }
            let bytes = UnsafeRawBufferPointer(rebasing: scratch[..<count])
            let listener = rules.listeners[Int(worker.pointee.listener)]
            switch responses.parse(bytes, for: worker.pointee.traits, under: listener.http) {
            case .needMore:
                if count == limit && limit < Self.mostHeadBytes {
                    limit = Self.mostHeadBytes
                    continue
                }
                worker.pointee.socket.readable = false
                if worker.pointee.socket.finned { return lostBeforeResponse(slot) }
                return
            case .refused: return badResponse(slot)
            case .response(let head):
                if head.isBusy && canSendAgain(slot) { return turnedAway(slot, .busy) }
                guard pass(slot, head, bytes, limit, listener) else { return }
                if !head.isInterim { return }
            }
        }
        if worker.pointee.socket.broken { lostBeforeResponse(slot) }
    }

    /// Whether the job can still go to another worker as it came: nothing of a body has left the caller's socket.
    private func canSendAgain(_ slot: Int32) -> Bool {
        let worker = workers[slot]
        return worker.pointee.head != nil && worker.pointee.up.moved == 0 && worker.pointee.up.inPipe == 0
    }

    /// Sends the rewritten head, and a short body with it when all of it is there. False when the session ended in here.
    private func pass(
        _ slot: Int32, _ head: ResponseHead, _ bytes: UnsafeRawBufferPointer, _ limit: Int, _ listener: Rules.Listener
    ) -> Bool {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        guard let job = machine[worker.pointee.job] else {
            badResponse(slot)
            return false
        }
        let isWhole = worker.pointee.up.mode == .done && !worker.pointee.up.isShut
        let plan = head.plan(for: worker.pointee.traits, mayKeep: isWhole && !isDraining)
        var sink = ByteSink(output)
        let endpoint = listener.http.expose.contains(.endpoint) ? Array(job.endpoint.description.utf8) : []
        rules.pools[Int(worker.pointee.pool)].nameBytes.withUnsafeBytes { name in
            endpoint.withUnsafeBytes { endpoint in
                let facts = LeaseFacts(
                    pool: name, lease: job.lease, hold: job.granted - job.arrived, dial: job.dialed - job.granted, endpoint: endpoint)
                if plan.passesHead {
                    responses.rewrite(
                        head, of: bytes, for: worker.pointee.traits, plan: plan, facts: facts, under: listener.http, into: &sink)
                }
            }
        }
        var taken = head.length
        if case .length(let length) = head.framing, length <= UInt64(bytes.count - head.length) {
            // All of it is here: it goes with its head, by the same rule.
            sink.append(bytes.slice(ByteRange(from: head.length, count: Int(length))))
            taken += Int(length)
        }
        guard !sink.overflowed else {
            badResponse(slot)
            return false
        }
        worker.pointee.socket.readable = bytes.count > taken || bytes.count == limit || worker.pointee.socket.finned
        if sink.count > 0 {
            let sent = lh_send(caller.pointee.descriptor.raw, output.baseAddress, sink.count, 0)
            if sent < 0 && sent != Int(-EAGAIN) {
                callerLost(slot)
                return false
            }
            if max(0, sent) < sink.count {
                caller.pointee.socket.writable = false
                caller.pointee.outgoing = Bytes(UnsafeRawBufferPointer(rebasing: output[max(0, sent)..<sink.count]))
            }
        }
        if caller.pointee.outgoing == nil {
            _ = lh_recv(worker.pointee.descriptor.raw, nil, taken, Int32(MSG_TRUNC))
        } else {
            worker.pointee.consumeLater = UInt32(taken)
        }
        guard !head.isInterim else { return true }
        worker.pointee.head?.free()
        worker.pointee.head = nil
        if head.isSwitch {
            worker.pointee.exchange = .tunnel
            worker.pointee.up.mode = .open
            worker.pointee.down.mode = .open
            consume(slot)
            setNoDelay(slot)
            caller.pointee.socket.readable = true
            armTunnel(slot)
            return true
        }
        worker.pointee.exchange = .responseBody
        worker.pointee.keepsAlive = head.keepsAlive
        worker.pointee.keepsCaller = plan.keepsCaller
        worker.pointee.chunks = plan.chunks
        switch head.framing {
        case .none: worker.pointee.down.mode = .done
        case .length(let length):
            worker.pointee.down.mode = taken > head.length || length == 0 ? .done : .counted
            worker.pointee.down.left = length
        case .chunked: worker.pointee.down.mode = .chunked
        case .untilClose: worker.pointee.down.mode = .open
        }
        if worker.pointee.down.mode != .done { armExchange(slot) }
        return true
    }

    /// What was kept at the worker's socket until the caller's had taken it leaves now.
    private func consume(_ slot: Int32) {
        let worker = workers[slot]
        guard worker.pointee.consumeLater > 0 else { return }
        _ = lh_recv(worker.pointee.descriptor.raw, nil, Int(worker.pointee.consumeLater), Int32(MSG_TRUNC))
        worker.pointee.consumeLater = 0
    }

    private func pumpDown(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        guard flushOutgoing(callerSlot) else {
            if caller.pointee.socket.broken { callerLost(slot) }
            return
        }
        consume(slot)
        let step: RelayStep
        switch worker.pointee.down.mode {
        case .done: step = .spent
        case .counted, .open:
            let isOpen = worker.pointee.down.mode == .open
            step = move(
                &worker.pointee.down, isOpen ? .max : worker.pointee.down.left, from: worker.pointee.descriptor.raw,
                &worker.pointee.socket, to: caller.pointee.descriptor.raw, &caller.pointee.socket)
            if isOpen ? step == .ended : step == .spent && worker.pointee.down.left == 0 { worker.pointee.down.mode = .done }
        case .chunked:
            step = moveChunked(
                &worker.pointee.down, worker.pointee.chunks, from: worker.pointee.descriptor.raw, &worker.pointee.socket,
                to: caller.pointee.descriptor.raw, &caller.pointee.socket)
        }
        if worker.pointee.down.mode == .done { return responseEnded(slot) }
        switch step {
        case .waiting, .spent: break
        case .yielded: resume.append((slot, worker.pointee.generation))
        case .ended, .sourceBroken, .malformed: workerLost(slot)
        case .sinkBroken: callerLost(slot)
        case .starved: starved(slot)
        }
    }

    /// Moves a chunked body by its framing: what was verified passes, what the caller cannot take stays behind.
    private func moveChunked(
        _ relay: inout Relay, _ treatment: ChunkTreatment, from source: Int32, _ from: inout SocketFlags, to sink: Int32,
        _ to: inout SocketFlags
    ) -> RelayStep {
        while true {
            if relay.left > 0 || relay.inPipe > 0 {
                let step = move(&relay, relay.left, from: source, &from, to: sink, &to)
                guard step == .spent else { return step }
            }
            if relay.scanner.isDone {
                relay.mode = .done
                return .spent
            }
            guard from.readable else { return from.broken ? .sourceBroken : .waiting }
            guard to.writable else { return .waiting }
            let count = lh_recv(source, scratch.baseAddress, Self.peekBytes, Int32(MSG_PEEK))
            if count == Int(-EAGAIN) {
                from.readable = false
                return .waiting
            }
            guard count >= 0 else { return .sourceBroken }
            if count == 0 { return .ended }
            switch relay.scanner.run(UnsafeRawBufferPointer(rebasing: scratch[..<count]), as: treatment) {
            case .pass(let length):
                relay.left = length
                relay.isBulk = length > UInt64(count)
                guard !relay.isBulk else { continue }
                let sent = lh_send(sink, scratch.baseAddress, Int(length), 0)
                if sent == Int(-EAGAIN) {
                    to.writable = false
                    return .waiting
                }
                guard sent >= 0 else { return .sinkBroken }
                _ = lh_recv(source, nil, sent, Int32(MSG_TRUNC))
                relay.left -= UInt64(sent)
                relay.moved &+= UInt64(sent)
                if relay.left > 0 {
                    to.writable = false
                    return .waiting
                }
                if sent == count && count < Self.peekBytes && !from.finned { from.readable = false }
            case .drop(let length):
                _ = lh_recv(source, nil, Int(clamping: length), Int32(MSG_TRUNC))
                if length == UInt64(count) && count < Self.peekBytes && !from.finned { from.readable = false }
            case .needMore:
                if from.finned { return .ended }
                from.readable = false
                return .waiting
            case .end:
                relay.mode = .done
                return .spent
            case .refused: return .malformed
            }
        }
    }

    // MARK: Ends

    /// The response is whole at the caller: the caller goes on, the worker's lease ends when the worker is done.
    private func responseEnded(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        let id = worker.pointee.job
        let isWhole = worker.pointee.up.mode == .done && !worker.pointee.up.isShut
        let keeps = worker.pointee.keepsCaller && isWhole && !isDraining
        caller.pointee.worker = -1
        owners[Int(id.slot)] = -1
        logEnd(id, .served)
        release(&worker.pointee.up)
        release(&worker.pointee.down)
        if isWhole && rules.pools[Int(worker.pointee.pool)].reusesConnections && worker.pointee.keepsAlive && !worker.pointee.socket.finned
            && !worker.pointee.socket.readable && !isDraining {
            keep(slot)
            feed(.ended(id, .served))
        } else if !isWhole || worker.pointee.socket.finned || worker.pointee.socket.broken {
            freeWorker(slot)
            feed(.ended(id, .served))
        } else {
            worker.pointee.state = .grace
            worker.pointee.caller = -1
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
        if let other = idle.updateValue(slot, forKey: worker.pointee.endpoint) { freeWorker(other) }
        setDeadline(worker: slot, .keep, .seconds(60))
    }

    /// An idle connection has ended, or the worker says something that nobody asked for.
    func dropIdle(_ slot: Int32) {
        let worker = workers[slot]
        // Only write readiness: nothing to see.
        guard worker.pointee.socket.readable || worker.pointee.socket.finned || worker.pointee.socket.broken else { return }
        if idle[worker.pointee.endpoint] == slot { idle[worker.pointee.endpoint] = nil }
        freeWorker(slot)
    }

    func graceAdvanced(_ slot: Int32) {
        let worker = workers[slot]
        guard worker.pointee.socket.finned || worker.pointee.socket.broken else { return }
        let id = worker.pointee.job
        freeWorker(slot)
        feed(.ended(id, .served))
    }

    /// The worker said Busy, or never took anything: the job goes back in line, whole.
    func turnedAway(_ slot: Int32, _ outcome: Outcome) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        let id = worker.pointee.job
        counters.requeues += 1
        caller.pointee.head = worker.pointee.head
        worker.pointee.head = nil
        caller.pointee.worker = -1
        caller.pointee.state = .parked
        resetWorker(slot)
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

    private func badResponse(_ slot: Int32) { failExchange(slot, .badResponse, .lostBeforeResponse) }

    private func failExchange(_ slot: Int32, _ reason: Reason, _ outcome: Outcome) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let id = worker.pointee.job
        let traits = worker.pointee.traits
        callers[callerSlot].pointee.worker = -1
        owners[Int(id.slot)] = -1
        logEnd(id, outcome)
        resetWorker(slot)
        answer(callerSlot, Answer(.problem(reason), for: traits, closes: true))
        feed(.ended(id, outcome))
    }
}

extension ByteRange {
    init(from start: Int, count: Int) {
        self = .none
        self.start = UInt32(start)
        self.end = UInt32(start + count)
    }
}
