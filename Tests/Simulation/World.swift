import Model
import TestKit
import Wire

/// One run: every process of the product, its callers and its workers, in one thread and on virtual time. The seed decides
/// everything.
final class World {
    let seed: UInt64
    let scenario: Scenario
    let mutation: Mutation?
    let trace: Trace
    private var random: SeededGenerator
    private var queue = EventQueue()
    private(set) var now = Instant(nanoseconds: 1_000_000_000_000)
    private(set) var steps = 0
    /// The first promise that was broken.
    private(set) var failure: String?
    /// Trouble is over: nothing new goes wrong, nobody new arrives.
    private(set) var isHealed = false
    private(set) var isOver = false

    var linkEnds: [LinkEnd] = []
    private var links: UInt64 = 0
    private(set) var cluster: Cluster!
    private(set) var watcher: WatcherProcess!
    private(set) var keeper: KeeperProcess!
    private(set) var dispatchers: [DispatcherProcess] = []
    /// Where a pool has local workers.
    private(set) var scaler: ScalerProcess?
    private(set) var callers: [Caller] = []
    private(set) var promises: Promises!
    /// Connections to workers, by number.
    var wires: [Int: Connection] = [:]
    /// The build on disk, which a process has from its start on; builds understand nothing but themselves.
    var installed: UInt16 = 0
    /// Hellos that were refused for that.
    var mismatches = 0
    /// How often something was adopted.
    var adoptions = (sessions: 0, parked: 0)
    /// What dead processes have left, by instance.
    var limbo: [UInt64: Limbo] = [:]

    static let most = 40_000

    /// Whether promises between the processes are watched, or only what workers and callers notice.
    let looksInside: Bool

    init(seed: UInt64, mutation: Mutation? = nil, looksInside: Bool = true, trace: Trace = Trace()) {
        self.seed = seed
        self.mutation = mutation
        self.looksInside = looksInside
        self.trace = trace
        random = SeededGenerator(seed: seed)
        scenario = Scenario(seed: seed, mutation: mutation)
        trace.now = { [unowned self] in now }
        cluster = Cluster(self)
        watcher = WatcherProcess("watcher", self)
        keeper = KeeperProcess("keeper", self)
        dispatchers = (0..<scenario.dispatchers).map { DispatcherProcess("dispatcher-\($0)", self) }
        if scenario.localWorkers != nil { scaler = ScalerProcess("scaler", self) }
        promises = Promises(self)
    }

    var processes: [Process] { [watcher, keeper] + dispatchers + (scaler.map { [$0] } ?? []) }

    var localPool: PoolID? { scenario.localWorkers.map { scenario.policies[$0.pool].id } }

    /// Runs until everybody is served and everything is at rest, or until a promise is broken.
    func run() {
        trace.note("world") { "seed \(self.seed): \(self.scenario)" }
        cluster.populate()
        for process in processes {
            after(.milliseconds(pick(0...20))) { process.start() }
        }
        callers = scenario.callers.enumerated().map { Caller(number: $0.offset, plan: $0.element) }
        for caller in callers { after(caller.plan.arrives) { [self] in arrive(caller) } }
        for trouble in scenario.troubles { after(trouble.at) { [self] in cause(trouble) } }
        after(scenario.span) { [self] in heal() }
        let end = now + scenario.span + .seconds(150)
        while failure == nil, !isOver, let event = queue.take() {
            now = Instant(nanoseconds: max(now.nanoseconds, event.at))
            if now > end {
                fail(promises.unrest() ?? "the end was never reached")
                break
            }
            steps += 1
            event.action()
            if steps > Self.most { fail("no rest after \(steps) steps") }
        }
        isOver = true
        queue.removeAll()
    }

    /// Ends the run: a promise is broken.
    func fail(_ what: String) {
        guard failure == nil else { return }
        failure = what
        trace.note("world") { "BROKEN: \(what)" }
    }

    // MARK: Time and chance

    func at(_ nanoseconds: Int64, _ action: @escaping () -> Void) { queue.add(nanoseconds, action) }

    func after(_ delay: Duration, _ action: @escaping () -> Void) { queue.add((now + delay).nanoseconds, action) }

    func chance(_ probability: Double) -> Bool { Double(random.next() >> 11) < probability * 9_007_199_254_740_992 }

    func pick(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(random.next() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    func pick<T>(_ from: [T]) -> T? { from.isEmpty ? nil : from[Int(pick(0...Int64(from.count - 1)))] }

    func milliseconds(_ range: ClosedRange<Int64>) -> Duration { .milliseconds(pick(range)) }

    /// From the send to the peer's turn.
    func linkDelay() -> Duration {
        switch pick(0...99) {
        case 0..<70: .microseconds(pick(20...200))
        case 70..<96: .microseconds(pick(200...5_000))
        default: .microseconds(pick(5_000...100_000))
        }
    }

    /// One way between a dispatcher and a worker.
    func netDelay() -> Duration { .microseconds(chance(0.9) ? pick(30...500) : pick(500...5_000)) }

    func nextLink() -> UInt64 {
        links += 1
        return links
    }

    private var connections = 0

    func nextConnection() -> Int {
        connections += 1
        return connections
    }

    /// A mutant breaks promises to itself too; there only those to others are looked at.
    var checksMachines: Bool { mutation == nil }

    private var writer = ByteWriter()

    func encoded(_ write: (inout ByteWriter) -> Void) -> [UInt8] {
        writer.removeAll()
        write(&writer)
        if writer.overflowed { fail("a message exceeds a packet") }
        return [UInt8](writer.bytes)
    }

    // MARK: The course of things

    private func arrive(_ caller: Caller) {
        guard !isHealed else { return caller.finish(.neverCame, self) }
        dispatchers[caller.plan.seat % dispatchers.count].connected(caller)
        if let patience = caller.plan.patience { after(patience) { [self] in caller.hangUp(self) } }
    }

    func processDied(_ instance: UInt64) { keeper.noticeDeath(of: instance) }

    func isAlive(_ instance: UInt64) -> Bool { dispatchers.contains { $0.life != .dead && $0.instance == instance } }

    /// A process has ended its turn.
    func audit(_ process: Process) {
        if process !== watcher, process !== scaler { promises.turnEnded(process) }
    }

    private func heal() {
        trace.note("world") { "trouble is over" }
        isHealed = true
        for process in processes {
            process.fuse = nil
            process.resume()
        }
        cluster.heal()
        keeper.healed()
        rest()
    }

    private func rest() {
        after(.milliseconds(500)) { [self] in
            guard promises.unrest() != nil else {
                promises.atRest()
                isOver = true
                return
            }
            rest()
        }
    }
}
