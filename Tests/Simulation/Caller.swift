import DispatcherCore
import Model

/// One caller with one request.
final class Caller {
    /// What became of it.
    enum Answer: Equatable {
        case served
        case refused(Reason)
        /// 502: the worker was lost before its response.
        case workerLost
        /// 504: nothing came in time.
        case workerTimeout
        /// Its connection was reset because its lease was taken away.
        case cut
        /// It had hung up.
        case gone
        /// Its dispatcher died.
        case dispatcherDied
        /// Trouble was over before it came.
        case neverCame
    }

    let number: Int
    let plan: Scenario.CallerPlan
    private(set) var answer: Answer?
    private(set) var hasHungUp = false
    /// Its dispatcher knows that it hung up.
    var isKnownGone = false
    /// Set while a dispatcher has it.
    var dispatcher: DispatcherProcess?
    /// When it was accepted.
    var arrived = Instant.zero
    var job: JobID?
    var connection: Connection?
    /// How often a worker has begun its job.
    var starts = 0

    init(number: Int, plan: Scenario.CallerPlan) {
        self.number = number
        self.plan = plan
    }

    var name: String { "caller-\(number)" }

    /// Its one answer.
    func finish(_ answer: Answer, _ world: World) {
        if let earlier = self.answer { return world.fail("\(name) was answered twice: \(earlier), \(answer)") }
        self.answer = answer
        dispatcher = nil
        job = nil
        if answer != .neverCame { world.trace.note(name) { "\(answer)" } }
        world.promises.answered(self, answer)
    }

    func hangUp(_ world: World) {
        guard answer == nil, !hasHungUp else { return }
        hasHungUp = true
        world.trace.note(name) { "hangs up" }
        guard let dispatcher else { return }
        let to = dispatcher.incarnation
        world.after(world.netDelay()) { [self] in dispatcher.enter(to) { dispatcher.sawHangUp(self) } }
    }
}

/// A TCP connection from a dispatcher to a worker, with the job that it is for.
final class Connection {
    /// As its dispatcher sees it.
    enum State { case dialing, session, grace, ending, closed }

    let number: Int
    let dispatcher: DispatcherProcess
    let incarnation: Int
    let job: JobID
    let isProbe: Bool
    let lease: String
    /// Whose job it is; nil for a probe.
    let origin: Caller?
    /// Who is joined with it now.
    var caller: Caller?
    var state = State.dialing
    var hasSent = false
    /// What an *ending* is reported as when the worker is done.
    var endingOutcome = Outcome.abandoned

    // The worker's side.
    var pod: Pod?
    /// The dispatcher's side is closed or reset, as far as the worker has heard.
    var isClosedAtWorker = false
    /// It was the kernel that closed the dispatcher's side, after its death.
    var isOrphaned = false
    /// The worker's host has taken bytes of the job.
    var isAcknowledged = false
    private var lastToWorker: Int64 = 0
    private var lastToDispatcher: Int64 = 0

    init(_ dispatcher: DispatcherProcess, _ job: JobID, lease: String, caller: Caller?, isProbe: Bool = false) {
        self.dispatcher = dispatcher
        self.job = job
        self.lease = lease
        self.caller = caller
        origin = caller
        self.isProbe = isProbe
        incarnation = dispatcher.incarnation
        number = dispatcher.world.nextConnection()
    }

    var name: String { "connection \(number)" }

    /// Something travels to the worker, behind what went before.
    func toWorker(_ world: World, _ action: @escaping () -> Void) {
        lastToWorker = max(lastToWorker + 1, (world.now + world.netDelay()).nanoseconds)
        world.at(lastToWorker, action)
    }

    /// Something travels to the dispatcher; lost when that has died, unread while it is stopped.
    func toDispatcher(_ world: World, _ action: @escaping () -> Void) {
        lastToDispatcher = max(lastToDispatcher + 1, (world.now + world.netDelay()).nanoseconds)
        world.at(lastToDispatcher) { [self] in dispatcher.enter(incarnation, action) }
    }

    /// The dispatcher's side ends: a close, a reset, or the kernel after its death.
    func close(_ world: World) {
        guard state != .closed else { return }
        state = .closed
        toWorker(world) { [self] in
            isClosedAtWorker = true
            pod?.connectionClosed(self)
        }
    }
}
