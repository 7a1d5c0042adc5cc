import CLinux
import DispatcherCore
import Linux
import Model

/// How far a step of a relay came.
enum RelayStep {
    /// The source has nothing more for now, or the sink takes nothing more for now.
    case waiting
    /// There is more, but others have their turn first.
    case yielded
    /// The source's end was reached and everything before it was passed on.
    case ended
    /// All bytes that this run allows have been moved.
    case spent
    case sourceBroken
    case sinkBroken
    /// No descriptors for a pipe: the session cannot go on.
    case starved
    /// The chunked body is not valid.
    case malformed
}

extension SocketFlags {
    /// What a read of 0 means: a reset that somebody else has read looks like an end.
    var atEnd: RelayStep { broken ? .sourceBroken : .ended }
}

extension DispatchLoop {
    /// Moves what can be moved in both directions and looks what that means.
    func pump(_ slot: Int32) {
        let worker = workers[slot]
        // Who has yielded is in line already, whatever else has come for it.
        guard worker.pointee.state == .session, !worker.pointee.hasYielded else { return }
        switch worker.pointee.exchange {
        case .tunnel: pumpTunnel(slot)
        case .requestHead, .responseHead, .responseBody: pumpExchange(slot)
        }
    }

    /// Others first; it goes on at the end of the next turn. In line once, however often it is told.
    func yield(_ slot: Int32) {
        let worker = workers[slot]
        guard !worker.pointee.hasYielded else { return }
        worker.pointee.hasYielded = true
        yielded.append((slot, worker.pointee.generation))
    }

    private func pumpTunnel(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        guard flushOutgoing(callerSlot) else { return }
        let moved = worker.pointee.up.moved &+ worker.pointee.down.moved
        if worker.pointee.up.mode == .open {
            if worker.pointee.up.moved > 0 && caller.pointee.socket.readable && !worker.pointee.socket.finned { setNoDelay(slot) }
            allowance = share
            switch move(&worker.pointee.up, .max, from: caller.pointee.descriptor.raw, &caller.pointee.socket,
                to: worker.pointee.descriptor.raw, &worker.pointee.socket) {
            case .waiting, .spent: break
            case .yielded: yield(slot)
            case .ended: endUp(slot)
            case .sourceBroken: return callerLost(slot)
            case .sinkBroken: return workerLost(slot)
            case .starved, .malformed: return starved(slot)
            }
            worker.pointee.sentBytes = worker.pointee.up.moved
        }
        if worker.pointee.down.mode == .open {
            allowance = share
            switch move(&worker.pointee.down, .max, from: worker.pointee.descriptor.raw, &worker.pointee.socket,
                to: caller.pointee.descriptor.raw, &caller.pointee.socket) {
            case .waiting, .spent: break
            case .yielded: yield(slot)
            case .ended:
                worker.pointee.down.mode = .done
                endSending(&caller.pointee.socket, caller.pointee.descriptor.raw)
                // Its end may come alone, with no byte that would set the deadline anew.
                armTunnel(slot)
            case .sourceBroken: return workerLost(slot)
            case .sinkBroken: return callerLost(slot)
            case .starved, .malformed: return starved(slot)
            }
        }
        if caller.pointee.socket.broken { return callerLost(slot) }
        if worker.pointee.socket.broken { return workerLost(slot) }
        if worker.pointee.up.mode == .done && worker.pointee.down.mode == .done { return tunnelEnded(slot) }
        armWrites(callerSlot)
        if moved != worker.pointee.up.moved &+ worker.pointee.down.moved || worker.pointee.deadline == .none { armTunnel(slot) }
    }

    /// The caller has said all it will say.
    private func endUp(_ slot: Int32) {
        let worker = workers[slot]
        worker.pointee.up.mode = .done
        endSending(&worker.pointee.socket, worker.pointee.descriptor.raw)
    }

    /// The explicit end of what we say on a connection: closing alone says nothing while a duplicate lives.
    func endSending(_ socket: inout SocketFlags, _ raw: Int32) {
        guard !socket.isEnded else { return }
        socket.isEnded = true
        // ENOTCONN: it was reset meanwhile; its event follows.
        _ = lh_shutdown(raw, Int32(SHUT_WR))
    }

    func armTunnel(_ slot: Int32) {
        let worker = workers[slot]
        let deadlines = rules.listeners[Int(worker.pointee.listener)].configuration.deadlines
        // A worker that has ended its side and hears nothing more must not be held for an hour by a caller that never closes.
        let limit = worker.pointee.down.mode == .done ? rules.pools[Int(worker.pointee.pool)].configuration.abandon : deadlines.tunnelIdle
        setDeadline(worker: slot, .idle, until: min(limit.map { now + $0 } ?? .never, worker.pointee.jobDeadline))
    }

    /// Both directions have ended cleanly.
    private func tunnelEnded(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let id = worker.pointee.job
        jobEnded(id, .served, outcome: .served, worker: slot)
        // Both ends were told; the release goes after the close.
        freeCaller(callerSlot)
        freeWorker(slot, .served)
        feed(.ended(id, .served))
    }

    /// The caller reset its connection, or cannot be written to: the worker may still work.
    func callerLost(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        jobEnded(worker.pointee.job, .gone, outcome: .abandoned, worker: slot)
        freeCaller(callerSlot)
        orphan(slot)
    }

    /// The worker's connection broke in the middle of a tunnel or a body: the caller is cut, never ended cleanly.
    func workerLost(_ slot: Int32) {
        let worker = workers[slot]
        if worker.pointee.exchange != .tunnel && worker.pointee.exchange != .responseBody { return lostBeforeResponse(slot) }
        let callerSlot = worker.pointee.caller
        let id = worker.pointee.job
        let began = worker.pointee.down.moved > 0 || worker.pointee.exchange == .responseBody
        let outcome = began ? Outcome.lostAfterResponse : .lostBeforeResponse
        jobEnded(id, .cut, reason: .workerLost, outcome: outcome, worker: slot)
        // The caller first: a successor that finds it still joined must not take this for a clean end.
        resetCaller(callerSlot)
        freeWorker(slot, outcome)
        feed(.ended(id, outcome))
    }

    /// No descriptor for a pipe: this session ends honestly instead of stalling.
    func starved(_ slot: Int32) {
        let worker = workers[slot]
        counters.refusals[Int(Reason.overloaded.rawValue)] += 1
        let callerSlot = worker.pointee.caller
        jobEnded(worker.pointee.job, .cut, reason: .overloaded, outcome: .abandoned, worker: slot)
        resetCaller(callerSlot)
        orphan(slot)
    }

    // MARK: Moving bytes

    /// What one direction of a session may move before others get their turn, in bytes: a full pipe, so that bulk goes by the pipe. Where
    /// many sessions never pause, all of them together move about 2 MiB in a turn: that is what a short job beside them waits for.
    var share: Int { min(256 * 1024, max(32 * 1024, 2 * 1024 * 1024 / max(1, sharers))) }
    /// What a step costs at least, however few bytes it moves.
    static let leastStep = 4 * 1024

    /// Moves up to `limit` bytes from one socket to the other, as far as `allowance` reaches. Small runs are peeked, sent and then taken
    /// off the source (they leave it only once the sink has them); bulk is spliced through a pipe. O(bytes) system calls of at most a
    /// pipe's size.
    func move(
        _ relay: inout Relay, _ limit: UInt64, from source: Int32, _ from: inout SocketFlags, to sink: Int32, _ to: inout SocketFlags
    ) -> RelayStep {
        var left = limit
        while true {
            if relay.inPipe > 0 {
                switch drainPipe(&relay, to: sink, &to) {
                case .spent: break
                case let stopped: return stopped
                }
            }
            guard left > 0 else { return .spent }
            guard allowance > 0 else { return .yielded }
            guard from.readable else { return from.broken ? .sourceBroken : .waiting }
            guard to.writable else { return .waiting }
            if relay.isBulk {
                guard relay.pipe != nil || takePipe(&relay) else { return .starved }
                let count = lh_splice(
                    source, relay.pipe!.write, Int(min(left, UInt64(allowance))), LH_SPLICE_MOVE_NONBLOCK)
                if count == 0 { return from.atEnd }
                if count == Int(-EAGAIN) {
                    from.readable = false
                    release(&relay)
                    return .waiting
                }
                guard count > 0 else { return .sourceBroken }
                allowance -= max(count, Self.leastStep)
                from.taken &+= UInt64(count)
                relay.inPipe = Int32(count)
                left -= UInt64(count)
                relay.left &-= limit == .max ? 0 : UInt64(count)
                continue
            }
            let count = lh_recv(source, scratch.baseAddress, Self.peekBytes, Int32(MSG_PEEK))
            if count == Int(-EAGAIN) {
                from.readable = false
                return .waiting
            }
            guard count >= 0 else { return .sourceBroken }
            if count == 0 { return from.atEnd }
            if count == Self.peekBytes && left > UInt64(count) {
                relay.isBulk = true
                continue
            }
            let wanted = Int(min(UInt64(count), left))
            // The last bytes before a FIN that is already here: held for a moment, so that the end goes in the same segment.
            let isLast = from.finned && count < Self.peekBytes && wanted == count && limit == .max
            let sent = lh_send(sink, scratch.baseAddress, wanted, isLast ? Int32(MSG_MORE) : 0)
            if sent == Int(-EAGAIN) {
                to.writable = false
                return .waiting
            }
            guard sent >= 0 else { return .sinkBroken }
            allowance -= max(sent, Self.leastStep)
            to.given &+= UInt64(sent)
            _ = lh_recv(source, nil, sent, Int32(MSG_TRUNC))
            from.taken &+= UInt64(sent)
            relay.moved &+= UInt64(sent)
            relay.left &-= limit == .max ? 0 : UInt64(sent)
            left -= UInt64(sent)
            if sent < wanted {
                to.writable = false
                return .waiting
            }
            if count < Self.peekBytes && sent == count {
                // That was all there is. A FIN that epoll has told of stands right behind it.
                if from.finned { return left == 0 ? .spent : from.atEnd }
                from.readable = false
            }
        }
    }

    /// Lends the relay a pipe, whose index is in its record before the first byte is in the pipe.
    private func takePipe(_ relay: inout Relay) -> Bool {
        guard let pipe = pipes.take() ?? makePipe() else { return false }
        relay.pipe = pipe
        if let base = relay.base { lh_store_last(base, UInt64(pipe.index) + 1) }
        return true
    }

    /// `.spent` when the pipe is empty.
    private func drainPipe(_ relay: inout Relay, to sink: Int32, _ to: inout SocketFlags) -> RelayStep {
        guard let pipe = relay.pipe else { return .spent }
        while relay.inPipe > 0 {
            guard to.writable else { return .waiting }
            let count = lh_splice(pipe.read, sink, Int(relay.inPipe), LH_SPLICE_MOVE_NONBLOCK)
            if count == Int(-EAGAIN) {
                to.writable = false
                return .waiting
            }
            guard count > 0 else { return .sinkBroken }
            to.given &+= UInt64(count)
            relay.inPipe -= Int32(count)
            relay.moved &+= UInt64(count)
        }
        return .spent
    }

    /// A caller's socket is registered without EPOLLOUT until it was full once: most never are.
    func armWrites(_ callerSlot: Int32) {
        let caller = callers[callerSlot]
        guard !caller.pointee.socket.writable, !caller.pointee.socket.watchesWrites else { return }
        caller.pointee.socket.watchesWrites = true
        _ = loop.modify(
            caller.pointee.descriptor.raw, LH_EPOLLIN | LH_EPOLLOUT | LH_EPOLLRDHUP | LH_EPOLLET, kind: callerKind,
            payload: payload(callerSlot, caller.pointee.generation))
    }

    /// Sends what is left of our own bytes to this caller. False while something is left (or the caller is lost).
    func flushOutgoing(_ callerSlot: Int32) -> Bool {
        let caller = callers[callerSlot]
        guard var bytes = caller.pointee.outgoing else { return true }
        guard caller.pointee.socket.writable else { return false }
        let sent = lh_send(caller.pointee.descriptor.raw, bytes.rest.baseAddress, bytes.rest.count, 0)
        if sent == Int(-EAGAIN) {
            caller.pointee.socket.writable = false
            armWrites(callerSlot)
            return false
        }
        guard sent >= 0 else {
            caller.pointee.socket.broken = true
            return false
        }
        caller.pointee.socket.given &+= UInt64(sent)
        bytes.advance(sent)
        caller.pointee.outgoing = bytes
        guard bytes.isDone else {
            caller.pointee.socket.writable = false
            armWrites(callerSlot)
            return false
        }
        bytes.free()
        caller.pointee.outgoing = nil
        // An answer of our own that its socket did not take at once is whole now.
        if caller.pointee.state == .idle { note(caller: callerSlot, .idle) }
        return true
    }

    /// Called where a part of a head or of a line stays in a socket until the rest of it comes.
    ///
    /// A few bytes keep the whole buffer that they came in, and that can be all that the socket may hold: then its window is closed
    /// and the rest never comes (over loopback, where a segment has 64 KiB, this happens at the default `receive-buffer`). So it may
    /// hold more. The look at one byte makes the kernel tell the sender (tcp_cleanup_rbuf).
    func makeRoom(_ raw: Int32) {
        var charged: UInt32 = 0
        var limit: UInt32 = 0
        guard lh_receive_memory(raw, &charged, &limit) >= 0, charged > limit / 4, limit < Self.mostReceiveMemory else { return }
        // Without CAP_NET_ADMIN it ends at net.core.rmem_max: then it stays as it is.
        _ = lh_double_receive_memory(raw, limit)
        _ = lh_recv(raw, scratch.baseAddress, 1, Int32(MSG_PEEK))
    }

    /// More than one buffer of the kernel can keep (17 fragments of 32 KiB), four times over.
    private static let mostReceiveMemory: UInt32 = 2 * 1024 * 1024
}
