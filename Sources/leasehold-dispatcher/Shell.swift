import CLinux
import DispatcherCore
import Foundation
import Linux
import Model
import ServiceKit
import Wire

/// The process around the loops: listeners, threads, signals, reports.
///
/// The service's own loop is the first dispatch loop; further threads run one each. All that the main thread asks of another
/// loop goes through `mailboxes`.
final class Shell {
    let service: Service
    private(set) var loops: [DispatchLoop] = []
    private var mailboxes: [Mailbox] = []
    /// In the order of the configuration.
    private var listeners: [Listening] = []
    /// What other threads leave for the main one; made before there are any.
    private let mainbox: Mailbox

    init(_ service: Service) throws {
        self.service = service
        let mainbox = Mailbox(service.loop)
        self.mainbox = mainbox
        service.loop.atTurnEnd { mainbox.open() }
        let rules = try Rules(service.configuration)
        try openListeners()
        try start(0, loop: service.loop, outbox: service.outbox, rules: rules)
        let threads = service.configuration.dispatcher.threads
        for index in 1..<max(1, threads) { try startThread(index, rules: rules) }
        service.onTerminate = { [unowned self] isFirst in
            guard isFirst else { return everywhere { $0.stopNow() } }
            let limit = service.configuration.listeners.map(\.deadlines.drain).max() ?? .zero
            everywhere { $0.beginDrain(limit: limit) }
        }
        service.onHandOver = { [unowned self] in everywhere { $0.beginHandOver() } }
        service.onReload = { [unowned self] _, new in
            guard let rules = try? Rules(new) else { return }
            everywhere { $0.apply(rules) }
        }
        service.onControl = { [unowned self] request in answer(request) }
        service.vitals.collect = { [unowned self] round in tell(&round) }
        service.counters = { [unowned self] in counters() }
        service.isHealthy = { [unowned self] in mailboxes.allSatisfy { $0.isAlive() } }
    }

    // MARK: Listeners

    private func openListeners() throws {
        for listener in service.configuration.listeners {
            var options = Listening.Options()
            options.backlog = Int32(clamping: listener.backlog)
            options.receiveBuffer = Int32(clamping: listener.receiveBuffer)
            options.dualStack = listener.dualStack
            let given = service.listenDescriptors.take(listener.name).first
            listeners.append(try Listening(listener.address, given: given, key: "listener \(listener.name)", options: options))
        }
    }

    // MARK: Loops

    private func start(_ index: Int, loop: Loop, outbox: Outbox, rules: Rules) throws {
        let dispatch = try DispatchLoop(
            loop: loop, outbox: outbox, logger: service.logger, rules: rules, threads: service.configuration.dispatcher.threads,
            ends: service.vitals.jobs)
        // First what a predecessor has left, then callers, then READY.
        let listeners = listeners.map(\.raw)
        dispatch.onAdopted = { [unowned self, unowned dispatch] in
            do throws(SystemError) { for (i, raw) in listeners.enumerated() { try dispatch.listen(raw, index: UInt16(i)) } } catch {
                fatalError("a listener cannot be watched: \(error)")
            }
            onMain { self.loopAdopted(index) }
        }
        dispatch.onDrained = { [unowned self] in onMain { self.loopEnded(index) } }
        dispatch.onHandedOver = { [unowned self] isOver in onMain { if isOver { self.loopEnded(index) } else { self.endedLoops.remove(index) } } }
        dispatch.connect(to: service.connect(.leasing, seat: index == 0 ? service.seat : "\(service.seat).\(index)", thread: index, outbox: outbox))
        loops.append(dispatch)
    }

    private func startThread(_ index: Int, rules: Rules) throws {
        let loop = try Loop()
        let outbox = Outbox(loop: loop, descriptorBudget: service.outbox.descriptorBudget)
        try start(index, loop: loop, outbox: outbox, rules: rules)
        let mailbox = Mailbox(loop)
        mailboxes.append(mailbox)
        loop.atTurnEnd { mailbox.open() }
        // The loop is handed over whole: after this line only the thread touches it, but for `wakeUp`.
        let handed = Handed(loop)
        let thread = Thread { handed.run() }
        thread.name = "dispatch-\(index)"
        thread.start()
    }

    /// Does `work` in every loop, in its own thread.
    private func everywhere(_ work: @escaping (DispatchLoop) -> Void) {
        work(loops[0])
        for (mailbox, dispatch) in zip(mailboxes, loops.dropFirst()) { mailbox.put { _ in work(dispatch) } }
    }

    private func onMain(_ work: @escaping () -> Void) { mainbox.put { _ in work() } }

    private var adoptedLoops: Set<Int> = []

    private func loopAdopted(_ index: Int) {
        adoptedLoops.insert(index)
        if adoptedLoops.count == max(1, service.configuration.dispatcher.threads) {
            let addresses = zip(service.configuration.listeners, listeners).map { "\($0.name) on \($1.address)" }
            service.ready(status: "Serving \(addresses.joined(separator: ", "))")
        }
    }

    /// Those that have drained, or have told everything to the pool-keeper.
    private var endedLoops: Set<Int> = []

    private func loopEnded(_ index: Int) {
        endedLoops.insert(index)
        if endedLoops.count == loops.count { service.loop.stop() }
    }

    // MARK: Reports

    private func answer(_ request: ControlRequest) -> ControlAnswer {
        switch request {
        case .show("listeners"):
            let rows = zip(service.configuration.listeners, listeners).map { listener, socket in
                ListenerReport(
                    name: listener.name, address: socket.address, transport: listener.transport == .http ? "http" : "tcp",
                    pools: listener.routes.isEmpty ? [listener.pool ?? ""] : listener.routes.map(\.pool))
            }
            return .json(rows)
        case .show(let what): return .failed(status: 64, "the dispatcher has no report '\(what)'; it has 'listeners' and 'process'")
        case .drain, .drainIdle, .undrain, .quarantine, .pause, .resume: return .failed(status: 64, "the pool-keeper does that")
        case .assets: return .failed(status: 64, "the asset cache does that")
        }
    }

    /// Read without a lock: each is a word that only grows, and a report may be a moment old.
    private func counters() -> [String: UInt64] {
        // Of the seat: a successor goes on counting. What follows is of this process.
        var out = jobCounters()
        for dispatch in loops {
            let c = dispatch.counters
            out["accepted", default: 0] += c.accepted
            out["jobs", default: 0] += c.jobs
            out["answers", default: 0] += c.answers
            out["requeues", default: 0] += c.requeues
            out["cuts", default: 0] += c.cuts
            out["escrowed", default: 0] += UInt64(dispatch.escrowed)
            out["escrow-skipped", default: 0] += c.escrowSkipped
            out["escrow-delayed", default: 0] += dispatch.outbox.refusals
            out["adopted-callers", default: 0] += c.adoptedCallers
            out["adopted-sessions", default: 0] += c.adoptedSessions
            out["adoption-cut-heads", default: 0] += c.tornHeads
            out["adoption-losses", default: 0] += c.adoptionLosses
            out["reused-connections", default: 0] += c.reusedConnections
            out["refused-connections", default: 0] += c.refusedConnections
            out["turns", default: 0] += dispatch.loop.turns
            out["waiting", default: 0] += UInt64(dispatch.machine.waitingJobs)
            out["callers", default: 0] += UInt64(dispatch.callers.used)
            out["worker-connections", default: 0] += UInt64(dispatch.workers.used)
            out["link-messages-sent", default: 0] += dispatch.keeper?.link?.messagesSent ?? 0
            out["link-packets-sent", default: 0] += dispatch.keeper?.link?.packetsSent ?? 0
            for reason in Reason.allCases where c.refusals[Int(reason.rawValue)] > 0 {
                out["refused-\(reason.token)", default: 0] += c.refusals[Int(reason.rawValue)]
            }
            for outcome in Outcome.allCases where c.outcomes[Int(outcome.rawValue)] > 0 {
                out["leases-\(outcome.name)", default: 0] += c.outcomes[Int(outcome.rawValue)]
            }
            for failure in DialFailure.allCases where c.dialFailures[Int(failure.rawValue)] > 0 {
                out["dial-failures-\(failure.name)", default: 0] += c.dialFailures[Int(failure.rawValue)]
            }
        }
        return out
    }
}

/// A loop on its way to its own thread.
private final class Handed: @unchecked Sendable {
    // Touched by nobody but the thread that runs it, from the moment it is handed over.
    private let loop: Loop
    init(_ loop: Loop) { self.loop = loop }
    func run() {
        do { try loop.run() } catch { fatalError("a dispatch loop failed: \(error)") }
    }
}
