import Linux
import Model
import TestKit

/// All sessions of a run: keeps as many of each kind alive as there should be.
final class Population: @unchecked Sendable {
    // Belongs to the arena's thread once that runs: others ask through `Arena.ask` and `post`.

    let arena: Arena
    var tally = Tally()
    var order = OrderBook()
    private(set) var sessions: [Int: Session] = [:]
    private(set) var isWindingDown = false
    /// Whether whoever ends is followed by another.
    var admitsNew = true
    /// Since when a dispatcher that was told to stop may say so to those who come.
    private(set) var drainingSince: Int64?
    private var lastDrainBegan: Int64 = 0
    private var lastDraining: Int64 = 0
    private(set) var workplaces: [Workplace] = []
    private let targets: [Kind: Int]
    private let seconds: Double
    private var counts: [Kind: Int] = [:]
    private var random: SeededGenerator
    private var lastID = 0
    private var http: SocketAddress?
    private var tcp: SocketAddress?
    private var tcpScarce: SocketAddress?
    private var lastParkedBegan: Int64 = 0
    /// The flow that gets a wrong byte, by the session's number.
    var altered: Int?

    /// `seconds` is how long a session lasts, about.
    init(_ arena: Arena, targets: [Kind: Int], seconds: Double, seed: UInt64) {
        self.arena = arena
        self.targets = targets
        self.seconds = seconds
        random = SeededGenerator(seed: seed)
    }

    /// So many workers that every session has one, and `scarce` for those who wait.
    func open(scarce: Int) throws {
        let live = targets.filter { !$0.key.isParked && $0.key != .local }.values.reduce(0, +)
        for index in 0..<live + live / 3 { workplaces.append(try Workplace(index, pool: "wide", in: self)) }
        for index in 0..<scarce { workplaces.append(try Workplace(index, pool: "scarce", in: self)) }
    }

    func pods(_ pool: String) -> [Pod] {
        workplaces.filter { $0.pool == pool }.map { Pod("\(pool)-\($0.index)", at: $0.address) }
    }

    func close() {
        for workplace in workplaces { workplace.close() }
    }

    // MARK: Sessions

    /// Brings in everybody, over a second or so.
    func begin(http: SocketAddress, tcp: SocketAddress, tcpScarce: SocketAddress) {
        self.http = http
        self.tcp = tcp
        self.tcpScarce = tcpScarce
        for kind in Kind.allCases {
            for _ in 0..<(targets[kind] ?? 0) { later(kind, within: 1_000_000_000) }
        }
        look()
    }

    private func later(_ kind: Kind, within time: Int64) {
        arena.at(arena.now + Int64.random(in: 0...time, using: &random)) { [self] in
            guard !isWindingDown, admitsNew, let http, let tcp, let tcpScarce else { return }
            lastID += 1
            let plan = Plan(lastID, kind, scale: seconds, using: &random)
            tally.lines[kind, default: .init()].began += 1
            do {
                let session = try Session(plan, in: self, to: kind == .parkedTCP ? tcpScarce : kind.isTCP ? tcp : http)
                // A connection that is reset at once (a dispatcher that drains does that to TCP callers) is over before it is here.
                if session.outcome == nil { sessions[lastID] = session }
            } catch {
                tally.lines[kind]?.lost += 1
                tally.troubles.append("\(kind.rawValue) \(plan.id): \(error)")
                later(kind, within: 200_000_000)
            }
        }
    }

    func exchange(_ plan: Plan, round: Int) -> Session.Exchange {
        let seed = plan.id &* 7919 &+ round &* 104_729
        let exchange = Session.Exchange(Flow(plan.up, seed: seed, isReading: false), Flow(plan.down, seed: seed &+ 524_287), round: round)
        if altered == plan.id { exchange.down.alterAt = plan.down.total / 2 }
        return exchange
    }

    func finished(_ session: Session) {
        sessions[session.plan.id] = nil
        let kind = session.plan.kind
        let outcome = session.outcome ?? .left
        let now = arena.now
        tally.lines[kind]?.pauses.append(session.longestPause)
        tally.lines[kind]?.waits.append(session.longestWait)
        switch outcome {
        case .complete: tally.lines[kind]?.complete += 1
        case .left: tally.lines[kind]?.left += 1
        case .drained: tally.lines[kind]?.drained += 1
        case .lost(let how): lose(session, how, at: now)
        case .corrupt(let fault, let place):
            tally.lines[kind]?.corrupt += 1
            tally.fault(fault)
            trouble(session, "\(fault) \(place)", at: now)
        }
        later(kind, within: 60_000_000)
    }

    private func lose(_ session: Session, _ how: String, at now: Int64) {
        let kind = session.plan.kind
        // Taken in, perhaps, but not yet in escrow: at most one turn of the dispatcher's long.
        let blow = tally.blows.indices.last { tally.blows[$0].at <= now && tally.blows[$0].label.contains("dispatcher") }
        // From the backlog nobody is taken in before there is a dispatcher.
        let from = order.cameAfter(session.connectedAt) ?? session.connectedAt
        let isFresh = strikes.contains { $0.at <= now && now - $0.at < 2_000_000_000 && abs($0.at - from) < Self.unescrowedFor + $0.waited }
        if let blow, !session.hasBegunOnce, session.askedAt != 0, isFresh {
            tally.lines[kind]?.unescrowed += 1
            tally.blows[blow].unescrowed += 1
            return
        }
        tally.lines[kind]?.lost += 1
        if let last = tally.blows.indices.last { tally.blows[last].lost[kind, default: 0] += 1 }
        trouble(session, how, at: now)
    }

    /// Signals to dispatchers, and how long each had waited for a processor in the half second before.
    private var strikes: [(at: Int64, waited: Int64)] = []

    func dispatcherStruck(at now: Int64, after waited: Int64) {
        strikes.append((now, waited))
        if strikes.count > 50 { strikes.removeFirst(25) }
    }

    /// A caller that connected this long before the dispatcher's end (or was in its backlog when it came, so long before) may have been accepted by it in its last turn.
    private static let unescrowedFor: Int64 = 100_000_000

    func violation(_ what: String) {
        let blow = tally.blows.last.map { "\((arena.now - $0.at) / 1_000_000) ms after \($0.label) (\(tally.blows.count))" } ?? "before any blow"
        tally.violations.append("\(what); \(blow)")
    }

    private func trouble(_ session: Session, _ what: String, at now: Int64) {
        let blow = tally.blows.last.map { "\((now - $0.at) / 1_000_000) ms after \($0.label) (\(tally.blows.count))" } ?? "before any blow"
        var age = "\((now - session.connectedAt) / 1_000_000) ms old"
        if let came = order.cameAfter(session.connectedAt) { age += ", from a backlog \((now - came) / 1_000_000) ms ago" }
        if let strike = strikes.last { age += ", dispatcher struck \((now - strike.at) / 1_000_000) ms ago, having waited \(strike.waited / 1_000_000) of 500 ms" }
        tally.troubles.append("\(session.plan.kind.rawValue) \(session.plan.id)/\(session.exchange.round), \(age): \(what); \(blow)")
    }

    func paused(_ session: Session, from: Int64, to: Int64) {
        guard to > from else { return }
        tally.pause(\.pauses, of: session.plan.id, from: from, to: to)
        session.longestPause = max(session.longestPause, to - from)
    }

    /// From a request to the beginning of its job.
    func waited(_ session: Session, from: Int64, to: Int64) {
        guard to > from else { return }
        tally.pause(\.waits, of: session.plan.id, from: from, to: to)
        session.longestWait = max(session.longestWait, to - from)
    }

    /// Parked callers wait by intent: theirs is the time in which nobody in the pool's line got a worker.
    func parkedBegan(_ session: Session) {
        let now = arena.now
        if lastParkedBegan != 0 { waited(session, from: max(lastParkedBegan, session.askedAt), to: now) }
        lastParkedBegan = now
    }

    /// Who waits for bytes for ever is lost, too.
    private func look() {
        let limit: Int64 = 25_000_000_000
        for session in Array(sessions.values) {
            let waits = [session.exchange.up.oldestWait, session.exchange.down.oldestWait].filter { $0 != 0 }.min()
            if let waits, arena.now - waits > limit { session.fail(.lost("hung: bytes on their way for 25 s")) }
            if session.isWaitingForWorker, arena.now - session.askedAt > limit {
                session.fail(.lost("hung: no worker for 25 s"))
            }
        }
        arena.at(arena.now + 1_000_000_000) { [weak self] in self?.look() }
    }

    // MARK: Blows

    func struck(_ label: String) -> Int {
        let live = sessions.values.filter { !$0.plan.kind.isParked && !$0.isWaitingForWorker }.count
        tally.blows.append(Blow(label: label, at: monotonicNow(), live: live, parked: sessions.count - live))
        return tally.blows.count - 1
    }

    func recovered(_ blow: Int) { tally.blows[blow].over = monotonicNow() }

    func draining(_ isDraining: Bool) {
        if isDraining { lastDrainBegan = monotonicNow() }
        drainingSince = isDraining ? monotonicNow() : nil
        lastDraining = monotonicNow()
    }

    /// Whether a dispatcher drained when something happened, give or take what a connection is on its way.
    func drained(at time: Int64) -> Bool {
        if let since = drainingSince { return time > since - 20_000_000 }
        return time > lastDrainBegan - 20_000_000 && time < lastDraining
    }

    /// Whether a dispatcher drained at or after `since`: it may have asked callers to close.
    func hasDrained(since: Int64) -> Bool { drainingSince != nil || lastDraining >= since }

    /// Nobody new; those who are there hurry.
    func windDown() {
        isWindingDown = true
        arena.hurry = true
    }

    struct Standing: Sendable {
        var live = 0
        var parked = 0
        var running = 0
    }

    var standing: Standing {
        var out = Standing()
        for session in sessions.values {
            if session.plan.kind.isParked {
                if session.isWaitingForWorker { out.parked += 1 }
            } else if session.hasBegunOnce || session.plan.kind == .local {
                out.live += 1
            }
        }
        out.running = workplaces.reduce(0) { $0 + $1.running.count }
        return out
    }
}
