import CLinux
import DispatcherCore
import Linux
import Model

/// What is written down of a connection, each time before the step that makes it true.
extension DispatchLoop {
    func note(newCaller slot: Int32) {
        let caller = callers[slot]
        var record = CallerRecord()
        record.state = caller.pointee.state == .proxyHeader ? .proxyHeader : .idle
        record.listener = caller.pointee.listener
        record.generation = caller.pointee.generation
        records.use(caller: slot)
        record.write(to: records.caller(slot))
    }

    /// The state, where nothing else changes with it.
    func note(caller slot: Int32, _ state: CallerRecord.State) {
        let caller = callers[slot]
        if state == .idle || state == .closing { caller.pointee.serial &+= 1 }
        commit(slot, state)
    }

    /// The first word: state, deadline's meaning, listener and serial.
    private func commit(_ slot: Int32, _ state: CallerRecord.State, isRequeued: Bool = false) {
        let caller = callers[slot]
        let at = records.caller(slot)
        lh_store_last(
            at,
            UInt64(state.rawValue) | (isRequeued ? 1 << 8 : 0) | UInt64(caller.pointee.deadline.rawValue) << 9
                | UInt64(caller.pointee.listener) << 16 | UInt64(caller.pointee.serial) << 32)
    }

    /// A job that has just been given its name.
    func note(parked slot: Int32, _ request: JobRequest) {
        let caller = callers[slot]
        caller.pointee.serial &+= 1
        let at = records.caller(slot)
        at[1] = UInt64(caller.pointee.generation) | UInt64(caller.pointee.job.generation) << 32
        at[3] = UInt64(bitPattern: now.nanoseconds)
        at[4] = UInt64(rules.pools[Int(caller.pointee.pool)].id.rawValue) | UInt64(caller.pointee.job.slot) << 32
        at[CallerRecord.tenantWord] = TenantID(name: request.tenant).rawValue
        at[CallerRecord.urgencyWord] = UInt64(request.urgency.rawValue)
        at[CallerRecord.markWord] = 0
        commit(slot, .parked)
    }

    /// Before the first byte of its job goes to a worker.
    @inline(__always)
    func note(begun slot: Int32) {
        let at = records.caller(slot)
        lh_store_last(at, at[0] & ~0xff | UInt64(CallerRecord.State.begun.rawValue))
    }

    /// A job that had to get another name.
    func note(renamed slot: Int32) {
        let caller = callers[slot]
        let at = records.caller(slot)
        at[1] = UInt64(caller.pointee.generation) | UInt64(caller.pointee.job.generation) << 32
        at[4] = UInt64(rules.pools[Int(caller.pointee.pool)].id.rawValue) | UInt64(caller.pointee.job.slot) << 32
    }

    /// Back in line: the claim of the worker that had it is void.
    func note(parkedAgain slot: Int32) {
        callers[slot].pointee.serial &+= 1
        commit(slot, .parked, isRequeued: true)
    }

    /// The end of its job is told and counted.
    @inline(__always)
    func note(ended slot: Int32) {
        lh_store_last(records.caller(slot) + CallerRecord.markWord, CallerRecord.endMark(serial: callers[slot].pointee.serial))
    }

    /// Whether a predecessor has told and counted it, in its last moment.
    @inline(__always)
    func isEndNoted(_ slot: Int32) -> Bool {
        records.holds(caller: slot) && records.caller(slot)[CallerRecord.markWord] == CallerRecord.endMark(serial: callers[slot].pointee.serial)
    }

    func note(answering slot: Int32, _ answer: Answer, length: Int) {
        let caller = callers[slot]
        caller.pointee.serial &+= 1
        var record = AnswerRecord()
        record.at = caller.pointee.socket.given
        record.length = UInt32(clamping: length)
        record.headLength = caller.pointee.headLength
        record.taken = caller.pointee.socket.taken
        record.traits = answer.traits
        record.retryAfter = UInt16(clamping: answer.retryAfter ?? 0)
        record.keepsCaller = answer.keepsCaller
        switch answer.content {
        case .problem(let reason): record.content = reason.rawValue
        case .health(let isReady): record.content = isReady ? AnswerRecord.healthy : AnswerRecord.unhealthy
        case .options: record.content = AnswerRecord.options
        }
        let at = records.caller(slot)
        let words = record.words
        for i in 0..<3 { at[5 + i] = words[i] }
        commit(slot, .answering)
    }

    @inline(__always)
    func note(caller slot: Int32, deadline kind: CallerDeadline, _ when: Instant) {
        let at = records.caller(slot)
        at[2] = UInt64(bitPattern: when.nanoseconds)
        lh_store_last(at, at[0] & ~(0x7f << 9) | UInt64(kind.rawValue) << 9)
    }

    // MARK: Workers

    /// All of it, as it stands.
    func note(worker slot: Int32, _ state: WorkerRecord.State, over outcome: Outcome = .unused) {
        let worker = workers[slot]
        var record = WorkerRecord()
        record.state = state
        record.outcome = state == .ending ? worker.pointee.endingOutcome : outcome
        record.traits = worker.pointee.traits
        record.isReused = worker.pointee.isReused
        if worker.pointee.caller >= 0 {
            let caller = callers[worker.pointee.caller]
            record.callerSlot = worker.pointee.caller
            record.callerGeneration = caller.pointee.generation
            record.callerSerial = caller.pointee.serial
            record.traits = caller.pointee.traits
        }
        record.generation = worker.pointee.generation
        record.listener = worker.pointee.listener
        if let job = machine[worker.pointee.job] {
            record.lease = job.lease
            record.arrived = job.arrived
            record.granted = job.granted
            record.dialed = job.dialed
        }
        record.deadlineKind = worker.pointee.deadline.rawValue
        record.deadline = wheel.deadline(of: Int(slot) * 2 + 1)
        record.jobDeadline = worker.pointee.jobDeadline
        record.givenBefore = worker.pointee.ackedBefore &- 1
        record.takenBefore = worker.pointee.takenBefore
        record.write(to: records.worker(slot))
    }

    /// The end of its job: only what changes, since the job may be gone by now.
    func note(worker slot: Int32, over outcome: Outcome) {
        let at = records.worker(slot)
        lh_store_last(at, at[0] & ~0xffff | UInt64(WorkerRecord.State.over.rawValue) | UInt64(outcome.rawValue) << 8)
    }

    @inline(__always)
    func note(worker slot: Int32, deadline kind: WorkerDeadline, _ when: Instant) {
        let at = records.worker(slot)
        at[8] = UInt64(bitPattern: when.nanoseconds)
        at[2] = at[2] & ~(0xff << 48) | UInt64(kind.rawValue) << 48
    }
}
