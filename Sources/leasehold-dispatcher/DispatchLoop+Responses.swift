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
        guard worker.pointee.caller >= 0 else { return false }
        return callers[worker.pointee.caller].pointee.headLength > 0 && worker.pointee.up.moved == 0 && worker.pointee.up.inPipe == 0
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
        // A short body that is all here goes with its head, by the same rule.
        let headCount = sink.count
        var bodyCount = 0
        if case .length(let length) = head.framing, length <= UInt64(bytes.count - head.length) {
            bodyCount = Int(length)
            sink.append(bytes.slice(ByteRange(from: head.length, count: bodyCount)))
        }
        guard !sink.overflowed else {
            badResponse(slot)
            return false
        }
        record(response: slot, head, plan, sinkLength: headCount)
        var passed = 0
        if sink.count > 0 {
            let sent = lh_send(caller.pointee.descriptor.raw, output.baseAddress, sink.count, 0)
            if sent < 0 && sent != Int(-EAGAIN) {
                callerLost(slot)
                return false
            }
            let count = max(0, sent)
            caller.pointee.socket.given &+= UInt64(count)
            if count < sink.count { caller.pointee.socket.writable = false }
            passed = max(0, count - headCount)
            // Only what is left of the head is kept here; what is left of the body is still in the worker's socket.
            if count < headCount { caller.pointee.outgoing = Bytes(UnsafeRawBufferPointer(rebasing: output[count..<headCount])) }
        }
        let taken = head.length + passed
        worker.pointee.socket.readable = bytes.count > taken || bytes.count == limit || worker.pointee.socket.finned
        worker.pointee.consumeLater = UInt32(taken)
        if caller.pointee.outgoing == nil { consume(slot) }
        guard !head.isInterim else {
            // A sign of life; and after a 100 the caller goes on.
            worker.pointee.traits.remove(.expectsContinue)
            armExchange(slot)
            return true
        }
        takeHead(callerSlot)
        worker.pointee.down.moved = UInt64(passed)
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
            worker.pointee.down.left = length - UInt64(passed)
            worker.pointee.down.mode = worker.pointee.down.left == 0 ? .done : .counted
        case .chunked: worker.pointee.down.mode = .chunked
        case .untilClose: worker.pointee.down.mode = .open
        }
        if worker.pointee.down.mode != .done { armExchange(slot) }
        return true
    }

    /// Before a response's head is passed on: what it is replaced by, and what follows it.
    private func record(response slot: Int32, _ head: ResponseHead, _ plan: ResponsePlan, sinkLength: Int) {
        let worker = workers[slot]
        let caller = callers[worker.pointee.caller]
        let end = worker.pointee.socket.taken &+ UInt64(head.length)
        var record = RelayRecord(
            sourceAt: worker.pointee.socket.taken, sourceLength: head.length, sinkAt: caller.pointee.socket.given, sinkLength: sinkLength,
            follows: .nothing, end: end)
        if head.isInterim {
            record.follows = .head
        } else if head.isSwitch {
            record.follows = .open
            record.end = .max
            record.traits = .isSwitch
            // The request's end is no longer the end of what the caller sends.
            worker.pointee.up.record.end = .max
            worker.pointee.up.commit()
        } else {
            if head.keepsAlive { record.traits.insert(.keepsWorker) }
            if plan.keepsCaller { record.traits.insert(.keepsCaller) }
            record.chunks = plan.chunks
            switch head.framing {
            case .none, .length(0): break
            case .length(let count):
                record.follows = .counted
                record.end = end &+ count
            case .chunked: record.follows = .chunked
            case .untilClose:
                record.follows = .open
                record.end = .max
            }
        }
        worker.pointee.down.record = record
        worker.pointee.down.commit()
    }

    /// What was kept at the worker's socket until the caller's had taken it leaves now.
    func consume(_ slot: Int32) {
        let worker = workers[slot]
        guard worker.pointee.consumeLater > 0 else { return }
        _ = lh_recv(worker.pointee.descriptor.raw, nil, Int(worker.pointee.consumeLater), Int32(MSG_TRUNC))
        worker.pointee.socket.taken &+= UInt64(worker.pointee.consumeLater)
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
        allowance = share
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
        case .yielded: yield(slot)
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
            guard allowance > 0 else { return .yielded }
            guard from.readable else { return from.broken ? .sourceBroken : .waiting }
            guard to.writable else { return .waiting }
            let count = lh_recv(source, scratch.baseAddress, Self.peekBytes, Int32(MSG_PEEK))
            if count == Int(-EAGAIN) {
                from.readable = false
                return .waiting
            }
            guard count >= 0 else { return .sourceBroken }
            if count == 0 { return from.atEnd }
            switch relay.scanner.run(UnsafeRawBufferPointer(rebasing: scratch[..<count]), as: treatment) {
            case .pass(let length):
                relay.record.end = from.taken &+ length
                relay.record.scanner = relay.scanner
                relay.commit()
                relay.left = length
                relay.isBulk = length > UInt64(count)
                guard !relay.isBulk else { continue }
                let sent = lh_send(sink, scratch.baseAddress, Int(length), 0)
                if sent == Int(-EAGAIN) {
                    to.writable = false
                    return .waiting
                }
                guard sent >= 0 else { return .sinkBroken }
                allowance -= max(sent, Self.leastStep)
                to.given &+= UInt64(sent)
                _ = lh_recv(source, nil, sent, Int32(MSG_TRUNC))
                from.taken &+= UInt64(sent)
                relay.left -= UInt64(sent)
                relay.moved &+= UInt64(sent)
                if relay.left > 0 {
                    to.writable = false
                    return .waiting
                }
                if sent == count && count < Self.peekBytes && !from.finned { from.readable = false }
            case .drop(let length):
                relay.record = RelayRecord(
                    sourceAt: from.taken, sourceLength: Int(clamping: length), sinkAt: to.given, follows: .chunked,
                    end: from.taken &+ length, traits: relay.record.traits)
                relay.record.chunks = treatment
                relay.record.scanner = relay.scanner
                relay.commit()
                _ = lh_recv(source, nil, Int(clamping: length), Int32(MSG_TRUNC))
                from.taken &+= length
                allowance -= Self.leastStep
                if length == UInt64(count) && count < Self.peekBytes && !from.finned { from.readable = false }
            case .needMore:
                if from.finned { return from.atEnd }
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
