import CLinux
import DispatcherCore
import Linux
import Logging
import Model
import ServiceKit
import Systemd

extension DispatchLoop {
    /// Sends an answer of our own, then goes on with the connection or closes it.
    func answer(_ slot: Int32, _ answer: Answer) {
        let caller = callers[slot]
        counters.answers += 1
        if case .problem(let reason) = answer.content { counters.refusals[Int(reason.rawValue)] += 1 }
        clearDeadline(caller: slot)
        caller.pointee.head?.free()
        caller.pointee.head = nil
        caller.pointee.worker = -1
        var sink = ByteSink(output)
        answer.write(into: &sink)
        if caller.pointee.outgoing == nil {
            note(answering: slot, answer, length: sink.count)
            let sent = lh_send(caller.pointee.descriptor.raw, output.baseAddress, sink.count, 0)
            if sent < 0 && sent != Int(-EAGAIN) { return freeCaller(slot) }
            let taken = max(0, sent)
            caller.pointee.socket.given &+= UInt64(taken)
            if taken < sink.count {
                caller.pointee.outgoing = Bytes(UnsafeRawBufferPointer(rebasing: output[taken..<sink.count]))
                caller.pointee.socket.writable = false
            }
        } else {
            // An interim response is still on its way, and this answer does not come in its middle.
            return resetCaller(slot)
        }
        if answer.keepsCaller {
            // Only after a request without a body: its head is all that must leave the socket.
            takeHead(slot)
            armWrites(slot)
            nextRequest(slot)
        } else {
            // What is unread must be discarded before the close, or the caller sees a reset instead of the answer.
            caller.pointee.socket.readable = true
            beginClosing(slot)
        }
    }

    /// Half-closes once everything of ours is sent, discards what still comes (at most 256 KiB, at most 2 s), and closes.
    func beginClosing(_ slot: Int32) {
        let caller = callers[slot]
        caller.pointee.state = .closing
        if caller.pointee.outgoing == nil { note(caller: slot, .closing) }
        caller.pointee.discardLeft = 256 * 1024
        caller.pointee.isShut = false
        setDeadline(caller: slot, .discard, .seconds(2))
        callerClosing(slot)
    }

    func callerClosing(_ slot: Int32) {
        let caller = callers[slot]
        guard flushOutgoing(slot) else {
            if caller.pointee.socket.broken { freeCaller(slot) } else { armWrites(slot) }
            return
        }
        if !caller.pointee.isShut {
            caller.pointee.isShut = true
            note(caller: slot, .closing)
            endSending(&caller.pointee.socket, caller.pointee.descriptor.raw)
        }
        while caller.pointee.socket.readable && !caller.pointee.socket.broken && caller.pointee.discardLeft > 0 {
            let count = lh_recv(caller.pointee.descriptor.raw, nil, Int(caller.pointee.discardLeft), Int32(MSG_TRUNC))
            if count == Int(-EAGAIN) { caller.pointee.socket.readable = false }
            if count == 0 || (count < 0 && count != Int(-EAGAIN)) { return freeCaller(slot) }
            if count > 0 { caller.pointee.discardLeft -= UInt32(clamping: count) }
        }
        if caller.pointee.socket.broken || caller.pointee.discardLeft == 0 { freeCaller(slot) }
    }

    /// The job of a waiting caller ended without a lease.
    func refuse(_ id: JobID, _ reason: Reason, _ retryAfter: Duration?) {
        let slot = owners[Int(id.slot)]
        guard slot >= 0, callers[slot].pointee.job == id, callers[slot].pointee.state == .parked else { return }
        let caller = callers[slot]
        let listener = rules.listeners[Int(caller.pointee.listener)]
        logger.notice(
            "A job was refused",
            metadata: [
                LogKey.pool: "\(rules.pools[Int(caller.pointee.pool)].configuration.name)", LogKey.reason: "\(reason.token)",
                LogKey.job: "\(id.ticket.rawValue)", LogKey.messageID: "\(MessageID.jobEnded)",
            ])
        guard listener.isHTTP else {
            counters.refusals[Int(reason.rawValue)] += 1
            return resetCaller(slot)
        }
        let seconds = retryAfter.map { UInt32(clamping: max(1, ($0.milliseconds + 999) / 1000)) }
        answer(slot, Answer(.problem(reason), for: caller.pointee.traits, closes: caller.pointee.framing != .none, retryAfter: seconds))
    }

    /// One line for a job that had a lease, as `log-jobs` says.
    func logEnd(_ id: JobID, _ outcome: Outcome) {
        switch rules.logJobs {
        case .all: break
        case .errors: if outcome == .served { return }
        case .sample(let n): if outcome == .served && !counters.outcomes[Int(Outcome.served.rawValue)].isMultiple(of: UInt64(n)) { return }
        }
        guard let job = machine[id] else { return }
        let pool = rules.pools.first { $0.id == job.request.pool }
        logger.log(
            level: outcome == .served ? .info : .notice, "A job ended",
            metadata: [
                LogKey.pool: "\(pool?.configuration.name ?? "")", LogKey.lease: "\(job.lease)", LogKey.endpoint: "\(job.endpoint)",
                LogKey.reason: "\(outcome.name)", LogKey.job: "\(id.ticket.rawValue)",
                "hold-ms": "\((job.granted - job.arrived).milliseconds)", "lease-ms": "\((now - job.granted).milliseconds)",
                LogKey.messageID: "\(MessageID.jobEnded)",
            ])
    }
}
