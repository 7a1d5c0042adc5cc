import CLinux
import DispatcherCore
import Linux
import Model

extension DispatchLoop {
    /// Sends an answer of our own, then goes on with the connection or closes it.
    func answer(_ slot: Int32, _ answer: Answer) {
        let caller = callers[slot]
        counters.answers += 1
        if case .problem(let reason) = answer.content {
            counters.refusals[Int(reason.rawValue)] += 1
            if answer.facts.job == nil { vitals.none.refuse(reason) }
        }
        clearDeadline(caller: slot)
        giveHeadBack(slot)
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
    func refuse(_ id: JobID, _ reason: Reason, _ facts: RefusalFacts) {
        let slot = owners[Int(id.slot)]
        guard slot >= 0, callers[slot].pointee.job == id, callers[slot].pointee.state == .parked else { return }
        let caller = callers[slot]
        jobEnded(id, .refused, reason: reason, was: .waiting)
        guard rules.listeners[Int(caller.pointee.listener)].isHTTP else {
            counters.refusals[Int(reason.rawValue)] += 1
            return resetCaller(slot)
        }
        let seconds = facts.retryAfter.map { UInt32(clamping: max(1, ($0.milliseconds + 999) / 1000)) }
        answer(
            slot,
            Answer(
                .problem(reason), for: caller.pointee.traits, closes: caller.pointee.framing != .none, retryAfter: seconds,
                facts: AnswerFacts(job: id.ticket, line: facts.line)))
    }
}
