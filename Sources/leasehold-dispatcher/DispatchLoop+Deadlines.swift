import CLinux
import DispatcherCore
import Linux
import Logging
import Model
import ServiceKit
import Systemd

extension DispatchLoop {
    func setDeadline(caller slot: Int32, _ kind: CallerDeadline, _ wait: Duration) {
        let when = now + wait
        callers[slot].pointee.deadline = kind
        note(caller: slot, deadline: kind, when)
        wheel.set(Int(slot) * 2, when)
    }

    func clearDeadline(caller slot: Int32) {
        guard callers[slot].pointee.deadline != .none else { return }
        callers[slot].pointee.deadline = .none
        wheel.set(Int(slot) * 2, .never)
    }

    func setDeadline(worker slot: Int32, _ kind: WorkerDeadline, _ wait: Duration) {
        setDeadline(worker: slot, kind, until: now + wait)
    }

    func setDeadline(worker slot: Int32, _ kind: WorkerDeadline, until: Instant) {
        workers[slot].pointee.deadline = kind
        note(worker: slot, deadline: kind, until)
        wheel.set(Int(slot) * 2 + 1, until)
    }

    func clearDeadline(worker slot: Int32) {
        guard workers[slot].pointee.deadline != .none else { return }
        workers[slot].pointee.deadline = .none
        wheel.set(Int(slot) * 2 + 1, .never)
    }

    func expire(_ now: Instant) {
        wheel.expire(at: now, into: &due)
        for key in due {
            let slot = Int32(key / 2)
            if key.isMultiple(of: 2) { callerDue(slot) } else { workerDue(slot) }
        }
        due.removeAll(keepingCapacity: true)
        if isDraining && now >= drainDeadline { endDrain() }
    }

    private func callerDue(_ slot: Int32) {
        let caller = callers[slot]
        let kind = caller.pointee.deadline
        caller.pointee.deadline = .none
        guard caller.pointee.state != .none else { return }
        counters.deadlines[Int(kind.rawValue)] += 1
        switch kind {
        case .none: break
        case .head:
            // A connection that never said anything is closed without a word; half a head is answered.
            caller.pointee.socket.readable = true
            guard caller.pointee.state == .idle, let bytes = peek(caller, 1), !bytes.isEmpty else { return closeSilently(slot) }
            answer(slot, Answer(.problem(.headTimeout), for: [], closes: true))
        case .keepAlive:
            guard caller.pointee.state == .idle || caller.pointee.state == .proxyHeader else { return }
            closeSilently(slot)
        case .shrink:
            guard caller.pointee.state == .parked else { return }
            giveHeadBack(slot)
            setHoldDeadline(slot)
        case .hold:
            guard caller.pointee.state == .parked else { return }
            feed(.holdExpired(caller.pointee.job))
        case .retry:
            guard caller.pointee.state == .parked else { return }
            reportDialFailure(slot, caller.pointee.job, .ours)
        case .discard: freeCaller(slot)
        }
    }

    private func workerDue(_ slot: Int32) {
        let worker = workers[slot]
        let kind = worker.pointee.deadline
        worker.pointee.deadline = .none
        guard worker.pointee.state != .none else { return }
        switch kind {
        case .none: break
        case .dial: dialEnded(slot, .timedOut)
        case .firstByte, .idle: sessionDue(slot, kind)
        case .abandon:
            let id = worker.pointee.job
            resetWorker(slot, .endingTimeout)
            feed(.ended(id, .endingTimeout))
        case .grace:
            if worker.pointee.state == .ending { return endingEnded(slot) }
            let id = worker.pointee.job
            freeWorker(slot, .served)
            feed(.ended(id, .served))
        case .keep:
            worker.pointee.socket.finned = true
            dropIdle(slot)
        case .probe: probeEnded(slot, passed: false)
        }
    }

    /// Whether one of the two sides has taken bytes since this was last asked that had left our hands before: a slow reader behind a full send
    /// buffer is not idle, though nothing passes here.
    private func isStillTaking(_ slot: Int32) -> Bool {
        let worker = workers[slot]
        // A Unix-domain caller's queue says the same.
        let unsent = UInt32(clamping: max(0, lh_unsent(worker.pointee.descriptor.raw)) + max(0, lh_unsent(callers[worker.pointee.caller].pointee.descriptor.raw)))
        defer { worker.pointee.unsent = unsent }
        return unsent != worker.pointee.unsent
    }

    /// The caller is let go with the truth; the worker may still work, so it is left to end.
    private func sessionDue(_ slot: Int32, _ kind: WorkerDeadline) {
        let worker = workers[slot]
        guard worker.pointee.state == .session else { return }
        let callerSlot = worker.pointee.caller
        let isJob = now >= worker.pointee.jobDeadline
        if !isJob, isStillTaking(slot) { return worker.pointee.exchange == .tunnel ? armTunnel(slot) : armExchange(slot) }
        let traits = worker.pointee.traits
        let isAnswerable = worker.pointee.exchange == .requestHead || worker.pointee.exchange == .responseHead
        let reason: Reason = isJob ? .jobTimeout : kind == .firstByte ? .workerTimeout : .idleTimeout
        let outcome = kind == .firstByte && !isJob ? Outcome.firstByteTimeout : .abandoned
        callers[callerSlot].pointee.worker = -1
        jobEnded(worker.pointee.job, isAnswerable ? .refused : .cut, reason: reason, outcome: outcome, worker: slot)
        if isAnswerable {
            answer(callerSlot, Answer(.problem(reason), for: traits, closes: true, facts: facts(ofWorker: slot)))
        } else {
            counters.refusals[Int(reason.rawValue)] += 1
            resetCaller(callerSlot)
        }
        orphan(slot, as: outcome)
    }

    // MARK: Handing over

    /// Stops accepting; callers wait in the backlog for the successor. Everything else goes on until the pool-keeper has been told all.
    func beginHandOver() {
        guard handOverDeadline == .never else { return }
        handOverDeadline = now + Self.mostHandOver
        handOverTimer?.deadline = handOverDeadline.nanoseconds
        for index in listenerDescriptors.indices where !pausedListeners.contains(UInt16(index)) {
            loop.remove(listenerDescriptors[index])
            pausedListeners.append(UInt16(index))
        }
        acceptTimer?.deadline = .max
        // A probe is in nobody's escrow: given back, its endpoint is free for whoever comes.
        for slot in 0..<workers.capacity where workers[slot].pointee.state == .probe {
            let id = workers[slot].pointee.job
            freeWorker(slot, nil)
            feed(.ended(id, .unused))
        }
        loop.wakeUp()
    }

    /// Longer than a pool-keeper that stands still may live (its unit's WatchdogSec and TimeoutAbortSec), and the start of the next.
    private static var mostHandOver: Duration { .seconds(10) }

    /// Behind the turn's packets: done once the kernel has them all. A pool-keeper that is away is waited for, since without it everything
    /// would be lost; also by a loop that had told everything, as long as another has not.
    func handOverWhenTold() {
        let isTold = hasToldAll
        let isOver = isTold || now >= handOverDeadline
        guard isOver != isHandedOver else { return }
        isHandedOver = isOver
        if isOver && !isTold {
            logger.error(
                "The pool-keeper did not take everything over: what it has not is cut",
                metadata: [LogKey.messageID: "\(MessageID.handOverIncomplete)", "waited": "\(Self.mostHandOver)"])
        }
        if isOver { tellLeftOut() }
        onHandedOver(isOver)
    }

    /// The pool-keeper's end is asked for last: one that has just died took with it what the kernel had taken for it, and its end is read
    /// only behind its last words.
    private var hasToldAll: Bool {
        guard isLinkOpen, beginnings.isEmpty, let link = keeper?.link else { return false }
        return link.isDelivered && !link.hasPeerHungUp
    }

    // MARK: Draining

    /// Answers what comes with `draining`, lets what runs finish, at most for `limit`.
    func beginDrain(limit: Duration) {
        isDraining = true
        drainDeadline = now + limit
        if handOverDeadline != .never {
            // Nobody is to take over after all: who comes is answered.
            handOverDeadline = .never
            isHandedOver = false
            onHandedOver(false)
            resumeAccepting()
        }
        for slot in 0..<callers.capacity where callers[slot].pointee.state == .idle && !callers[slot].pointee.socket.readable {
            let isHTTP = rules.listeners[Int(callers[slot].pointee.listener)].isHTTP
            if isHTTP && callers[slot].pointee.deadline == .keepAlive { beginClosing(slot) }
        }
        for slot in idle.values { freeWorker(slot, nil) }
        idle.removeAll()
        wheelTimer?.set(now + .milliseconds(1))
    }

    /// The drain's own deadline: what still runs is cut.
    private func endDrain() {
        stopNow()
    }

    /// Everything is cut and told: nothing may stay in escrow for a successor that nobody wants.
    func stopNow() {
        isDraining = true
        for slot in 0..<workers.capacity {
            switch workers[slot].pointee.state {
            case .none: break
            case .idle: freeWorker(slot, nil)
            case .probe: probeEnded(slot, passed: false)
            case .dialing, .session, .ending, .grace:
                let (id, callerSlot) = (workers[slot].pointee.job, workers[slot].pointee.caller)
                if callerSlot >= 0 {
                    jobEnded(id, .cut, reason: .draining, outcome: .cut, worker: slot)
                    resetCaller(callerSlot)
                }
                resetWorker(slot, .cut)
                feed(.ended(id, .cut))
            }
        }
        for slot in 0..<callers.capacity where callers[slot].pointee.state != .none {
            if callers[slot].pointee.state == .parked {
                jobEnded(callers[slot].pointee.job, .cut, reason: .draining)
                feed(.callerLeft(callers[slot].pointee.job, reachedWorker: false))
            }
            if callers[slot].pointee.state != .none { resetCaller(slot) }
        }
        idle.removeAll()
        tellLeftOut()
        onDrained()
    }

    func checkDrained() {
        for slot in 0..<workers.capacity {
            switch workers[slot].pointee.state {
            case .none, .idle: break
            case .dialing, .session, .ending, .grace, .probe: return
            }
        }
        for slot in 0..<callers.capacity {
            switch callers[slot].pointee.state {
            case .none, .idle, .proxyHeader: break
            case .parked, .session, .closing: return
            }
        }
        // Those that only wait to be used are ended, in escrow too.
        for slot in 0..<callers.capacity where callers[slot].pointee.state != .none { closeSilently(slot) }
        tellLeftOut()
        onDrained()
    }
}
