import Foundation
import KeeperCore
import Model
import TestKit
import Testing
import Wire

extension SeededGenerator {
    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

/// Random inputs to a keeper and to the reference, compared after each.
struct RandomWalk {
    var random: SeededGenerator
    var keeper: Keeper
    let reference: ReferenceKeeper
    var now = Instant(nanoseconds: 1_000_000_000_000)
    var log: [String] = []
    var links: UInt64 = 0
    var instances: UInt64 = 0
    var ticketIDs: UInt64 = 0
    var generation: UInt64 = 0
    var alive: [InstanceID] = []
    /// What a dispatcher still has to say, in order.
    var unsaid: [DispatcherID: [LeasingRequest]] = [:]
    let names = ["a", "b", "c"]
    let calm: Int
    let usesAffinity: Bool
    let sharesAddresses: Bool

    static func policies(_ random: inout SeededGenerator, _ names: [String]) -> [PoolPolicy] {
        names.filter { _ in !random.chance(7) }.map { name in
            policy(name) {
                $0.slots = [1, 1, 1, 2, 3].randomElement(using: &random) ?? 1
                $0.holdTimeout = .milliseconds(Int.random(in: 0...9, using: &random) * 500)
                $0.noEndpointsTimeout = .milliseconds(Int.random(in: 0...9, using: &random) * 500)
                $0.maxQueued = [0, 2, 5, 100].randomElement(using: &random) ?? 5
                $0.order = random.chance(50) ? .spread : .pack
                switch Int.random(in: 0..<5, using: &random) {
                case 0: $0.reuse = .never
                case 1: $0.reuse = .whenReady(settle: .milliseconds(700))
                default: $0.reuse = .immediate
                }
                $0.abandon = .milliseconds(Int.random(in: 1...8, using: &random) * 400)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: break
                case 1: $0.tenants.append(.init(name: "acme", weight: 3, maxLeased: 1))
                default:
                    $0.tenants[0].maxQueued = random.chance(50) ? nil : 3
                    $0.tenants.append(.init(name: "acme", weight: Int.random(in: 1...9, using: &random), maxQueued: random.chance(50) ? nil : 2))
                    $0.tenants.append(.init(name: "bolt", weight: 2, maxLeased: random.chance(50) ? nil : Int.random(in: 1...3, using: &random)))
                }
                $0.ageAfter = .milliseconds(Int.random(in: 0...4, using: &random) * 300)
                $0.shed = random.chance(50) ? .newest : .oldest
                $0.maxBytes = random.chance(30) ? 100 : nil
                $0.affinityWait = .milliseconds(Int.random(in: 0...4, using: &random) * 250)
                $0.reserve = random.chance(70) ? 0 : Int.random(in: 1...2, using: &random)
                if random.chance(30) { $0.health = .init(path: "/", interval: .seconds(1), timeout: .milliseconds(100)) }
            }
        }
    }

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        calm = [0, 50, 80].randomElement(using: &random) ?? 0
        sharesAddresses = random.chance(50)
        usesAffinity = random.chance(50)
        let parameters = Keeper.Parameters(
            epoch: 50, adoptWithin: random.chance(50) ? .zero : .milliseconds(900), recoveryGrace: .milliseconds(1500),
            nodeAvoidance: .seconds(3))
        let policies = Self.policies(&random, names)
        var roster = (0..<Int.random(in: 0...2, using: &random)).map {
            RosterEntry(instance: InstanceID(rawValue: UInt64($0) + 1), seat: "s\(($0 + 1) % 3)")
        }
        if seed % 5 == 0 { roster.append(.unknown) }
        instances = UInt64(roster.count)
        alive = roster.map(\.instance)
        keeper = Keeper(parameters, policies: policies, roster: roster, at: now)
        reference = ReferenceKeeper(parameters, policies: policies, roster: roster)
    }

    mutating func pool() -> PoolID { PoolID(name: names.randomElement(using: &random) ?? "a") }

    func addressOf(_ n: UInt64) -> UInt64 { sharesAddresses && n > 5 ? n - 5 : n }

    mutating func endpoint() -> Endpoint {
        let n = UInt64.random(in: 1...8, using: &random)
        let conditions: Endpoint.Conditions = random.chance(75) ? .ready : random.chance(50) ? [] : [.ready, .terminating]
        var endpoint = worker(n, conditions, node: ["", "n1", "n2"][Int(n % 3)], local: n > 4)
        // Some share an address, and some move to another's.
        let at = random.chance(4) ? UInt64.random(in: 1...8, using: &random) : addressOf(n)
        endpoint.addresses = worker(at).addresses
        return endpoint
    }

    mutating func pickLink() -> DispatcherID? {
        reference.processes.values.compactMap(\.link).sorted { $0.rawValue < $1.rawValue }
            .randomElement(using: &random)
    }

    mutating func pickLease() -> (DispatcherID, ReferenceKeeper.Lease)? {
        guard let lease = reference.leases.randomElement(using: &random) else { return nil }
        guard let link = random.chance(97) ? reference.processes[lease.instance]?.link : pickLink() else { return nil }
        return (link, lease)
    }

    mutating func ticket(on link: DispatcherID) -> Keeper.Input {
        ticketIDs += 1
        let budget: Duration? = random.chance(50) ? nil : .milliseconds(Int.random(in: 0...6, using: &random) * 400)
        let age = Duration.milliseconds(random.chance(60) ? 0 : Int.random(in: 0...2000, using: &random))
        let repeated = random.chance(1) ? ticketIDs / 2 : ticketIDs
        let tenant = ["", "", "acme", "bolt", "nobody"].randomElement(using: &random) ?? ""
        let key = random.chance(usesAffinity ? 30 : 0) ? ["k", "l", "m"].randomElement(using: &random) ?? "" : ""
        let urgency = random.chance(60) ? Urgency.standard : Urgency(rawValue: UInt8.random(in: 0...7, using: &random)) ?? .standard
        let bytes = UInt32.random(in: 0...40, using: &random)
        return .request(
            link,
            .ticket(
                Ticket(id: TicketID(rawValue: repeated), pool: pool(), age: age, budget: budget, urgency: urgency, tenant: tenant, affinity: key,
                    bytes: bytes, isRequeued: random.chance(15))))
    }

    /// What a dispatcher that has connected says: its leases, its tickets, the end. It may have forgotten some.
    mutating func telling(_ instance: InstanceID) -> [LeasingRequest] {
        var said: [LeasingRequest] = []
        for lease in reference.leases where (lease.instance == instance && random.chance(90)) || random.chance(1) {
            said.append(
                assertion(lease.id, lease.pool, lease.endpoint, isEnding: lease.isEnding || random.chance(10), lease.isProbe, lease.tenant))
        }
        if random.chance(20) {
            let old = LeaseID(epoch: UInt64.random(in: 1...49, using: &random), counter: UInt64.random(in: 1...500, using: &random))
            said.append(assertion(old, pool(), endpoint().id, isEnding: random.chance(30), false))
        }
        if random.chance(2) {
            said.append(assertion(LeaseID(epoch: 50, counter: 3), pool(), endpoint().id, isEnding: false, false))
        }
        for waiting in reference.tickets where waiting.instance == instance && random.chance(85) {
            said.append(
                .ticket(
                    Ticket(
                        id: waiting.id, pool: waiting.pool, age: now - waiting.arrival, budget: waiting.budget, urgency: waiting.urgency,
                        tenant: waiting.tenantTold, affinity: waiting.keyTold, bytes: waiting.bytes, isRequeued: waiting.isRequeued)))
        }
        // Jobs whose grant nobody has read, and some that had a worker.
        for lease in reference.leases where lease.instance == instance && lease.told == 0 && random.chance(60) {
            guard let job = lease.job else { continue }
            said.append(
                .ticket(
                    Ticket(
                        id: job.ticket, pool: random.chance(95) ? lease.pool : pool(), age: max(.zero, now - job.arrival),
                        tenant: lease.tenant == "default" ? "" : lease.tenant, isRequeued: random.chance(10))))
        }
        return said + [.asserted]
    }

    func assertion(_ lease: LeaseID, _ pool: PoolID, _ endpoint: EndpointID, isEnding: Bool, _ isProbe: Bool, _ tenant: String = "") -> LeasingRequest {
        .assertLease(
            AssertedLease(
                lease: lease, pool: pool, endpoint: endpoint, address: worker(addressOf(endpoint.low)).addresses[0], isEnding: isEnding, isProbe: isProbe,
                tenant: TenantID(name: tenant)))
    }

    mutating func connect(_ instance: InstanceID) throws {
        links += 1
        let link = DispatcherID(rawValue: links)
        try step(.dispatcherConnected(link, instance: instance, seat: "s\(instance.rawValue % 3)"))
        unsaid[link] = telling(instance)
    }

    mutating func step(_ input: Keeper.Input) throws {
        log.append("\(now.nanoseconds / 1_000_000)ms \(input)")
        var actions: [Keeper.Action] = []
        let pools = reference.pools.keys.map { ($0, keeper.state(of: $0, at: now)) }
        keeper.handle(input, at: now, into: &actions)
        if ProcessInfo.processInfo.environment["LEASEHOLD_TRACE"] != nil { print(log.last ?? "", "->", actions) }
        keeper.checkInvariants()
        try reference.follow(input, at: now, actions)
        for (pool, before) in pools {
            let after = keeper.state(of: pool, at: now)
            if after != reference.state(of: pool) {
                throw ReferenceKeeper.Disagreement(
                    description: "state \(String(describing: after)), expected \(String(describing: reference.state(of: pool)))")
            }
            let told = actions.filter { $0 == .poolChanged(pool) }.count
            if told > 1 { throw ReferenceKeeper.Disagreement(description: "a pool changed twice") }
            if before?.withoutTimes != after?.withoutTimes, told == 0 {
                throw ReferenceKeeper.Disagreement(description: "a pool changed in silence")
            }
            for report in keeper.endpointReports(of: pool, at: now)
            where report.state != reference.state(report.endpoint.id, in: pool) {
                throw ReferenceKeeper.Disagreement(description: "endpoint \(report.endpoint.name) is \(report.state)")
            }
        }
        if keeper.isRecovering != reference.isRecovering { throw ReferenceKeeper.Disagreement(description: "recovery differs") }
        if keeper.nextWake < now + .zero, keeper.nextWake < now { try step(.wake) }
    }

    mutating func run(steps: Int) throws {
        for _ in 0..<steps { try randomStep() }
    }

    private mutating func randomStep() throws {
        let speaking = unsaid.keys.sorted { $0.rawValue < $1.rawValue }
        if let link = speaking.randomElement(using: &random), random.chance(70) {
            let said = unsaid[link]?.removeFirst()
            if unsaid[link]?.isEmpty ?? true { unsaid[link] = nil }
            if let said { try step(.request(link, said)) }
            return
        }
        // Get going again when everything has stopped.
        if random.chance(20) {
            if let instance = alive.randomElement(using: &random), reference.processes[instance]?.link == nil {
                return try connect(instance)
            }
            if alive.isEmpty {
                instances += 1
                alive.append(InstanceID(rawValue: instances))
                return try connect(InstanceID(rawValue: instances))
            }
            if reference.snapshots == 0 { return try snapshot() }
            if random.chance(30) { return try step(.operated(.resume(pool()))) }
        }
        // Calm walks are mostly jobs; wild ones are mostly what goes wrong around them.
        switch Int.random(in: 0..<(random.chance(calm) ? 56 : 100), using: &random) {
        case 0..<25: if let link = pickLink() { try step(ticket(on: link)) }
        case 25..<28:
            guard let waiting = reference.tickets.randomElement(using: &random) else { return }
            if let link = reference.processes[waiting.instance]?.link { try step(.request(link, .cancel(waiting.id))) }
        case 29..<47:
            guard let (link, lease) = pickLease() else { return }
            let outcomes: [Outcome] =
                lease.isProbe
                ? [.probePassed, .probePassed, .probeFailed]
                : [.served, .served, .served]
                    + Outcome.allCases.filter {
                        $0 != .probePassed && $0 != .probeFailed
                    }
            // As in life: what runs is in escrow, unless it is over at once.
            if !lease.isEscrowed, random.chance(50) {
                return try step(.request(link, .escrow(.worker(EscrowedWorker(lease: lease.id, caller: .none, worker: .none)))))
            }
            try step(.request(link, .release(lease.id, outcomes.randomElement(using: &random) ?? .served)))
        case 47..<50: if let (link, lease) = pickLease() { try step(.request(link, .ending(lease.id))) }
        case 50:
            guard let (link, lease) = pickLease() else { return }
            try step(.request(link, .escrow(.worker(EscrowedWorker(lease: lease.id, caller: .none, worker: .none)))))
        case 51..<54:
            guard let (link, lease) = pickLease(), !lease.isProbe else { return }
            let failure = DialFailure.allCases.randomElement(using: &random) ?? .refused
            try step(.request(link, .dialFailed(lease.id, random.chance(40) ? .timedOut : failure)))
        case 54..<56: if let (link, lease) = pickLease() { try step(.request(link, .unused(lease.id))) }
        case 56..<68: try step(.endpoints(.upsert(pool: pool(), endpoint())))
        case 68..<71: try step(.endpoints(.remove(pool: pool(), endpoint().id)))
        case 71..<73: try snapshot()
        case 73..<88:
            if random.chance(60), keeper.nextWake != .never {
                now = max(now, keeper.nextWake)
            } else {
                now = now + .milliseconds(Int.random(in: 0...900, using: &random))
            }
            try step(.wake)
        case 88: if let link = pickLink() { try drop(link) }
        case 89:
            if let instance = alive.randomElement(using: &random), reference.processes[instance]?.link == nil || random.chance(20) {
                try connect(instance)
            }
        case 90:
            guard alive.count < 4 || random.chance(20) else { return }
            instances += 1
            alive.append(InstanceID(rawValue: instances))
            try connect(InstanceID(rawValue: instances))
        case 91: if random.chance(30), let instance = alive.randomElement(using: &random) { try kill(instance) }
        case 28:
            let left = reference.tickets.filter { reference.processes[$0.instance]?.phase == .dead }
            if let waiting = left.randomElement(using: &random) { try step(.callerLeft(waiting.instance, waiting.id)) }
        case 92: try step(.operated(random.chance(75) ? .resume(pool()) : .pause(pool(), refuse: random.chance(40))))
        case 93: if random.chance(50) { try step(.operated(.drain(endpoint: endpoint().uid, pool: random.chance(50) ? nil : pool()))) }
        case 94: try step(.operated(.undrain(endpoint: endpoint().uid, pool: random.chance(50) ? nil : pool())))
        case 95: try step(.operated(.quarantine(endpoint: endpoint().uid, pool: nil, duration: .milliseconds(600))))
        case 96: if random.chance(50) { try step(.scaling(.drain(endpoint().id))) }
        case 97: try step(.scaling(.undrain(endpoint().id)))
        case 98:
            if random.chance(50) {
                try step(.scaling(.undrain(endpoint().id)))
            } else {
                try step(.scaling(.drainIdle(pool: pool(), idleFor: .milliseconds(1200), most: 100)))
            }
        default: if random.chance(20) { try step(.policiesChanged(Self.policies(&random, names))) }
        }
    }

    private mutating func drop(_ link: DispatcherID) throws {
        unsaid[link] = nil
        try step(.dispatcherLinkEnded(link))
    }

    private mutating func kill(_ instance: InstanceID) throws {
        if let link = reference.processes[instance]?.link { unsaid[link] = nil }
        alive.removeAll { $0 == instance }
        try step(.dispatcherDied(instance))
        // Most are followed soon by a process in the same seat.
        guard random.chance(70) else { return }
        repeat { instances += 1 } while instances % 3 != instance.rawValue % 3
        alive.append(InstanceID(rawValue: instances))
    }

    private mutating func snapshot() throws {
        generation += 1
        try step(.endpoints(.source(SourceHealth(state: random.chance(95) ? .live : .unknown))))
        try step(.endpoints(.snapshotBegin(generation: generation)))
        for _ in 0..<Int.random(in: 0...14, using: &random) { try step(.endpoints(.upsert(pool: pool(), endpoint()))) }
        if random.chance(10) { try step(.endpointsLost) }
        try step(.endpoints(.snapshotEnd(generation: generation)))
    }
}

extension PoolState {
    /// What changes by an event only, and not by the mere passing of time.
    var withoutTimes: PoolState {
        var copy = self
        copy.oldestWait = .zero
        for i in copy.tenants.indices { copy.tenants[i].oldestWait = .zero }
        return copy
    }
}

@Suite struct RandomWalkTests {
    static let scale = Int(ProcessInfo.processInfo.environment["LEASEHOLD_SEEDS"] ?? "") ?? 1
    static let only = ProcessInfo.processInfo.environment["LEASEHOLD_SEED"].flatMap { UInt64($0) }

    /// Prints the seed and the last inputs of a walk that fails: `LEASEHOLD_SEED=n` replays it.
    @Test func theKeeperAndItsReferenceAgreeOnRandomWalks() {
        let seeds = Self.only.map { [$0] } ?? (1...UInt64(60 * Self.scale)).map { $0 }
        var grants = 0
        for seed in seeds {
            var walk = RandomWalk(seed: seed)
            do {
                try walk.run(steps: 600)
                grants += Int(truncatingIfNeeded: walk.reference.latest.counter)
            } catch {
                Issue.record("seed \(seed) after \(walk.log.count) inputs: \(error)\n\(walk.log.suffix(6).joined(separator: "\n"))")
                return
            }
        }
        print("keeper walks: \(seeds.count) seeds of 600 steps, \(grants) grants")
        #expect(Self.only != nil || grants > seeds.count * 20)
    }
}
