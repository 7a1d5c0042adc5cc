import Model
import ScalerCore
import TestKit
import Wire

extension SeededGenerator {
    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
    mutating func milliseconds(_ range: ClosedRange<Int>) -> Duration { .milliseconds(Int.random(in: range, using: &self)) }

    var bits: UInt32 {
        mutating get { UInt32(truncatingIfNeeded: next()) }
    }
}

/// The scaler's whole world, simple enough to be right: processes on ports, a watcher that passes endpoints on late,
/// a pool-keeper that leases, and edges that keep their order but not their time.
struct FleetModel {
    /// What a job is now.
    struct Job { var endpoint: EndpointID?; var ends: Instant }

    struct Process {
        var place: WorkerPlace
        var accepts: Instant
        var isStopping = false
        var ignoresTerm: Bool
    }

    enum Event {
        case input(Scaler.Input, life: Int)
        case toKeeper(Scaler.Action)
        case exit(ProcessIdentity, ExitStatus)
        case keeperBack
    }

    struct Keeper {
        var isUp = true
        /// Local endpoints as the watcher passed them on.
        var known: Set<EndpointID> = []
        var freeSince: [EndpointID: Instant] = [:]
        var drained: Set<EndpointID> = []
        var leases: [EndpointID: Instant] = [:]
        var queued = 0
    }

    var random: SeededGenerator
    var now = Instant(nanoseconds: 5_000_000_000_000)
    var scaler = Scaler()
    var config: WorkerPool
    /// Counts the scaler's lives; inputs of an earlier one are lost.
    var life = 0
    var pending: [(at: Instant, order: Int, event: Event)] = []
    var order = 0
    var lastOnEdge: [String: Instant] = [:]
    var processes: [ProcessIdentity: Process] = [:]
    var endpointOf: [EndpointID: ProcessIdentity] = [:]
    var orphans: Set<UInt16> = []
    var roster: [RosterEntry] = []
    var keeper = Keeper()
    var nextPid: Int32 = 100
    /// The most that `max` was while a process that still runs was started.
    var allowed: Int
    var crashes = true
    var stops = 0
    var starts = 0
    var served = 0

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        config = pool(
            min: Int.random(in: 0...2, using: &random), max: Int.random(in: 2...6, using: &random),
            idle: random.milliseconds(200...5000))
        allowed = config.max
        tell(.began([config], found: []))
        linksUp()
    }

    // MARK: Edges

    /// In order within an edge, each after its own delay.
    private mutating func schedule(_ event: Event, edge: String, within: ClosedRange<Int>) {
        var at = now + random.milliseconds(within)
        if !edge.isEmpty {
            at = max(at, lastOnEdge[edge] ?? at)
            lastOnEdge[edge] = at
        }
        order += 1
        pending.append((at, order, event))
    }

    private mutating func linksUp() {
        schedule(.input(.scalingUp, life: life), edge: "scaling", within: 0...5)
        sendState()
    }

    mutating func sendState() {
        guard keeper.isUp else { return }
        grant()
        var state = PoolState(pool: config.id)
        for endpoint in keeper.known {
            if keeper.leases[endpoint] != nil {
                state.leased += 1
            } else if keeper.drained.contains(endpoint) {
                state.draining += 1
            } else {
                state.free += 1
            }
        }
        state.leases = UInt32(keeper.leases.count)
        state.queued = UInt32(keeper.queued)
        schedule(.input(.poolState(state), life: life), edge: "state", within: 0...20)
    }

    // MARK: The machine and its shell

    private mutating func tell(_ input: Scaler.Input) {
        var actions: [Scaler.Action] = []
        scaler.handle(input, at: now, into: &actions)
        scaler.checkInvariants()
        for action in actions { carryOut(action) }
        let running = processes.count
        precondition(running <= allowed, "\(running) processes where \(allowed) are allowed")
    }

    private mutating func carryOut(_ action: Scaler.Action) {
        switch action {
        case .check(let place):
            let held = orphans.contains(place.port) || processes.values.contains { $0.place == place }
            schedule(.input(held ? .portHeld(place) : .portFree(place), life: life), edge: "", within: 0...2)
        case .start(let place):
            if random.chance(crashes ? 10 : 0) {
                schedule(.input(.startFailed(place, reason: "fork", jitter: random.bits), life: life), edge: "", within: 0...1)
                return
            }
            nextPid += 1
            let process = ProcessIdentity(pid: nextPid, startTime: UInt64(now.nanoseconds / 10_000_000))
            precondition(!processes.values.contains { $0.place == place }, "two processes on \(place)")
            processes[process] = Process(place: place, accepts: now + random.milliseconds(10...400), ignoresTerm: random.chance(10))
            endpointOf[EndpointID(uid: "local:\(place.port):\(process)")] = process
            starts += 1
            // The shell's start is synchronous: the machine hears of the process before anything else.
            tell(.started(place, process))
            if crashes && random.chance(15) { schedule(.exit(process, .code(1)), edge: "", within: 0...2000) }
        case .probe(let place, let process):
            let open = processes[process].map { $0.accepts <= now } ?? false
            schedule(.input(open ? .accepts(place, process) : .silent(place, process), life: life), edge: "", within: 0...3)
        case .stop(_, let process):
            let id = EndpointID(uid: "local:\(processes[process]?.place.port ?? 0):\(process)")
            if keeper.known.contains(id) && keeper.isUp {
                precondition(keeper.drained.contains(id), "stopped without a drain")
                precondition(keeper.leases[id] == nil, "stopped under a lease")
            }
            stops += 1
            processes[process]?.isStopping = true
            if processes[process]?.ignoresTerm == false { schedule(.exit(process, .signal(15)), edge: "", within: 0...50) }
        case .kill(_, let process): schedule(.exit(process, .signal(9)), edge: "", within: 0...1)
        case .announce, .withdraw: schedule(.toKeeper(action), edge: "workers", within: 0...30)
        case .drainIdle, .drain, .undrain: schedule(.toKeeper(action), edge: "scaling-out", within: 0...5)
        case .saveRoster: roster = scaler.roster
        case .notice: break
        }
    }

    // MARK: The pool-keeper

    private mutating func keeperHears(_ action: Scaler.Action) {
        guard keeper.isUp else { return }
        switch action {
        case .announce(_, let endpoint):
            keeper.known.insert(endpoint.id)
            keeper.freeSince[endpoint.id] = now
            grant()
        case .withdraw(_, let id):
            keeper.known.remove(id)
            keeper.drained.remove(id)
        case .drainIdle(_, let idleFor, let most):
            let idle = keeper.known
                .filter { keeper.leases[$0] == nil && !keeper.drained.contains($0) && (keeper.freeSince[$0] ?? now) + idleFor <= now }
                .sorted { (keeper.freeSince[$0] ?? now, $0) < (keeper.freeSince[$1] ?? now, $1) }
            for id in idle.prefix(most) { drain(id) }
        case .drain(let id): drain(id)
        case .undrain(let id):
            keeper.drained.remove(id)
            keeper.freeSince[id] = now
            grant()
        case .check, .start, .probe, .stop, .kill, .saveRoster, .notice: preconditionFailure()
        }
        sendState()
    }

    private mutating func drain(_ id: EndpointID) {
        keeper.drained.insert(id)
        if keeper.leases[id] == nil { sendDrained(id) }
    }

    private mutating func sendDrained(_ id: EndpointID) {
        schedule(.input(.drained(id), life: life), edge: "scaling", within: 0...20)
    }

    mutating func grant() {
        guard keeper.isUp else { return }
        let free = keeper.known.filter { keeper.leases[$0] == nil && !keeper.drained.contains($0) }.sorted()
        for id in free.prefix(keeper.queued) {
            keeper.queued -= 1
            // A dead worker is found out when it is dialled; the job waits on.
            guard let process = endpointOf[id], processes[process] != nil else {
                keeper.queued += 1
                continue
            }
            keeper.leases[id] = now + random.milliseconds(5...1500)
        }
    }

    private mutating func endLeases() {
        for (id, ends) in keeper.leases where ends <= now {
            keeper.leases[id] = nil
            keeper.freeSince[id] = now
            served += 1
            if keeper.drained.contains(id) { sendDrained(id) }
        }
        grant()
        sendState()
    }

    // MARK: What happens in the world

    mutating func step() {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<20: keeper.queued += Int.random(in: 1...3, using: &random)
        case 20..<23: for port in config.ports where random.chance(10) { orphans.insert(port) }
        case 23..<26: orphans = []
        case 26..<28:
            // The scaler dies; its successor reads the roster and finds who is alive.
            life += 1
            let alive = roster.filter { processes[$0.process] != nil }
            // A process that started and was not written down yet is an orphan now.
            for (process, known) in processes where !alive.contains(where: { $0.process == process }) {
                processes[process] = nil
                orphans.insert(known.place.port)
            }
            scaler = Scaler()
            tell(.began([config], found: alive))
            if keeper.isUp { linksUp() }
        case 28..<30:
            guard keeper.isUp else { break }
            // It comes back with its leases asserted and its drains forgotten.
            keeper.isUp = false
            keeper.drained = []
            schedule(.input(.stateLost, life: life), edge: "state", within: 0...5)
            schedule(.input(.scalingLost, life: life), edge: "scaling", within: 0...5)
            schedule(.keeperBack, edge: "", within: 10...3000)
        case 30..<33 where crashes:
            if let victim = processes.keys.sorted(by: { $0.pid < $1.pid }).randomElement(using: &random) { exit(victim, .signal(9)) }
        case 33..<35:
            config.max = Int.random(in: Swift.max(1, config.min)...6, using: &random)
            if random.chance(30) { config.command = ["command", "\(random.chance(50))"] }
            allowed = max(allowed, config.max)
            tell(.configured([config]))
        default: break
        }
        run(for: random.milliseconds(0...300))
        sendState()
    }

    private mutating func exit(_ process: ProcessIdentity, _ status: ExitStatus) {
        guard let known = processes.removeValue(forKey: process) else { return }
        // The caller is told, the lease ends: one job is lost.
        keeper.leases[EndpointID(uid: "local:\(known.place.port):\(process)")] = nil
        tell(.exited(known.place, process, status, jitter: random.bits))
    }

    /// Lets virtual time pass, each event at its moment.
    mutating func run(for duration: Duration) {
        let end = now + duration
        while true {
            let next = pending.min { ($0.at, $0.order) < ($1.at, $1.order) }
            let lease = keeper.leases.values.min() ?? .never
            let wake = scaler.nextWake
            let at = min(next?.at ?? .never, min(lease, wake))
            guard at <= end else { break }
            now = max(now, at)
            if let next, next.at <= now {
                pending.removeAll { $0.order == next.order }
                switch next.event {
                case .input(let input, let life): if life == self.life { tell(input) }
                case .toKeeper(let action): keeperHears(action)
                case .exit(let process, let status): exit(process, status)
                case .keeperBack:
                    keeper.isUp = true
                    // The watcher's snapshot, and what the scaler says anew.
                    keeper.known = Set(scaler.endpoints.map(\.endpoint.id))
                    pending.removeAll { if case .toKeeper = $0.event { true } else { false } }
                    for id in keeper.known { keeper.freeSince[id] = now }
                    linksUp()
                }
            } else if lease <= now {
                endLeases()
            } else {
                tell(.woke)
                precondition(scaler.nextWake > now, "woken for nothing")
            }
        }
        now = end
        if processes.count <= config.max { allowed = config.max }
    }
}
