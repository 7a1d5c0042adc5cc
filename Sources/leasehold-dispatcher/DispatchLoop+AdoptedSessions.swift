import CLinux
import DispatcherCore
import Linux
import Model
import Wire

/// Sessions of a predecessor: each direction is taken from the kernel's counters and from its record.
extension DispatchLoop {
    /// `pipes` collects the indices that sessions claim, `nameless` the jobs without a caller, which get new names.
    func adopt(_ heir: Inheritance.Worker, _ claimed: inout Set<UInt32>, _ nameless: inout [(slot: Int32, job: AdoptedJob)]) {
        let name = heir.escrowed.worker
        let slot = Int32(bitPattern: name.slot)
        guard slot >= 0, records.holds(worker: slot), let record = records.readWorker(slot), record.generation == name.generation,
            record.lease == heir.lease.lease, record.state != .none, record.state != .probe, Int(record.listener) < rules.listeners.count,
            let position = try? StreamPosition(of: heir.raw)
        else {
            // The record has gone on to another job: this one was over.
            return abandon(heir, .cut)
        }
        guard record.state != .over else { return abandon(heir, record.outcome) }
        guard workers.take(slot) else { return abandon(heir, .cut) }
        let worker = workers[slot]
        let standing = Standing(position, isDialed: true)
        worker.pointee.descriptor = Descriptor(owning: heir.raw)
        worker.pointee.generation = record.generation
        worker.pointee.socket = SocketFlags(
            readable: true, writable: position.state != .synSent, finned: standing.life == .ended, broken: false, watchesWrites: true,
            isEnded: position.state.hasOurFIN, taken: standing.taken, given: standing.given)
        worker.pointee.endpoint = heir.lease.endpoint
        worker.pointee.address = heir.lease.address
        worker.pointee.pool = UInt16(rules.pools.firstIndex { $0.id == heir.lease.pool } ?? 0)
        worker.pointee.listener = record.listener
        worker.pointee.isReused = record.isReused
        worker.pointee.isKeptAlive = false
        worker.pointee.hasNoDelay = false
        worker.pointee.isEscrowed = true
        worker.pointee.ackedBefore = record.givenBefore &+ 1
        worker.pointee.sentBytes = standing.given &- record.givenBefore
        worker.pointee.takenBefore = record.takenBefore
        worker.pointee.traits = record.traits
        worker.pointee.jobDeadline = record.jobDeadline
        worker.pointee.consumeLater = 0
        worker.pointee.unsent = 0
        worker.pointee.endingOutcome = record.outcome
        worker.pointee.caller = -1
        worker.pointee.outgoing = nil
        escrowed += 1
        let up = restoreRelay(&worker.pointee.up, records.worker(slot) + RecordLayout.upOffset, &claimed)
        let down = restoreRelay(&worker.pointee.down, records.worker(slot) + RecordLayout.downOffset, &claimed)
        let callerSlot = claimant(of: record)
        var lease = heir.lease
        lease.isEnding = callerSlot < 0
        let isDialing = record.state == .dialing
        let tenants = rules.pools.first { $0.id == heir.lease.pool }?.tenants
        var job = AdoptedJob(
            request: JobRequest(
                pool: heir.lease.pool, urgency: callerSlot < 0 ? .standard : records.readCaller(callerSlot)?.urgency ?? .standard,
                tenant: tenants?.name(of: heir.lease.tenant) ?? ""), arrived: record.arrived,
            lease: AdoptedJob.Lease(lease, granted: record.granted, dialed: isDialing ? nil : record.dialed))
        let added = loop.add(
            heir.raw, LH_EPOLLIN | LH_EPOLLOUT | LH_EPOLLRDHUP | LH_EPOLLET, kind: workerKind,
            payload: payload(slot, worker.pointee.generation))
        worker.pointee.state = .ending
        counters.adoptedSessions += 1
        if records.listenerMap != nil { record.write(to: records.worker(slot)) }
        let kind = WorkerDeadline(rawValue: record.deadlineKind) ?? .none
        if kind != .none { setDeadline(worker: slot, kind, until: record.deadline) }
        guard callerSlot >= 0 else {
            nameless.append((slot, job))
            return adoptAlone(slot, record, down)
        }
        let caller = callers[callerSlot]
        // What the request said of itself: the answer is made for it, and later records repeat it.
        caller.pointee.traits = record.traits
        if rules.listeners[Int(record.listener)].isHTTP, isDialing || caller.pointee.socket.taken == up.sourceAt, let again = requestAgain(callerSlot) {
            // Whose it is, the records say: of a caller that has hung up nobody knows any more where it came from, and so whether to believe it.
            job.request = JobRequest(
                pool: again.pool, budget: again.budget, urgency: job.request.urgency, tenant: job.request.tenant, affinity: again.affinity, bytes: again.bytes)
        }
        var id = caller.pointee.job
        if !machine.adopt(id, job, at: now) {
            // Its name is taken, which no record of ours says: the job gets another.
            machine.adoptedAll()
            id = machine.adopt(job, at: now)
        }
        own(id, caller: callerSlot)
        caller.pointee.job = id
        caller.pointee.worker = slot
        worker.pointee.job = id
        worker.pointee.caller = callerSlot
        worker.pointee.state = isDialing ? .dialing : .session
        guard added >= 0 else { return cutAdopted(slot) }
        if isDialing {
            worker.pointee.socket.readable = false
            worker.pointee.socket.writable = false
            // Killed before it was written down.
            if worker.pointee.deadline == .none { setDeadline(worker: slot, .dial, rules.pools[Int(worker.pointee.pool)].dialTimeout) }
            // What it asks for is in its socket still. One that has left is told of by its event.
            if rules.listeners[Int(record.listener)].isHTTP { _ = readAgain(callerSlot) }
            return
        }
        caller.pointee.state = .session
        clearDeadline(caller: callerSlot)
        if rules.listeners[Int(record.listener)].isHTTP {
            adoptExchange(slot, up, down)
        } else {
            adoptTunnel(slot, up, down)
        }
    }

    /// What a job asks for whose head is still in its caller's socket: it may go back in line, with its tenant, its urgency and its body.
    private func requestAgain(_ slot: Int32) -> JobRequest? {
        let caller = callers[slot]
        let request = readAgain(slot)
        // How much of it has reached the worker is still to be found out.
        caller.pointee.headLength = 0
        caller.pointee.socket.readable = true
        return request
    }

    /// Nobody goes on with this lease: it is asserted once more, and released.
    private func abandon(_ heir: Inheritance.Worker, _ outcome: Outcome) {
        if outcome == .cut { counters.adoptionLosses += 1 }
        _ = lh_disconnect(heir.raw)
        _ = lh_close(heir.raw)
        machine.adoptEnded(heir.lease, outcome, at: now)
    }

    private func restoreRelay(_ relay: inout Relay, _ base: UnsafeMutablePointer<UInt64>, _ claimed: inout Set<UInt32>) -> RelayRecord {
        let (record, sequence) = Records.readRelay(base)
        relay = Relay()
        relay.base = base
        relay.sequence = sequence
        relay.record = record ?? RelayRecord()
        let word = lh_load_first(base)
        if word > 0, word <= UInt64(Bounds.pipes), let pipe = pipes[UInt32(word - 1)], claimed.insert(pipe.index).inserted {
            relay.pipe = pipe
            relay.inPipe = Int32(clamping: lh_unread(pipe.read))
            if relay.inPipe == 0 { release(&relay) }
        }
        return relay.record
    }

    /// The caller whose present job this worker serves; −1 when it is gone or has gone on.
    private func claimant(of record: WorkerRecord) -> Int32 {
        let slot = record.callerSlot
        guard record.state == .dialing || record.state == .session, slot >= 0, callers.contains(slot) else { return -1 }
        let caller = callers[slot]
        guard caller.pointee.state == .parked, caller.pointee.worker < 0, caller.pointee.generation == record.callerGeneration,
            caller.pointee.serial == record.callerSerial
        else { return -1 }
        return slot
    }

    /// A worker whose caller is gone, or has all it wanted.
    private func adoptAlone(_ slot: Int32, _ record: WorkerRecord, _ down: RelayRecord) {
        let worker = workers[slot]
        release(&worker.pointee.up)
        release(&worker.pointee.down)
        worker.pointee.exchange = .tunnel
        if rules.listeners[Int(record.listener)].isHTTP {
            // There is no sink: the source's own position says where the response stands.
            let taken = worker.pointee.socket.taken
            let isHeadTaken = down.follows != .unknown && down.follows != .head && taken >= down.sourceAt &+ UInt64(down.sourceLength)
            worker.pointee.exchange = isHeadTaken ? .responseBody : .responseHead
            if isHeadTaken { follow(&worker.pointee.down, down, from: taken) }
        }
        if record.state == .grace {
            worker.pointee.state = .grace
            worker.pointee.endingOutcome = .served
            if worker.pointee.deadline != .grace {
                setDeadline(worker: slot, .grace, rules.pools[Int(worker.pointee.pool)].configuration.closeGrace)
            }
            return
        }
        worker.pointee.state = .ending
        // A session whose caller went on has been served, as far as anybody can know.
        if record.state != .ending { worker.pointee.endingOutcome = .abandoned }
        endSending(&worker.pointee.socket, worker.pointee.descriptor.raw)
        if worker.pointee.deadline != .abandon && worker.pointee.deadline != .grace {
            setDeadline(worker: slot, .abandon, rules.pools[Int(worker.pointee.pool)].configuration.abandon)
        }
    }

    /// The relay's mode behind its record's edit, with the source at `position`.
    private func follow(_ relay: inout Relay, _ record: RelayRecord, from position: UInt64) {
        relay.scanner = record.scanner
        relay.left = record.end == .max || record.end < position ? 0 : record.end - position
        switch record.follows {
        case .unknown, .head, .nothing: relay.mode = .done
        case .open: relay.mode = .open
        case .counted: relay.mode = relay.left == 0 && relay.inPipe == 0 ? .done : .counted
        case .chunked: relay.mode = .chunked
        }
    }

    /// This session cannot go on: both ends are cut, never ended.
    func cutAdopted(_ slot: Int32) {
        counters.adoptionLosses += 1
        let worker = workers[slot]
        let (id, callerSlot) = (worker.pointee.job, worker.pointee.caller)
        if callerSlot >= 0 {
            jobEnded(id, .cut, outcome: .cut, worker: slot)
            resetCaller(callerSlot)
        }
        resetWorker(slot, .cut)
        machine.adoptCut(id, at: now)
    }

    // MARK: One direction

    /// Where a direction goes on; nil when the session is lost.
    private enum Course {
        case before
        case on
        case sinkGone
    }

    /// Takes the direction to where the sink is: what the sink has, leaves the source.
    private func settle(
        _ relay: inout Relay, from source: inout SocketFlags, _ sourceRaw: Int32, isDialed: Bool, to sink: Int32
    ) -> Course? {
        guard let from = try? StreamPosition(of: sourceRaw), let to = try? StreamPosition(of: sink) else { return nil }
        let record = relay.record
        switch record.settle(
            source: Standing(from, isDialed: isDialed), sink: Standing(to, isDialed: !isDialed), inPipe: UInt64(max(0, relay.inPipe)))
        {
        case .before: return .before
        case .sinkGone: return .sinkGone
        case .torn:
            counters.tornHeads += 1
            return nil
        case .contradiction: return nil
        case .at(let position, let discard, let life):
            if discard > 0 {
                // What the predecessor had sent from a peek and not yet taken off.
                let count = lh_recv(sourceRaw, nil, Int(clamping: discard), Int32(MSG_TRUNC))
                guard count == Int(clamping: discard) else { return nil }
            }
            source.taken = position
            // What this direction has still in its pipe was taken, and is not yet passed on.
            relay.moved = position &- record.sourceAt &- UInt64(record.sourceLength) &- UInt64(max(0, relay.inPipe))
            switch life {
            case .open: break
            case .ended: source.finned = true
            case .cut: source.broken = true
            }
            follow(&relay, record, from: position)
            return .on
        }
    }

    // MARK: Tunnels

    private func adoptTunnel(_ slot: Int32, _ up: RelayRecord, _ down: RelayRecord) {
        let worker = workers[slot]
        let caller = callers[worker.pointee.caller]
        worker.pointee.exchange = .requestHead
        guard up.follows != .unknown else { return beginAdopted(slot) }
        let upCourse = settle(
            &worker.pointee.up, from: &caller.pointee.socket, caller.pointee.descriptor.raw, isDialed: false, to: worker.pointee.descriptor.raw)
        guard upCourse != .before else { return beginAdopted(slot) }
        let downCourse = settle(
            &worker.pointee.down, from: &worker.pointee.socket, worker.pointee.descriptor.raw, isDialed: true, to: caller.pointee.descriptor.raw)
        guard let upCourse, let downCourse else { return cutAdopted(slot) }
        worker.pointee.exchange = .tunnel
        joinTunnel(slot, upCourse, downCourse)
    }

    private func joinTunnel(_ slot: Int32, _ up: Course, _ down: Course) {
        let worker = workers[slot]
        if up == .sinkGone {
            release(&worker.pointee.up)
            worker.pointee.up.mode = .done
        }
        if down == .sinkGone {
            release(&worker.pointee.down)
            worker.pointee.down.mode = .done
        }
        // A reset that the predecessor had read is told by the position alone: with both sinks gone nobody is left to tell.
        if worker.pointee.deadline == .none { armTunnel(slot) }
    }

    /// Nothing has been sent: the session begins, when everything is adopted.
    private func beginAdopted(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let listener = rules.listeners[Int(worker.pointee.listener)]
        if listener.isHTTP, readAgain(callerSlot) == nil {
            guard (try? StreamPosition(of: callers[callerSlot].pointee.descriptor.raw))?.state == .close else { return cutAdopted(slot) }
            // It left meanwhile, and nothing has reached the worker.
            callers[callerSlot].pointee.socket.broken = true
            return
        }
        // A PROXY header of ours may be there: none of it is the job's.
        worker.pointee.isProxied = worker.pointee.socket.given >= worker.pointee.ackedBefore
        worker.pointee.ackedBefore = worker.pointee.socket.given &+ 1
        worker.pointee.sentBytes = 0
        beginnings.append((slot, worker.pointee.generation))
    }

    // MARK: Exchanges

    private func adoptExchange(_ slot: Int32, _ up: RelayRecord, _ down: RelayRecord) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        worker.pointee.exchange = .requestHead
        guard up.follows != .unknown else { return beginAdopted(slot) }
        let isHeadThere = caller.pointee.socket.taken == up.sourceAt
        let upCourse: Course?
        if isHeadThere, up.follows != .head, headIsAlone(slot, up) {
            // No byte of a body has moved: the head stays where it is, for a job that goes back in line.
            caller.pointee.headLength = up.sourceLength
            follow(&worker.pointee.up, up, from: up.sourceAt &+ UInt64(up.sourceLength))
            upCourse = .on
        } else {
            upCourse = settle(
                &worker.pointee.up, from: &caller.pointee.socket, caller.pointee.descriptor.raw, isDialed: false,
                to: worker.pointee.descriptor.raw)
        }
        guard let upCourse else { return cutAdopted(slot) }
        // A header of our own is there, or nothing is: the request's head is still to be sent.
        if upCourse == .before || up.follows == .head { return beginAdopted(slot) }
        if upCourse == .sinkGone {
            release(&worker.pointee.up)
            worker.pointee.up.isShut = up.follows != .nothing
            worker.pointee.up.mode = .done
            takeHead(callerSlot)
        }
        worker.pointee.exchange = .responseHead
        defer { if worker.pointee.state == .session, worker.pointee.deadline == .none { armExchange(slot) } }
        guard down.follows != .unknown else { return }
        guard
            let downCourse = settle(
                &worker.pointee.down, from: &worker.pointee.socket, worker.pointee.descriptor.raw, isDialed: true,
                to: caller.pointee.descriptor.raw)
        else { return cutAdopted(slot) }
        switch downCourse {
        case .before: return
        case .sinkGone where down.traits.contains(.isSwitch): break  // ended both ways, perhaps with bytes of the caller's still to be passed on
        case .sinkGone:
            // The caller has gone: what it would have got is found out when the session is looked at.
            caller.pointee.socket.broken = true
            return
        case .on: break
        }
        guard down.follows != .head else { return }
        takeHead(callerSlot)
        guard !down.traits.contains(.isSwitch) else {
            worker.pointee.exchange = .tunnel
            if upCourse == .on { worker.pointee.up.mode = .open }
            worker.pointee.down.mode = .open
            return joinTunnel(slot, upCourse, downCourse)
        }
        worker.pointee.exchange = .responseBody
        worker.pointee.keepsAlive = down.traits.contains(.keepsWorker)
        worker.pointee.keepsCaller = down.traits.contains(.keepsCaller)
        worker.pointee.chunks = down.chunks
    }

    /// Whether the worker has exactly the request's head, and a body has not begun.
    private func headIsAlone(_ slot: Int32, _ up: RelayRecord) -> Bool {
        let worker = workers[slot]
        return worker.pointee.up.inPipe == 0 && worker.pointee.socket.given == up.sinkAt &+ UInt64(up.sinkLength)
    }
}
