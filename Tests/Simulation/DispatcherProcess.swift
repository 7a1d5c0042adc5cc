import DispatcherCore
import Model
import Wire

/// A dispatcher: its machine, and around it what the real shell does with callers, workers and deadlines. The rest of it is in
/// the extension about connections to workers.
final class DispatcherProcess: Process {
    private(set) var instance: UInt64 = 0
    var machine = JobMachine(policies: [])
    private var keeper: Uplink!
    /// The pool-keeper has handed over and wants to hear from us.
    var isOpen = false
    var isAccepting = false
    var inherited = Inheritance()
    /// What is in escrow as soon as the turn's packets are sent.
    var unsent: [() -> Void] = []
    /// Who waits for each job's answer, by job slot.
    private var owners: [Caller?] = []
    var callers: [Caller] = []
    var connections: [Connection] = []
    /// In the listening socket, which outlives the process.
    private var listening: [Caller] = []
    private var actions: [JobMachine.Action] = []
    private var isPerforming = false
    var isTellingAgain = false

    override func boot() {
        instance = UInt64(world.pick(1...1 << 60))
        machine = JobMachine(policies: world.scenario.policies)
        owners = []
        keeper = Uplink(self, to: world.keeper, .leasing, seat: name, instance: instance)
        keeper.connect()
        if world.mutation == .acceptsBeforeAdopting {
            isAccepting = true
            acceptCallers()
        }
    }

    override func died() {
        actions = []
        isPerforming = false
        leave()
        machine = JobMachine(policies: [])
        world.processDied(instance)
    }

    // MARK: The machine

    func feed(_ input: JobMachine.Input) {
        guard life == .running else { return }
        machine.handle(input, at: now, into: &actions)
        if world.checksMachines { machine.checkInvariants() }
        guard !isPerforming else { return }
        isPerforming = true
        var i = 0
        while i < actions.count {
            guard act() else { return }
            perform(actions[i])
            i += 1
        }
        actions.removeAll(keepingCapacity: true)
        isPerforming = false
    }

    private func perform(_ action: JobMachine.Action) {
        if world.mutation?.swallows(action, tellingAgain: isTellingAgain) == true { return }
        switch action {
        case .sendTicket(let id):
            var ticket = machine.ticket(of: id, at: now)
            if let caller = owner(of: id) { ticket.connection = caller.escrowName }
            if let caller = owner(of: id), ticket.age != now - caller.arrived { world.fail("\(caller.name) lost its age: \(ticket)") }
            tell(.ticket(ticket))
        case .sendCancel(let ticket): tell(.cancel(ticket))
        case .sendUnused(let lease): tell(.unused(lease))
        case .sendDialFailed(let lease, let failure): tell(.dialFailed(lease, failure))
        case .sendEnding(let lease): tell(.ending(lease))
        case .sendRelease(let lease, let outcome): tell(.release(lease, outcome))
        case .sendAssert(let id):
            tell(.assertLease(machine.assertion(of: id, at: now)))
            for connection in connections where connection.job == id && connection.state != .dialing { escrow(connection) }
        case .sendAssertEnded(let lease): tell(.assertLease(lease))
        case .sendAsserted: tell(.asserted)
        case .dial(let id, let by): dial(id, by: by)
        case .abandonDial(let id): abandonDial(id)
        case .refuse(let id, let reason, _): refuse(id, reason)
        case .cut(let id): cut(id)
        case .probe(let probe): startProbe(probe)
        }
    }

    func tell(_ request: LeasingRequest) { if isOpen { keeper.link?.send(request) } }

    /// The link to the pool-keeper while it is up.
    var link: LinkEnd? { keeper.link }

    // MARK: The link

    override func linkUp(_ end: LinkEnd) {
        keeper.cameUp()
        world.trace.note(name) { "· the pool-keeper is there" }
        inherited = Inheritance()
    }

    override func afterFlush() { noteSent() }

    override func received(_ bytes: [UInt8], on end: LinkEnd) {
        end.decode(bytes, LeasingReply.self) { reply in
            guard end.isOpen, life == .running else { return }
            world.trace.note(name) { "← \(reply.brief)" }
            if case .adopt(let adoption) = reply { handed(adoption) } else { feed(.reply(reply)) }
        }
    }

    override func linkEnded(_ end: LinkEnd, wasUp: Bool) {
        if wasUp {
            world.trace.note(name) { "· the pool-keeper is away" }
            isOpen = false
            feed(.keeperDown)
        }
        keeper.later()
    }

    // MARK: Callers

    /// A caller connects: it waits in the listening socket until a process takes it out.
    func connected(_ caller: Caller) {
        listening.append(caller)
        enter(incarnation) { [self] in acceptCallers() }
    }

    func acceptCallers() {
        while isAccepting, !listening.isEmpty, act() { adopt(listening.removeFirst()) }
    }

    private func adopt(_ caller: Caller) {
        if caller.hasHungUp { return caller.finish(.gone, world) }
        callers.append(caller)
        caller.dispatcher = self
        caller.arrived = now
        let id = reserve(for: caller)
        caller.job = id
        escrow(caller)
        world.trace.note(name) { "\(caller.name) wants \(world.scenario.policies[caller.plan.pool].name), job \(id.ticket.rawValue)" }
        setHoldDeadline(caller, caller.plan.request(in: world.scenario.policies[caller.plan.pool].id))
        feed(.arrived(id, caller.plan.request(in: world.scenario.policies[caller.plan.pool].id)))
    }

    func owner(of id: JobID) -> Caller? {
        guard Int(id.slot) < owners.count, let caller = owners[Int(id.slot)], caller.job == id else { return nil }
        return caller
    }

    func reserve(for caller: Caller?) -> JobID {
        let id = machine.reserve()
        own(id, caller)
        return id
    }

    func own(_ id: JobID, _ caller: Caller?) {
        while owners.count <= Int(id.slot) { owners.append(nil) }
        owners[Int(id.slot)] = caller
    }

    /// The budget and five seconds: by then the pool-keeper has spoken, or it is away.
    func setHoldDeadline(_ caller: Caller, _ request: JobRequest? = nil) {
        guard let id = caller.job else { return }
        let budget = request.map { $0.budget ?? world.scenario.policies[caller.plan.pool].holdTimeout } ?? machine.budget(of: id)
        armHold(caller, id, at: caller.arrived + budget + (machine.isKeeperUp ? .seconds(5) : .zero))
    }

    private func armHold(_ caller: Caller, _ id: JobID, at end: Instant) {
        after(max(.milliseconds(1), end - now), isTimer: true) { [self] in
            guard caller.job == id, caller.connection == nil, machine[id]?.phase == .waiting else { return }
            feed(.holdExpired(id))
            if caller.job == id { armHold(caller, id, at: now + .seconds(1)) }
        }
    }

    /// The shell sees the caller's FIN.
    func sawHangUp(_ caller: Caller) {
        guard caller.dispatcher === self, let id = caller.job else { return }
        caller.isKnownGone = true
        if world.mutation == .keepsDeadCallers { return }
        if let connection = caller.connection, connection.state == .session {
            free(caller)
            caller.finish(.gone, world)
            orphan(connection)
        } else {
            free(caller)
            caller.finish(.gone, world)
            feed(.callerLeft(id, reachedWorker: false))
            own(id, nil)
        }
    }

    /// The caller's connection is over for us.
    func free(_ caller: Caller) {
        callers.removeAll { $0 === caller }
        tell(.escrow(.callerGone(caller.escrowName)))
    }

    func answer(_ caller: Caller, _ answer: Caller.Answer) {
        guard act() else { return }
        hand(caller, answer)
    }

    func hand(_ caller: Caller, _ answer: Caller.Answer) {
        free(caller)
        caller.connection = nil
        caller.finish(answer, world)
    }

    private func refuse(_ id: JobID, _ reason: Reason) {
        guard let caller = owner(of: id) else { return world.fail("\(name) refused a job that nobody waits for") }
        own(id, nil)
        answer(caller, .refused(reason))
    }

    private func cut(_ id: JobID) {
        world.fail("\(name) was told that the lease of its job \(id.ticket.rawValue) is not its own")
        if let connection = connections.first(where: { $0.job == id }) { drop(connection) }
        if let caller = owner(of: id) { answer(caller, .cut) }
    }
}
