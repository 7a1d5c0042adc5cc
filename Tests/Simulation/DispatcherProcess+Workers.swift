import DispatcherCore
import Model
import Wire

// Connections to workers, from the dial to the end of the lease.

extension DispatcherProcess {
    func dial(_ id: JobID, by: Instant) {
        guard let job = machine[id] else { return }
        guard now <= by else { return feed(.turnedAway(id, .unused)) }
        guard let caller = owner(of: id) else { return world.fail("\(name) dials for a job that nobody waits for") }
        if world.chance(0.01) {
            // A fault of our own: the lease is held for a moment instead of spinning through the queue.
            world.trace.note(name) { "has no descriptors for \(caller.name)" }
            return after(.milliseconds(50), isTimer: true) { [self] in
                if owner(of: id) === caller, caller.connection == nil { feed(.dialFailed(id, .ours)) }
            }
        }
        let connection = Connection(self, id, lease: job.lease.description, caller: caller)
        connections.append(connection)
        caller.connection = connection
        world.trace.note(name) { "dials \(job.address) for \(caller.name), \(connection.name)" }
        world.cluster.connect(connection, to: job.address)
        after(world.scenario.dialTimeout, isTimer: true) { [self] in dialFailed(connection, .timedOut) }
    }

    func dialFailed(_ connection: Connection, _ failure: DialFailure) {
        guard connection.state == .dialing, life == .running else { return }
        world.trace.note(name) { "\(connection.name): dial \(failure.name)" }
        drop(connection)
        if connection.isProbe { return feed(.ended(connection.job, .probeFailed)) }
        guard let caller = connection.caller else { return }
        caller.connection = nil
        if machine[connection.job]?.alternate == nil { setHoldDeadline(caller) }
        feed(.dialFailed(connection.job, failure))
    }

    /// The connection is there: the job's first bytes go out.
    func dialed(_ connection: Connection) {
        guard connection.state == .dialing, connection.pod != nil else { return }
        if let caller = connection.caller, caller.isKnownGone { world.fail("\(caller.name) had hung up, and its job goes to a worker") }
        connection.state = .session
        feed(.dialed(connection.job))
        guard act() else { return }
        if world.mutation == .sendsBeforeEscrow {
            begin(connection)
            return after(.milliseconds(2)) { [self] in if connection.state == .session { escrow(connection) } }
        }
        // In escrow before the first byte goes there.
        escrow(connection)
        link?.flush()
        guard act() else { return }
        noteSent()
        begin(connection)
    }

    func begin(_ connection: Connection) {
        // Whoever dies here hears of its worker no more.
        guard act() else { return }
        guard let pod = connection.pod else { return workerClosed(connection) }
        connection.hasSent = true
        connection.toWorker(world) { pod.begins(connection) }
        watchFirstByte(connection)
    }

    func watchFirstByte(_ connection: Connection) {
        let limit = connection.isProbe ? Duration.milliseconds(500) : world.scenario.firstByte
        after(limit, isTimer: true) { [self] in firstByteIsLate(connection) }
    }

    private func firstByteIsLate(_ connection: Connection) {
        guard connection.state == .session else { return }
        if connection.isProbe {
            drop(connection)
            return feed(.ended(connection.job, .probeFailed))
        }
        guard let caller = connection.caller else { return }
        answer(caller, .workerTimeout)
        orphan(connection, as: .firstByteTimeout)
    }

    /// Lets the worker finish alone.
    func orphan(_ connection: Connection, as outcome: Outcome = .abandoned) {
        guard life == .running else { return }
        connection.caller = nil
        own(connection.job, nil)
        guard connection.hasSent else {
            drop(connection)
            return feed(.callerLeft(connection.job, reachedWorker: false))
        }
        feed(.callerLeft(connection.job, reachedWorker: true))
        connection.state = .ending
        connection.endingOutcome = outcome
        watchEnding(connection)
    }

    func watchEnding(_ connection: Connection) {
        after(world.scenario.abandon, isTimer: true) { [self] in
            guard connection.state == .ending else { return }
            drop(connection)
            feed(.ended(connection.job, world.mutation == .trustsResets ? .abandoned : .endingTimeout))
        }
    }

    // What the worker's side does.

    func workerResponds(_ connection: Connection) {
        guard connection.state == .session else { return }
        if connection.isProbe {
            drop(connection)
            return feed(.ended(connection.job, .probePassed))
        }
        guard let caller = connection.caller else { return }
        if world.mutation == .releasesBeforeTheLastByte {
            drop(connection)
            own(connection.job, nil)
            feed(.ended(connection.job, .served))
            return after(.milliseconds(2)) { [self] in if caller.dispatcher === self { hand(caller, .served) } }
        }
        // One step: whether the last byte has gone to the caller is what the kernel says, not what somebody has noted before it.
        connection.state = .grace
        connection.caller = nil
        own(connection.job, nil)
        hand(caller, .served)
        guard act() else { return }
        after(.milliseconds(100), isTimer: true) { [self] in workerClosed(connection) }
    }

    func workerIsBusy(_ connection: Connection) {
        switch connection.state {
        case .dialing, .closed, .grace: break
        case .ending: workerClosed(connection)
        case .session: giveBack(connection, .busy)
        }
    }

    /// The worker closed, or is gone.
    func workerClosed(_ connection: Connection) {
        switch connection.state {
        case .closed: break
        case .dialing: dialFailed(connection, .reset)
        case .grace:
            drop(connection)
            feed(.ended(connection.job, .served))
        case .ending:
            drop(connection)
            feed(.ended(connection.job, connection.endingOutcome))
        case .session:
            if connection.isProbe {
                drop(connection)
                return feed(.ended(connection.job, .probeFailed))
            }
            guard let caller = connection.caller else { return }
            // Tried again only when the worker's host has acknowledged nothing.
            if !connection.isAcknowledged || world.mutation == .triesAgain { return giveBack(connection, .lostBeforeResponse) }
            drop(connection)
            own(connection.job, nil)
            answer(caller, .workerLost)
            feed(.ended(connection.job, .lostBeforeResponse))
        }
    }

    /// The job goes back in line, whole.
    private func giveBack(_ connection: Connection, _ outcome: Outcome) {
        guard let caller = connection.caller else { return }
        world.trace.note(name) { "\(caller.name) goes back in line: \(outcome.name)" }
        caller.connection = nil
        drop(connection)
        setHoldDeadline(caller)
        feed(.turnedAway(connection.job, outcome))
    }

    func abandonDial(_ id: JobID) {
        for connection in connections where connection.job == id { drop(connection) }
    }

    func drop(_ connection: Connection) {
        connections.removeAll { $0 === connection }
        connection.close(world)
    }

    func startProbe(_ probe: Probe) {
        let id = reserve(for: nil)
        feed(.probing(id, probe))
        let connection = Connection(self, id, lease: probe.lease.description, caller: nil, isProbe: true)
        connections.append(connection)
        world.cluster.connect(connection, to: probe.address)
        after(probe.timeout, isTimer: true) { [self] in dialFailed(connection, .timedOut) }
    }
}
