import CLinux
import DispatcherCore
import Linux
import Model

/// The response of an exchange: its head rewritten, its body moved.
extension DispatchLoop {
    func readResponse(_ slot: Int32) {
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
                makeRoom(worker.pointee.descriptor.raw)
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
    func canSendAgain(_ slot: Int32) -> Bool {
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
        guard !head.isInterim else {
            // A sign of life; and after a 100 the caller goes on.
            worker.pointee.traits.remove(.expectsContinue)
            armExchange(slot)
            return true
        }
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
    func consume(_ slot: Int32) {
        let worker = workers[slot]
        guard worker.pointee.consumeLater > 0 else { return }
        _ = lh_recv(worker.pointee.descriptor.raw, nil, Int(worker.pointee.consumeLater), Int32(MSG_TRUNC))
        worker.pointee.consumeLater = 0
    }

    func pumpDown(_ slot: Int32) {
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
    func moveChunked(
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
                makeRoom(source)
                from.readable = false
                return .waiting
            case .end:
                relay.mode = .done
                return .spent
            case .refused: return .malformed
            }
        }
    }
}

extension ByteRange {
    init(from start: Int, count: Int) {
        self = .none
        self.start = UInt32(start)
        self.end = UInt32(start + count)
    }
}
