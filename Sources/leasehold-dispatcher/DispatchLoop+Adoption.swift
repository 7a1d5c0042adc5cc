import CLinux
import DispatcherCore
import Linux
import Logging
import Model
import ServiceKit
import Systemd
import Wire

/// Taking over a seat: the descriptors of a predecessor that died or handed over, before anything is accepted.
extension DispatchLoop {
    /// With nobody at the other end of the link there is nothing to inherit: what was in escrow died with the pool-keeper.
    static var nobodyIsThere: Int64 { 1_500_000_000 }
    /// A pool-keeper that is there but silent is waited for as long as it would keep anything.
    private static var silence: Int64 { 10_000_000_000 }

    /// One message of the pool-keeper's hand-over.
    func inherit(_ adoption: Adoption, _ descriptors: ReceivedDescriptors?) throws(WireError) {
        let inheritance = self.inheritance ?? Inheritance()
        self.inheritance = inheritance
        switch adoption {
        case .records:
            let descriptor = try next(descriptors)
            do { inheritance.records = try Records(owning: descriptor) } catch {
                inheritance.isUnreadable = true
                logger.error("A predecessor's records cannot be read: its sessions are cut", metadata: [LogKey.messageID: "\(MessageID.recordsUnreadable)", "error": "\(error)"])
            }
        case .pipes(let index):
            var read = try next(descriptors)
            var write = try next(descriptors)
            inheritance.pipes.append(Pipe(index: index, read: read.release(), write: write.release()))
        case .caller(let name):
            var descriptor = try next(descriptors)
            inheritance.callers.append(Inheritance.Caller(name: name, raw: descriptor.release()))
        case .worker(let escrowed, let lease):
            var descriptor = try next(descriptors)
            inheritance.workers.append(Inheritance.Worker(escrowed: escrowed, lease: lease, raw: descriptor.release()))
        case .end: handedOver()
        }
    }

    private func next(_ descriptors: ReceivedDescriptors?) throws(WireError) -> Descriptor {
        guard let one = descriptors?.takeFirst() else { throw .truncated }
        return one
    }

    /// `adopt end`: from here on we speak.
    private func handedOver() {
        inheritanceTimer?.deadline = .max
        let inheritance = self.inheritance ?? Inheritance()
        self.inheritance = nil
        if isStarted {
            // What was handed over before the link ended comes again, and is ours. Another's comes too late: our slots are taken.
            if inheritance.isOf(records) { inheritance.closeAll() } else { refuse(inheritance) }
            return tellEverything(isNew: true)
        }
        let isNew: Bool
        if inheritance.isEmpty, let kept = keptInheritance {
            // A new pool-keeper has nothing of it.
            _ = adopt(kept)
            isNew = true
        } else {
            keptInheritance?.closeAll()
            isNew = !adopt(inheritance)
        }
        keptInheritance = nil
        tellEverything(isNew: isNew)
        start()
    }

    /// The link ended. In the middle of a hand-over it begins anew with the next link, unless the pool-keeper died: then what has come is
    /// all that there is.
    func keeperIsGone() {
        isLinkOpen = false
        forgetEscrow()
        guard !isStarted, let inheritance else { return }
        self.inheritance = nil
        guard !inheritance.isEmpty else { return }
        if (keptInheritance?.count ?? 0) > inheritance.count { return inheritance.closeAll() }
        keptInheritance?.closeAll()
        keptInheritance = inheritance
        inheritanceTimer?.deadline = loop.now + Self.nobodyIsThere
    }

    /// Nothing is in escrow that anybody knows of.
    private func forgetEscrow() {
        for slot in 0..<callers.capacity { callers[slot].pointee.isEscrowed = false }
        for slot in 0..<workers.capacity { workers[slot].pointee.isEscrowed = false }
        escrowed = 0
    }

    func inheritanceIsLate() {
        guard !isStarted else { return }
        if keeper?.isConnected ?? false, !inheritanceWasLate {
            inheritanceWasLate = true
            inheritanceTimer?.deadline = loop.now + Self.silence
            return
        }
        if let kept = keptInheritance {
            keptInheritance = nil
            _ = adopt(kept)
            forgetEscrow()
        }
        start()
    }

    private func start() {
        guard !isStarted else { return }
        isStarted = true
        for slot in 0..<workers.capacity where workers[slot].pointee.state != .none { yield(slot) }
        loop.turnAgain()
        onAdopted()
    }

    /// Nobody can go on with these: cut, so that neither side waits.
    private func refuse(_ inheritance: Inheritance) {
        for pipe in inheritance.pipes {
            _ = lh_close(pipe.read)
            _ = lh_close(pipe.write)
        }
        for caller in inheritance.callers { lose(caller.raw) }
        for worker in inheritance.workers {
            lose(worker.raw)
            machine.adoptEnded(worker.lease, .cut, at: now)
        }
    }

    private func lose(_ raw: Int32) {
        counters.adoptionLosses += 1
        _ = lh_disconnect(raw)
        _ = lh_close(raw)
    }

    // MARK: Adopting

    /// True when the predecessor's records are ours now, and with them all that the pool-keeper has.
    private func adopt(_ inheritance: Inheritance) -> Bool {
        guard let old = inheritance.records, !inheritance.isUnreadable else {
            refuse(inheritance)
            return false
        }
        records = old
        old.mapListeners(to: rules.listenerNames)
        for pipe in inheritance.pipes where !pipes.adopt(pipe) {
            _ = lh_close(pipe.read)
            _ = lh_close(pipe.write)
        }
        for caller in inheritance.callers { adopt(caller) }
        var claimed: Set<UInt32> = []
        var nameless: [(slot: Int32, job: AdoptedJob)] = []
        for worker in inheritance.workers { adopt(worker, &claimed, &nameless) }
        for slot in 0..<callers.capacity where callers[slot].pointee.state == .parked && callers[slot].pointee.worker < 0 {
            adoptWaiting(slot)
        }
        endUnadopted()
        machine.adoptedAll()
        callers.taken()
        workers.taken()
        for entry in nameless {
            let id = machine.adopt(entry.job, at: now)
            own(id, caller: -1)
            workers[entry.slot].pointee.job = id
            note(worker: entry.slot, workers[entry.slot].pointee.state == .grace ? .grace : .ending)
        }
        old.listenersMapped(to: rules.listenerNames)
        // Pipes that no session claims are nobody's, whatever is in them.
        for case let pipe? in pipes.all where !claimed.contains(pipe.index) { pipes.give(pipe, isEmpty: lh_unread(pipe.read) == 0) }
        logger.notice(
            "Took over the seat's connections",
            metadata: [
                "callers": "\(counters.adoptedCallers)", "sessions": "\(counters.adoptedSessions)", "cut-heads": "\(counters.tornHeads)",
                "lost": "\(counters.adoptionLosses)", LogKey.messageID: "\(MessageID.adopted)",
            ])
        return true
    }

    func own(_ id: JobID, caller slot: Int32) {
        while owners.count <= Int(id.slot) { owners.append(-1) }
        owners[Int(id.slot)] = slot
    }

    private func adopt(_ heir: Inheritance.Caller) {
        let slot = Int32(bitPattern: heir.name.slot)
        guard slot >= 0, records.holds(caller: slot), let record = records.readCaller(slot), record.generation == heir.name.generation,
            record.state != .none, Int(record.listener) < rules.listeners.count, callers.take(slot)
        else {
            // It was over, but for the word to the pool-keeper.
            _ = lh_shutdown(heir.raw, Int32(SHUT_RDWR))
            _ = lh_close(heir.raw)
            tell(LeasingRequest.escrow(.callerGone(heir.name)))
            return
        }
        counters.adoptedCallers += 1
        if records.listenerMap != nil { record.write(to: records.caller(slot)) }
        let caller = callers[slot]
        let rule = rules.listeners[Int(record.listener)]
        caller.pointee.descriptor = Descriptor(owning: heir.raw)
        caller.pointee.generation = record.generation
        caller.pointee.serial = record.serial
        caller.pointee.listener = record.listener
        caller.pointee.socket = SocketFlags(readable: true)
        caller.pointee.worker = -1
        caller.pointee.headLength = 0
        caller.pointee.isEscrowed = true
        caller.pointee.job = record.job
        escrowed += 1
        caller.pointee.peer =
            (rule.configuration.proxyProtocol.accept ? records.peer(caller: slot) : nil)
            ?? rule.http.trust.peer(SocketAddress(system: lh_peer_address(heir.raw)))
        caller.pointee.pool = UInt16(rules.pools.firstIndex { $0.id == record.pool } ?? Int(rule.pool))
        // A Unix-domain socket has no position; nothing that needs one is adopted there.
        if let position = try? StreamPosition(of: heir.raw) {
            let standing = Standing(position, isDialed: false)
            caller.pointee.socket.taken = standing.taken
            caller.pointee.socket.given = standing.given
            caller.pointee.socket.isEnded = position.state.hasOurFIN
            caller.pointee.socket.finned = standing.life == .ended
        }
        let added = loop.add(
            heir.raw, LH_EPOLLIN | LH_EPOLLRDHUP | LH_EPOLLET, kind: callerKind, payload: payload(slot, caller.pointee.generation))
        caller.pointee.state = .idle
        guard added >= 0 else { return lost(slot) }
        restore(slot, record)
    }

    /// Nobody can go on with this caller: cut.
    func lost(_ slot: Int32) {
        counters.adoptionLosses += 1
        if callers[slot].pointee.state == .parked { end(slot, .cut) }
        resetCaller(slot)
    }

    /// Its job is over, and not in the machine.
    private func end(_ slot: Int32, _ result: JobEnd.Result) {
        if let record = records.readCaller(slot), record.hasJob, !isEndNoted(slot) { jobEnded(record, result) }
    }

    /// Jobs of callers whom the pool-keeper has not handed over: they went down with our predecessor.
    private func endUnadopted() {
        for slot in 0..<records.callersUsed where slot >= callers.capacity || callers[slot].pointee.state == .none {
            guard let record = records.readCaller(slot), record.state != .none else { continue }
            let at = records.caller(slot)
            let isNoted = at[CallerRecord.markWord] == CallerRecord.endMark(serial: record.serial)
            // Nobody has it, whatever was done with it.
            lh_store_last(at, 0)
            if record.hasJob, !isNoted { jobEnded(record, .cut) }
        }
    }

    /// A caller that is not in a session goes on where its record says.
    private func restore(_ slot: Int32, _ record: CallerRecord) {
        let caller = callers[slot]
        let rule = rules.listeners[Int(record.listener)]
        let kind = CallerDeadline(rawValue: record.deadlineKind) ?? .none
        func keepDeadline(_ otherwise: CallerDeadline, _ wait: Duration) {
            let isFar = record.deadline == .never || kind == .none
            setDeadline(caller: slot, isFar ? otherwise : kind, isFar ? wait : max(.milliseconds(1), record.deadline - now))
        }
        switch record.state {
        case .none: break
        case .proxyHeader:
            // Once it is off the socket its facts are in the record.
            caller.pointee.state = caller.pointee.socket.taken > 0 ? .idle : .proxyHeader
            keepDeadline(.head, rule.configuration.deadlines.head)
        case .idle:
            caller.pointee.state = .idle
            // A TCP caller asks with its first byte, and is believed to have sent one as soon as there is something to read.
            caller.pointee.socket.readable = caller.pointee.socket.finned || lh_unread(caller.pointee.descriptor.raw) > 0
            keepDeadline(.keepAlive, rule.configuration.deadlines.keepAlive)
            again.append(slot)
        case .parked, .begun: caller.pointee.state = .parked
        case .answering: answerAgain(slot, record.answer)
        case .closing: beginClosing(slot)
        }
    }

    private func answerAgain(_ slot: Int32, _ record: AnswerRecord) {
        let caller = callers[slot]
        caller.pointee.traits = record.traits
        caller.pointee.headLength = record.headLength
        switch caller.pointee.socket.given &- record.at {
        case 0:
            let content: Answer.Content
            switch record.content {
            case AnswerRecord.options: content = .options
            case AnswerRecord.healthy: content = .health(isReady: true)
            case AnswerRecord.unhealthy: content = .health(isReady: false)
            case let reason: content = .problem(Reason(rawValue: reason) ?? .workerLost)
            }
            answer(
                slot,
                Answer(
                    content, for: record.traits, closes: !record.keepsCaller, retryAfter: record.retryAfter > 0 ? UInt32(record.retryAfter) : nil))
        case UInt64(record.length):
            guard record.keepsCaller else { return beginClosing(slot) }
            // Its head may have left the socket before its answer was over, or not.
            caller.pointee.headLength = 0
            if caller.pointee.socket.taken & AnswerRecord.takenMask == record.taken { takeOff(caller: slot, Int(record.headLength)) }
            nextRequest(slot)
        case let sent:
            if sent < UInt64(record.length) { counters.tornHeads += 1 }
            resetCaller(slot)
        }
    }

    /// A job that waits, under its old name; what it asks for is read again from the head, which is still in the socket.
    private func adoptWaiting(_ slot: Int32) {
        let caller = callers[slot]
        // With a worker that was not in escrow: its job may be done by now, and is not begun a second time.
        guard let record = records.readCaller(slot), record.state != .begun else { return lost(slot) }
        let listener = rules.listeners[Int(caller.pointee.listener)]
        if hasLeft(slot) {
            // Nobody's loss.
            end(slot, .gone)
            return closeSilently(slot)
        }
        var request = connectionRequest(slot)
        if listener.isHTTP {
            guard let again = readAgain(slot) else { return lost(slot) }
            request = again
        }
        var id = record.job
        let job = AdoptedJob(request: request, arrived: record.arrived, isRequeued: record.isRequeued)
        if !machine.adopt(id, job, at: now) {
            machine.adoptedAll()
            id = machine.adopt(job, at: now)
        }
        own(id, caller: slot)
        caller.pointee.job = id
        if id != record.job { note(renamed: slot) }
        setHoldDeadline(slot, grace: Self.keepersAbsence)
        // What it said or did meanwhile is told by epoll, which tells everything of a new registration.
    }

    /// Whether a parked caller has hung up meanwhile. One that the pool-keeper has seen to do so has given its place back already.
    private func hasLeft(_ slot: Int32) -> Bool {
        let caller = callers[slot]
        let rule = rules.listeners[Int(caller.pointee.listener)]
        guard let state = try? StreamPosition(of: caller.pointee.descriptor.raw).state else { return false }
        return state == .close || (caller.pointee.socket.finned && (rule.isHTTP || rule.configuration.parkedFIN == .gone))
    }

    /// The request at the front of a parked caller's socket.
    func readAgain(_ slot: Int32) -> JobRequest? {
        let caller = callers[slot]
        let listener = rules.listeners[Int(caller.pointee.listener)]
        let count = lh_recv(caller.pointee.descriptor.raw, scratch.baseAddress, Self.mostHeadBytes, Int32(MSG_PEEK))
        guard count > 0 else { return nil }
        let bytes = UnsafeRawBufferPointer(rebasing: scratch[..<count])
        guard case .request(let head) = parser.parse(bytes, from: caller.pointee.peer, under: listener.http) else { return nil }
        caller.pointee.traits = head.traits
        caller.pointee.framing = head.framing
        caller.pointee.headLength = UInt32(head.length)
        caller.pointee.socket.readable = count > head.length || count == Self.mostHeadBytes || caller.pointee.socket.finned
        return requestAgain(slot, head, bytes)
    }
}

extension StreamPosition.State {
    /// shutdown(SHUT_WR) was called, as far as the state can tell.
    var hasOurFIN: Bool {
        switch self {
        case .finWait1, .finWait2, .timeWait, .lastAck, .closing: true
        case .established, .synSent, .synReceived, .close, .closeWait, .listen: false
        }
    }

    var hasPeersFIN: Bool {
        switch self {
        case .closeWait, .lastAck, .closing, .timeWait: true
        case .established, .synSent, .synReceived, .finWait1, .finWait2, .close, .listen: false
        }
    }
}

extension Standing {
    /// `isDialed`: the connection was made from here, so that its SYN was counted.
    init(_ position: StreamPosition, isDialed: Bool) {
        let syn: UInt64 = isDialed && position.given > 0 ? 1 : 0
        let life: Life = position.state == .close ? .closed : position.state.hasPeersFIN ? .ended : .open
        self.init(
            life: life, taken: position.taken &- (life == .ended ? 1 : 0),
            given: position.given &- syn &- (position.state.hasOurFIN ? 1 : 0), hasError: position.hasError)
    }
}
