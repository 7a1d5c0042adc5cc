import Foundation
import Linux
import TestKit

/// Strikes the processes in a seeded order and at seeded times, and waits for recovery only where two blows would otherwise be one.
package final class Director {
    package enum Blows: String, CaseIterable, Sendable {
        case kill = "-9"
        /// The same process again, while it starts or has just started.
        case again = "-9 twice"
        case term = "TERM"
        case handOver = "USR2"
        /// Told to stop, and killed before it was done.
        case drain = "TERM, then -9"
        /// Stopped for longer than the recovery grace, and woken.
        case stop = "STOP, CONT"
        /// Stopped until the watchdog ends it.
        case watchdog = "STOP, watchdog"
    }

    private let fleet: Fleet
    private let manager: any Supervisor
    private let arena: Arena
    private let crowd: Population
    private let victims: [Fleet.Process]
    /// Nothing but blows of this kind.
    private let only: Blows?
    private var random: SeededGenerator
    private let quiet = Gate()
    /// Of the dispatcher and the pool-keeper: who was disturbed last, and whether all is well since.
    private var disturbed: Fleet.Process?
    /// Sums over all instances of a process.
    private(set) var counters: [String: UInt64] = [:]
    private var newest: [Fleet.Process: (start: Int, counters: [String: UInt64])] = [:]
    /// The longest that one blow took to be over, in nanoseconds.
    private(set) var longestRecovery: Int64 = 0
    var stopFor: ClosedRange<Int> = 1200...1800

    init(_ manager: any Supervisor, _ arena: Arena, _ crowd: Population, victims: [Fleet.Process], only: Blows? = nil, seed: UInt64) {
        fleet = manager.fleet
        self.manager = manager
        self.arena = arena
        self.crowd = crowd
        self.victims = victims
        self.only = only
        random = SeededGenerator(seed: seed ^ 0x6368_616f_73)
    }

    /// Waits a seeded time: the only clock that this test has.
    func wait(_ milliseconds: ClosedRange<Int>) {
        var none = pollfd(fd: quiet.descriptor, events: Int16(POLLIN), revents: 0)
        _ = poll(&none, 1, Int32(Int.random(in: milliseconds, using: &random)))
    }

    // MARK: Blows

    /// One blow. Not both dispatcher and pool-keeper: whoever of them comes second finds the first one recovered.
    func strike() throws {
        let victim = draw()
        try gather(victim)
        let blow = drawBlow(victim)
        // A second one of another kind, within 50 ms of the first.
        let other = Int.random(in: 0..<6, using: &random) == 0 ? drawOther(than: victim) : nil
        let label = "\(victim.rawValue) \(blow.rawValue)" + (other.map { " + \($0.rawValue)" } ?? "")
        if isDelicate(victim) || other.map(isDelicate) == true {
            let next: Fleet.Process? = isDelicate(victim) ? victim : other
            if disturbed != nil && disturbed != next { try settle() }
            disturbed = next
        }
        let starts = manager.state(victim).starts
        let index = try arena.ask { [crowd] in crowd.struck(label) }
        let began = monotonicNow()
        if let other, Bool.random(using: &random) {
            signal(other, SIGKILL)
            wait(0...50)
            try hit(victim, blow, starts)
        } else if let other {
            try hit(victim, blow, starts)
            wait(0...50)
            signal(other, SIGKILL)
        } else {
            try hit(victim, blow, starts)
        }
        do { try manager.waitReady(victim, after: blow == .stop ? starts - 1 : starts) } catch {
            throw TestFailure("blow \(index + 1), \(label), start \(starts), now \(manager.state(victim)): \(error)")
        }
        if let other { try manager.waitReady(other) }
        try waitGranting()
        longestRecovery = max(longestRecovery, monotonicNow() - began)
        arena.post { [crowd] in crowd.recovered(index) }
        // What stood still for seconds has a moment to catch up, so that the next blow's pauses are its own.
        if blow == .stop || blow == .watchdog { wait(400...600) }
        // Sometimes at once, mostly after some traffic.
        if Int.random(in: 0..<5, using: &random) > 0 { wait(0...350) }
    }

    /// The dispatcher and the pool-keeper in the same moment: what is in escrow is lost, and nothing else may be.
    func strikeBoth() throws {
        try gather(.dispatcher)
        try settle()
        let starts = (manager.state(.dispatcher).starts, manager.state(.poolKeeper).starts)
        let index = try arena.ask { [crowd] in crowd.struck("dispatcher and pool-keeper -9") }
        let first: Fleet.Process = Bool.random(using: &random) ? .dispatcher : .poolKeeper
        signal(first, SIGKILL)
        wait(0...10)
        signal(first == .dispatcher ? .poolKeeper : .dispatcher, SIGKILL)
        try manager.waitReady(.poolKeeper, after: starts.1)
        try manager.waitReady(.dispatcher, after: starts.0)
        // Nobody saw what the dispatcher held: nothing is granted until its workers must have noticed (`abandon`).
        try waitGranting()
        arena.post { [crowd] in crowd.recovered(index) }
        wait(500...1000)
    }

    private func signal(_ process: Fleet.Process, _ number: Int32) {
        let waited = process == .dispatcher ? manager.dispatcherWaited() : 0
        // Before those who are cut by it can say so.
        if process == .dispatcher { _ = try? arena.ask { [crowd] in crowd.dispatcherStruck(at: monotonicNow(), after: waited) } }
        manager.signal(process, number)
        guard process == .dispatcher else { return }
        let now = monotonicNow()
        arena.post { [crowd] in number == SIGCONT ? crowd.order.dispatcherCame(at: now) : crowd.order.dispatcherWent(at: now) }
    }

    private func isDelicate(_ process: Fleet.Process) -> Bool { process == .dispatcher || process == .poolKeeper }

    private func hit(_ victim: Fleet.Process, _ blow: Blows, _ starts: Int) throws {
        switch blow {
        case .kill: signal(victim, SIGKILL)
        case .again:
            signal(victim, SIGKILL)
            wait(5...400)
            signal(victim, SIGKILL)
            // Before its successor had begun it was one blow, and the second one was lost.
        case .term: signal(victim, SIGTERM)
        case .handOver: signal(victim, SIGUSR2)
        case .drain:
            _ = try arena.ask { [crowd] in crowd.draining(true) }
            signal(victim, SIGTERM)
            wait(20...250)
            signal(victim, SIGKILL)
            try manager.waitReady(victim, after: starts)
            arena.post { [crowd] in crowd.draining(false) }
        case .stop:
            signal(victim, SIGSTOP)
            wait(stopFor)
            signal(victim, SIGCONT)
        case .watchdog: signal(victim, SIGSTOP)
        }
    }

    private func draw() -> Fleet.Process {
        let weights: [Fleet.Process: Int] = [.dispatcher: 50, .poolKeeper: 30, .watcher: 10, .scaler: 6, .publisher: 6, .assetCache: 4]
        let all = victims.flatMap { [Fleet.Process](repeating: $0, count: weights[$0] ?? 1) }
        return all.randomElement(using: &random) ?? .watcher
    }

    private func drawOther(than victim: Fleet.Process) -> Fleet.Process? {
        let others: [Fleet.Process] = victims.filter { $0 != victim && !(isDelicate(victim) && isDelicate($0)) }
        return others.randomElement(using: &random)
    }

    private func drawBlow(_ victim: Fleet.Process) -> Blows {
        if let only { return only }
        return switch Int.random(in: 0..<100, using: &random) {
        case 0..<5: .stop
        // The watcher may be silent for half a minute under systemd: nobody waits for it meanwhile.
        case 5..<7 where manager.watchdog(of: victim) <= 10_000_000_000: .watchdog
        case 7..<20: .again
        case 20..<38: victim == .dispatcher ? .handOver : .term
        case 38..<42 where victim == .dispatcher: .drain
        default: .kill
        }
    }

    // MARK: Recovery

    /// Until the pool-keeper grants again.
    private func waitGranting() throws {
        let deadline = Patience.deadline()
        while true {
            if let rows = pools(), !rows.isEmpty, !rows.contains(where: \.waitsForRecovery) { return }
            guard monotonicNow() < deadline else { throw TestFailure("the pool-keeper does not grant after \(Patience.seconds) s") }
            wait(5...5)
        }
    }

    private func pools() -> [Fleet.PoolRow]? {
        guard manager.state(.poolKeeper).isReady, !manager.state(.poolKeeper).isStopped else { return nil }
        return try? fleet.show("pools", of: .poolKeeper, as: [Fleet.PoolRow].self)
    }

    /// Until everything that is to be in escrow is there again.
    private func settle() throws {
        try manager.waitReady(.dispatcher)
        try manager.waitReady(.poolKeeper)
        try waitGranting()
        wait(150...250)
    }

    /// Adds up what the processes count, before they forget it.
    func gather(_ process: Fleet.Process) throws {
        for process in [Fleet.Process.dispatcher, .poolKeeper] {
            let state = manager.state(process)
            guard state.isReady, !state.isStopped, let row = try? fleet.show("process", of: process, as: Fleet.ProcessRow.self) else { continue }
            if let old = newest[process], old.start != state.starts { add(process, old.counters) }
            newest[process] = (state.starts, row.counters)
        }
    }

    func gatherLast() throws {
        try gather(.dispatcher)
        for (process, last) in newest { add(process, last.counters) }
        newest = [:]
    }

    private func add(_ process: Fleet.Process, _ more: [String: UInt64]) {
        for (name, value) in more { counters["\(process.rawValue) \(name)", default: 0] += value }
    }
}
