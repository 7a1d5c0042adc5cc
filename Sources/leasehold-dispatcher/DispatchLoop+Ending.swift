import CLinux
import DispatcherCore
import Linux
import Model

/// Jobs whose caller is gone while their worker still works: what it says is discarded until it is done.
extension DispatchLoop {
    /// Lets the worker finish alone (`ending`), or go if nothing reached it. The job's end was told.
    func orphan(_ slot: Int32, as outcome: Outcome = .abandoned) {
        let worker = workers[slot]
        let id = worker.pointee.job
        let reached = worker.pointee.sentBytes > 0 || worker.pointee.exchange == .tunnel
        worker.pointee.caller = -1
        owners[Int(id.slot)] = -1
        guard reached else {
            freeWorker(slot, .unused)
            return feed(.callerLeft(id, reachedWorker: false))
        }
        feed(.callerLeft(id, reachedWorker: true))
        release(&worker.pointee.up)
        release(&worker.pointee.down)
        consume(slot)
        worker.pointee.state = .ending
        worker.pointee.endingOutcome = outcome
        note(worker: slot, .ending)
        endSending(&worker.pointee.socket, worker.pointee.descriptor.raw)
        setDeadline(worker: slot, .abandon, rules.pools[Int(worker.pointee.pool)].configuration.abandon)
        drainEnding(slot)
    }

    /// Discards what an abandoned worker still says, until it closes, or until its response is complete and `close-grace` has passed.
    func drainEnding(_ slot: Int32) {
        let worker = workers[slot]
        while worker.pointee.socket.readable && !worker.pointee.socket.broken {
            guard discard(slot) else { break }
        }
        if worker.pointee.exchange == .responseBody, worker.pointee.down.mode == .done, worker.pointee.deadline == .abandon {
            setDeadline(worker: slot, .grace, rules.pools[Int(worker.pointee.pool)].configuration.closeGrace)
        }
        guard worker.pointee.socket.finned || worker.pointee.socket.broken else { return }
        guard worker.pointee.socket.readable || worker.pointee.socket.broken else { return }
        endingEnded(slot)
    }

    /// The abandoned worker is done.
    func endingEnded(_ slot: Int32) {
        let id = workers[slot].pointee.job
        let outcome = workers[slot].pointee.endingOutcome
        freeWorker(slot, outcome)
        feed(.ended(id, outcome))
    }

    /// Takes the next run off the worker's socket, by the response's framing where there is one. False at the end, and when there is
    /// nothing to take for now.
    private func discard(_ slot: Int32) -> Bool {
        let worker = workers[slot]
        switch worker.pointee.exchange {
        case .tunnel: return take(slot, 1 << 20) > 0
        case .requestHead, .responseHead: return discardHead(slot)
        case .responseBody:
            switch worker.pointee.down.mode {
            // Behind a complete response nothing counts but the end.
            case .open, .done: return take(slot, 1 << 20) > 0
            case .counted: return discardCounted(slot)
            case .chunked:
                if worker.pointee.down.left > 0 { return discardCounted(slot) }
                return discardChunks(slot)
            }
        }
    }

    /// Bytes taken off; 0 at the end, at a failure and when there are none.
    private func take(_ slot: Int32, _ most: UInt64) -> Int {
        let worker = workers[slot]
        let count = lh_recv(worker.pointee.descriptor.raw, nil, Int(min(most, 1 << 20)), Int32(MSG_TRUNC))
        if count == Int(-EAGAIN) { worker.pointee.socket.readable = false }
        worker.pointee.socket.taken &+= UInt64(max(0, count))
        return max(0, count)
    }

    private func discardCounted(_ slot: Int32) -> Bool {
        let worker = workers[slot]
        let count = take(slot, worker.pointee.down.left)
        worker.pointee.down.left -= UInt64(count)
        if worker.pointee.down.left == 0, worker.pointee.down.mode == .counted || worker.pointee.down.scanner.isDone {
            worker.pointee.down.mode = .done
        }
        return count > 0
    }

    private func discardHead(_ slot: Int32) -> Bool {
        let worker = workers[slot]
        let count = lh_recv(worker.pointee.descriptor.raw, scratch.baseAddress, Self.mostHeadBytes, Int32(MSG_PEEK))
        guard count > 0 else {
            if count == Int(-EAGAIN) { worker.pointee.socket.readable = false }
            return false
        }
        let listener = rules.listeners[Int(worker.pointee.listener)]
        switch responses.parse(UnsafeRawBufferPointer(rebasing: scratch[..<count]), for: worker.pointee.traits, under: listener.http) {
        case .needMore:
            if !worker.pointee.socket.finned {
                makeRoom(worker.pointee.descriptor.raw)
                worker.pointee.socket.readable = false
            }
            return false
        case .refused:
            // It has no framing that could be followed: only its close can be the end.
            worker.pointee.exchange = .tunnel
        case .response(let head):
            record(endingHead: slot, head)
            guard take(slot, UInt64(head.length)) == head.length else { return false }
            if head.isInterim { return true }
            worker.pointee.exchange = head.isSwitch ? .tunnel : .responseBody
            switch head.framing {
            case .none: worker.pointee.down.mode = .done
            case .length(let length):
                worker.pointee.down.mode = length == 0 ? .done : .counted
                worker.pointee.down.left = length
            case .chunked: worker.pointee.down.mode = .chunked
            case .untilClose: worker.pointee.down.mode = .open
            }
        }
        return true
    }

    /// Before a head is taken off that nobody waits for: what follows it. There is no sink, so the source's position is the whole of it.
    private func record(endingHead slot: Int32, _ head: ResponseHead) {
        let worker = workers[slot]
        let end = worker.pointee.socket.taken &+ UInt64(head.length)
        var record = RelayRecord(sourceAt: worker.pointee.socket.taken, sourceLength: head.length, sinkAt: 0, follows: .nothing, end: end)
        switch head.framing {
        case .none, .length(0): record.follows = head.isInterim ? .head : .nothing
        case .length(let count):
            record.follows = .counted
            record.end = end &+ count
        case .chunked: record.follows = .chunked
        case .untilClose: record.follows = .open
        }
        if head.isSwitch { record.follows = .open }
        if record.follows == .open { record.end = .max }
        worker.pointee.down.record = record
        worker.pointee.down.commit()
    }

    private func discardChunks(_ slot: Int32) -> Bool {
        let worker = workers[slot]
        guard !worker.pointee.down.scanner.isDone else {
            worker.pointee.down.mode = .done
            return true
        }
        let count = lh_recv(worker.pointee.descriptor.raw, scratch.baseAddress, Self.peekBytes, Int32(MSG_PEEK))
        guard count > 0 else {
            if count == Int(-EAGAIN) { worker.pointee.socket.readable = false }
            return false
        }
        switch worker.pointee.down.scanner.run(UnsafeRawBufferPointer(rebasing: scratch[..<count]), as: worker.pointee.chunks) {
        case .pass(let length), .drop(let length):
            worker.pointee.down.record.end = worker.pointee.socket.taken &+ length
            worker.pointee.down.record.scanner = worker.pointee.down.scanner
            worker.pointee.down.commit()
            worker.pointee.down.left = length
            return discardCounted(slot)
        case .needMore:
            if !worker.pointee.socket.finned {
                makeRoom(worker.pointee.descriptor.raw)
                worker.pointee.socket.readable = false
            }
            return false
        case .end: worker.pointee.down.mode = .done
        case .refused: worker.pointee.exchange = .tunnel
        }
        return true
    }
}
