import DispatcherCore
import Model
import Wire

// Escrow on the dispatcher's side, and what a new process in the seat makes of what it inherits.

/// What has been handed over so far.
struct Inheritance {
    var callers: [Caller] = []
    var workers: [(connection: Connection, lease: AssertedLease)] = []
}

extension DispatcherProcess {
    func escrow(_ caller: Caller) {
        tell(.escrow(.caller(caller.escrowName)))
        unsent.append { [self] in caller.escrowedAt = world.keeper.incarnation }
    }

    func escrow(_ connection: Connection) {
        guard !connection.isProbe, let lease = machine[connection.job]?.lease else { return }
        let caller = connection.origin?.escrowName ?? .none
        tell(.escrow(.worker(EscrowedWorker(lease: lease, caller: caller, worker: connection.escrowName))))
        unsent.append { [self] in connection.escrowedAt = world.keeper.incarnation }
    }

    /// sendmsg has returned: what was said is in the pool-keeper's socket.
    func noteSent() {
        if isOpen { for note in unsent { note() } }
        unsent = []
    }

    /// What somebody else still holds at our death, and what not.
    func leave() {
        var left = world.limbo.removeValue(forKey: instance) ?? Limbo()
        let isHeld = world.keeper.life != .dead
        left.since = min(left.since, now)
        for caller in callers {
            caller.record = caller.job.flatMap { machine[$0] }
            if isHeld, caller.escrowedAt == world.keeper.incarnation {
                caller.isInLimbo = true
                left.callers.append(caller)
            } else {
                caller.end(world)
            }
        }
        for connection in connections {
            connection.record = machine[connection.job]
            let isWanted = connection.state == .ending || connection.state == .grace || connection.caller?.isInLimbo ?? false
            if isHeld, isWanted, connection.state != .dialing, connection.escrowedAt == world.keeper.incarnation {
                connection.isInLimbo = true
                left.connections.append(connection)
            } else {
                connection.caller?.connection = nil
                connection.orphan(world)
            }
        }
        world.limbo[instance] = left
        (callers, connections, unsent, isOpen, isAccepting, inherited) = ([], [], [], false, false, Inheritance())
    }

    func handed(_ adoption: Adoption) {
        switch adoption {
        case .records, .pipes: break
        case .caller(let name): inherited.callers.append(world.callers[Int(name.slot)])
        case .worker(let names, let lease):
            guard let connection = world.wires[Int(names.worker.slot)] else { return world.fail("\(names) is no connection") }
            inherited.workers.append((connection, lease))
        case .end: adoptionEnded()
        }
    }

    private func adoptionEnded() {
        let all = inherited
        inherited = Inheritance()
        var news: [Connection] = []
        for caller in all.callers where caller.isInLimbo && caller.answer == nil { own(caller) }
        for (connection, lease) in all.workers where !connections.contains(where: { $0 === connection }) {
            if own(connection, lease) { news.append(connection) }
        }
        for caller in callers where caller.isInLimbo { park(caller) }
        machine.adoptedAll()
        if world.checksMachines { machine.checkInvariants() }
        if let left = world.limbo.removeValue(forKey: instance) {
            // What the pool-keeper did not have was ended when it heard of the death.
            if let caller = left.callers.first(where: \.isInLimbo) { world.fail("\(caller.name) was in escrow, and was not handed over") }
            left.end(world)
        }
        isOpen = true
        guard act() else { return }
        for caller in callers { escrow(caller) }
        isTellingAgain = true
        feed(.keeperUp)
        isTellingAgain = false
        for caller in callers where caller.hasHungUp && !caller.isKnownGone { sawHangUp(caller) }
        for connection in news { goOn(connection) }
        isAccepting = true
        acceptCallers()
    }

    private func own(_ caller: Caller) {
        callers.append(caller)
        caller.dispatcher = self
        world.trace.note(name) { "adopts \(caller.name)" }
    }

    /// The session goes on, if all that it needs is here.
    private func own(_ connection: Connection, _ lease: AssertedLease) -> Bool {
        let caller = connection.caller
        let isWhole = connection.state == .grace || connection.state == .ending || callers.contains { $0 === caller }
        guard connection.isInLimbo, connection.state != .closed, isWhole, let record = connection.record else {
            world.trace.note(name) { "\(connection.name) is over: lease \(lease.lease) ends" }
            connection.orphan(world)
            if let caller, caller.connection === connection { caller.connection = nil }
            machine.adoptEnded(lease, .cut, at: now)
            return false
        }
        var lease = lease
        lease.isEnding = record.phase == .ending
        let job = AdoptedJob(
            request: record.request, arrived: record.arrived, isRequeued: record.isRequeued,
            lease: AdoptedJob.Lease(lease, granted: record.granted, dialed: record.dialed == .zero ? now : record.dialed))
        guard machine.adopt(connection.job, job, at: now) else {
            world.fail("the name of \(connection.name)'s job is taken")
            return false
        }
        world.trace.note(name) { "adopts \(connection.name), \(connection.state)" }
        world.adoptions.sessions += 1
        connections.append(connection)
        connection.isInLimbo = false
        connection.incarnation = incarnation
        caller?.isInLimbo = false
        own(connection.job, connection.state == .session ? caller : nil)
        return true
    }

    /// A caller without a worker waits, in its old place.
    private func park(_ caller: Caller) {
        caller.isInLimbo = false
        caller.connection = nil
        guard let id = caller.job else { return world.fail("\(caller.name) has no job") }
        let policy = world.scenario.policies[caller.plan.pool]
        let request = caller.record?.request ?? caller.plan.request(in: policy.id)
        // With a worker that nobody has, it is told as one that had its turn; one that was dialled has given nobody a byte.
        let isRequeued = caller.record.map { $0.isRequeued || ($0.phase != .waiting && $0.phase != .dialing) } ?? false
        guard machine.adopt(id, AdoptedJob(request: request, arrived: caller.arrived, isRequeued: isRequeued), at: now) else {
            return world.fail("the name of \(caller.name)'s job is taken")
        }
        own(id, caller)
        setHoldDeadline(caller)
        world.adoptions.parked += 1
    }

    /// What came while nobody read, and the deadlines anew.
    private func goOn(_ connection: Connection) {
        switch connection.state {
        case .dialing, .closed: return
        case .session: if connection.hasSent, world.mutation != .beginsAdoptedJobsAgain { watchFirstByte(connection) } else { begin(connection) }
        case .grace: after(.milliseconds(100), isTimer: true) { [self] in workerClosed(connection) }
        case .ending: watchEnding(connection)
        }
        let waiting = connection.inbox
        connection.inbox = []
        for action in waiting where act() { action() }
    }
}
