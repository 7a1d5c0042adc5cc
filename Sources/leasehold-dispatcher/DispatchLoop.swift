import CLinux
import DispatcherCore
import Linux
import Logging
import Model
import ServiceKit
import Synchronization
import Systemd
import Wire

/// One thread of the dispatcher: its epoll loop, its connections, its link to the pool-keeper.
///
/// Confined to its thread. The machine decides, this class moves bytes; its extensions follow a connection's life:
/// accepting, heads, dialling, sessions, answers, deadlines.
final class DispatchLoop {
    let loop: Loop
    let outbox: Outbox
    let logger: Logger
    var machine: JobMachine
    var rules: Rules
    var callers = Slab<Caller> { Caller() }
    var workers = Slab<Worker> { Worker() }
    var pipes = Pipes()
    /// What a successor must know of all this.
    var records: Records { didSet { vitals = LoopVitals(records, pools: rules.pools) } }
    var vitals: LoopVitals { didSet { showVitals() } }
    /// The same for whoever reads from another thread; the words stay as long as the lock is held.
    let board = Mutex(VitalsBoard())
    var wheel: TimerWheel
    var wheelTimer: LoopTimer?
    private var keepAliveTimer: LoopTimer?
    /// Lines of job ends that the journal may still get, and when it is told of those that it did not get.
    var jobLines: LineBudget
    var leftOutTimer: LoopTimer?
    /// For `log-jobs: 1/N`.
    var servedSinceLine = 0
    /// Where job ends are told for the publisher.
    let ends: JobEndQueue
    var keeper: LinkClient?
    let probeRules = HTTPRules()
    var parser = RequestParser(mostBytes: 64 * 1024)
    var responses = ResponseParser(mostBytes: 64 * 1024)
    /// The caller that owns each job, by job slot; −1 once it is gone, and for probes.
    var owners: [Int32] = []
    /// Idle worker connections by endpoint (`worker-connections: reuse`).
    var idle: [EndpointID: Int32] = [:]
    var actions: [JobMachine.Action] = []
    var isPerforming = false
    /// Callers whose sockets still hold what was left unread on purpose; looked at again when the turn ends.
    var again: [Int32] = []
    /// Sessions that may begin once this turn's escrow has gone.
    var beginnings: [(slot: Int32, generation: UInt32)] = []
    /// Slots of workers that ended in this turn; free when the pool-keeper has been told.
    var freed: [Int32] = []
    /// Descriptors of connections that the pool-keeper has duplicates of.
    var escrowed = 0
    /// The journal has been told that escrow is full.
    var saidSkipped = false
    /// The pool-keeper has handed over and knows what we hold.
    var isLinkOpen = false
    /// While everything is told again: the workers whose sockets must be told too.
    var unescrowed: [JobID: Int32] = [:]
    /// Callers are accepted.
    var isStarted = false
    var inheritance: Inheritance?
    /// What came of a hand-over whose link ended in its middle.
    var keptInheritance: Inheritance?
    var inheritanceTimer: LoopTimer?
    var inheritanceWasLate = false
    /// Called once: whatever a predecessor has left was adopted, and the loop may accept.
    var onAdopted: () -> Void = {}
    /// Sessions that gave way to others in the middle of bulk, each once.
    var yielded: [(slot: Int32, generation: UInt32)] = []
    /// How many sessions had yielded when the last turn ended.
    var sharers = 0
    /// What the direction that is being moved may still move in this turn, in bytes.
    var allowance = 0
    var due: [Int] = []
    var counters = DispatchCounters()
    var isDraining = false
    var drainDeadline = Instant.never
    /// A successor takes over as soon as the pool-keeper has everything, at the latest then.
    var handOverDeadline = Instant.never
    var handOverTimer: LoopTimer?
    /// What `onHandedOver` said last.
    var isHandedOver = false
    /// Called with true when a loop that hands over has told everything, with false when that is so no more.
    var onHandedOver: (Bool) -> Void = { _ in }
    /// Called when a draining loop has nothing left.
    var onDrained: () -> Void = {}
    /// By listener index. Owned by the shell.
    var listenerDescriptors: [Int32] = []
    var acceptBudget = 1
    /// Listeners that are left alone for a moment because descriptors ran out.
    var pausedListeners: [UInt16] = []
    var acceptTimer: LoopTimer?
    var callerKind: UInt8 = 0
    var workerKind: UInt8 = 0
    var listenerKind: UInt8 = 0
    /// What peeks go into and what sends come from.
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 192 * 1024, alignment: 64)
    let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 192 * 1024, alignment: 64)
    static let peekBytes = 16 * 1024

    init(loop: Loop, outbox: Outbox, logger: Logger, rules: Rules, threads: Int, ends: JobEndQueue) throws(SystemError) {
        self.ends = ends
        records = try Records(listeners: rules.listenerNames)
        vitals = LoopVitals(records, pools: rules.pools)
        jobLines = LineBudget(sharers: threads)
        self.loop = loop
        self.outbox = outbox
        self.logger = logger
        self.rules = rules
        machine = JobMachine(policies: rules.pools.map(\.configuration.policy), firstGeneration: .random(in: 1 ... .max))
        wheel = TimerWheel(now: Instant(nanoseconds: monotonicNow()))
        // unowned(unsafe): the loop object lives as long as the process; the hot handlers must not count references.
        callerKind = loop.addKind { [unowned(unsafe) self] payload, events in callerReady(payload, events) }
        workerKind = loop.addKind { [unowned(unsafe) self] payload, events in workerReady(payload, events) }
        listenerKind = loop.addKind { [unowned self] payload, _ in accept(UInt16(truncatingIfNeeded: payload)) }
        wheelTimer = loop.timer { [unowned self] now in expire(Instant(nanoseconds: now)) }
        keepAliveTimer = loop.timer { [unowned self] now in
            keepAliveLasting()
            keepAliveTimer?.deadline = now + Self.keepAliveRhythm
        }
        keepAliveTimer?.deadline = monotonicNow() + Self.keepAliveRhythm
        leftOutTimer = loop.timer { [unowned self] _ in tellLeftOut() }
        acceptTimer = loop.timer { [unowned self] _ in resumeAccepting() }
        handOverTimer = loop.timer { _ in }
        inheritanceTimer = loop.timer { [unowned self] _ in inheritanceIsLate() }
        showVitals()
        loop.atTurnEnd { [unowned self] in turnEnded() }
        loop.asLastAct { [unowned self] in
            for slot in freed { workers.give(slot) }
            freed.removeAll(keepingCapacity: true)
            if handOverDeadline != .never { handOverWhenTold() }
        }
    }

    private func showVitals() {
        let new = VitalsBoard(none: vitals.none, pools: vitals.all)
        board.withLock { $0 = new }
    }

    private static let keepAliveRhythm: Int64 = 2_000_000_000

    deinit {
        scratch.deallocate()
        output.deallocate()
    }

    var now: Instant { loop.instant }

    // MARK: The machine

    /// Gives the machine one input and performs what it orders; orders that lead to further inputs are performed in turn.
    func feed(_ input: JobMachine.Input) {
        switch input {
        case .turnedAway(let id, let outcome): countRequeue(id, RequeueReason(outcome))
        case .dialFailed(let id, _): if machine[id]?.alternate == nil { countRequeue(id, .dialFailed) }
        case .ended, .arrived, .callerLeft, .reply, .dialed, .holdExpired, .keeperUp, .keeperDown, .probing, .policiesChanged: break
        }
        machine.handle(input, at: now, into: &actions)
        guard !isPerforming else { return }
        isPerforming = true
        var i = 0
        while i < actions.count {
            perform(actions[i])
            i += 1
        }
        actions.removeAll(keepingCapacity: true)
        isPerforming = false
    }

    private func countRequeue(_ id: JobID, _ reason: RequeueReason) {
        guard let job = machine[id], !job.isProbe, let pool = rules.index(of: job.request.pool) else { return }
        vitals[pool].requeue(reason)
    }

    private func perform(_ action: JobMachine.Action) {
        switch action {
        case .sendTicket(let id):
            var ticket = machine.ticket(of: id, at: now)
            if owners[Int(id.slot)] >= 0 { ticket.connection = name(caller: owners[Int(id.slot)]) }
            tell(.ticket(ticket))
        case .sendCancel(let ticket): tell(.cancel(ticket))
        case .sendUnused(let lease): tell(.unused(lease))
        case .sendDialFailed(let lease, let failure):
            counters.dialFailures[Int(failure.rawValue)] += 1
            tell(.dialFailed(lease, failure))
        case .sendEnding(let lease): tell(.ending(lease))
        case .sendRelease(let lease, let outcome):
            counters.outcomes[Int(outcome.rawValue)] += 1
            tell(.release(lease, outcome))
        case .sendAssert(let id):
            tell(.assertLease(machine.assertion(of: id, at: now)))
            escrowAgain(id)
        case .sendAssertEnded(let lease): tell(.assertLease(lease))
        case .sendAsserted: tell(.asserted)
        case .dial(let id, let by): dial(id, by: by)
        case .abandonDial(let id): abandonDial(id)
        case .refuse(let id, let reason, let facts): refuse(id, reason, facts)
        case .cut(let id): cut(id)
        case .probe(let probe): startProbe(probe)
        }
    }

    @inline(__always)
    func tell(_ request: LeasingRequest) {
        // Without a link nothing is lost: everything is told again when there is one.
        keeper?.link?.append { request.encode(into: &$0) }
    }

    // MARK: The link

    /// Connects to the pool-keeper; `seat` names this loop for ever.
    func connect(to keeper: LinkClient) {
        self.keeper = keeper
        // It speaks first: what it has kept of a predecessor, then `adopt end`.
        keeper.onUp = { _ in }
        keeper.onDown = { [unowned self] reason in
            logger.warning(
                "The pool-keeper is away; sessions go on and callers wait",
                metadata: ["reason": "\(reason)", LogKey.messageID: "\(MessageID.linkDown)"])
            keeperIsGone()
            feed(.keeperDown)
            keepTheTime()
        }
        keeper.onPacket = { [unowned(unsafe) self] (_, packet, descriptors) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd {
                let reply = try LeasingReply.decode(from: &reader)
                if case .adopt(let adoption) = reply { try inherit(adoption, descriptors) } else { feed(.reply(reply)) }
            }
        }
        inheritanceTimer?.deadline = monotonicNow() + Self.nobodyIsThere
        keeper.start()
    }

    // MARK: Turns

    private func turnEnded() {
        var i = 0
        // Bounded: an entry is appended at most once per request of one connection, and the rest waits for the next turn.
        while i < again.count && i < 1024 {
            let slot = again[i]
            i += 1
            let caller = callers[slot]
            if caller.pointee.state == .idle { callerIdle(slot) }
        }
        again.removeFirst(i)
        let resumed = yielded
        yielded.removeAll(keepingCapacity: true)
        sharers = resumed.count
        for entry in resumed where workers[entry.slot].pointee.generation == entry.generation {
            workers[entry.slot].pointee.hasYielded = false
            pump(entry.slot)
        }
        if !beginnings.isEmpty { beginSessions() }
        if !again.isEmpty || !yielded.isEmpty { loop.turnAgain() }
        let next = wheel.nextWake(after: now)
        wheelTimer?.set(next)
        if isDraining { checkDrained() }
    }

    // MARK: Names in events

    @inline(__always)
    func payload(_ slot: Int32, _ generation: UInt32) -> UInt64 { UInt64(generation & 0xff_ffff) << 32 | UInt64(UInt32(slot)) }

    private func callerReady(_ payload: UInt64, _ events: UInt32) {
        let slot = Int32(truncatingIfNeeded: payload & 0xffff_ffff)
        let caller = callers[slot]
        // An event of a connection that ended earlier in this turn.
        guard caller.pointee.generation & 0xff_ffff == UInt32(payload >> 32 & 0xff_ffff), caller.pointee.state != .none else { return }
        caller.pointee.socket.note(events)
        callerAdvanced(slot)
    }

    private func workerReady(_ payload: UInt64, _ events: UInt32) {
        let slot = Int32(truncatingIfNeeded: payload & 0xffff_ffff)
        let worker = workers[slot]
        guard worker.pointee.generation & 0xff_ffff == UInt32(payload >> 32 & 0xff_ffff), worker.pointee.state != .none else { return }
        worker.pointee.socket.note(events)
        workerAdvanced(slot, connected: events & LH_EPOLLOUT != 0)
    }

    func callerAdvanced(_ slot: Int32) {
        let caller = callers[slot]
        switch caller.pointee.state {
        case .none: break
        case .proxyHeader: readProxyHeader(slot)
        case .idle: callerIdle(slot)
        case .parked: callerParked(slot)
        case .session: pump(caller.pointee.worker)
        case .closing: callerClosing(slot)
        }
    }

    private func workerAdvanced(_ slot: Int32, connected: Bool) {
        let worker = workers[slot]
        switch worker.pointee.state {
        case .none: break
        case .dialing: dialAdvanced(slot, connected: connected)
        case .session: pump(slot)
        case .ending: drainEnding(slot)
        case .grace: graceAdvanced(slot)
        case .idle: dropIdle(slot)
        case .probe: probeAdvanced(slot, connected: connected)
        }
    }
}

extension SocketFlags {
    /// Takes in what epoll says. HUP alone is no failure: after both directions were shut it is the normal end.
    mutating func note(_ events: UInt32) {
        if events & LH_EPOLLIN != 0 { readable = true }
        if events & LH_EPOLLOUT != 0 { writable = true }
        if events & (LH_EPOLLRDHUP | LH_EPOLLHUP) != 0 {
            finned = true
            readable = true
        }
        if events & LH_EPOLLERR != 0 { broken = true }
    }
}

/// What a loop counts; summed over the loops in reports.
struct DispatchCounters {
    var accepted: UInt64 = 0
    var jobs: UInt64 = 0
    var answers: UInt64 = 0
    var requeues: UInt64 = 0
    var reusedConnections: UInt64 = 0
    var cuts: UInt64 = 0
    var refusedConnections: UInt64 = 0
    var outcomes = [UInt64](repeating: 0, count: 16)
    var dialFailures = [UInt64](repeating: 0, count: 8)
    var refusals = [UInt64](repeating: 0, count: 32)
    var deadlines: [UInt64] = [UInt64](repeating: 0, count: 16)
    /// Connections that were not put in escrow, because the pool-keeper's budget was used up.
    var escrowSkipped: UInt64 = 0
    var adoptedCallers: UInt64 = 0
    var adoptedSessions: UInt64 = 0
    /// A head of ours was at the other end only in part.
    var tornHeads: UInt64 = 0
    /// What a predecessor left and nobody could go on with.
    var adoptionLosses: UInt64 = 0
}
