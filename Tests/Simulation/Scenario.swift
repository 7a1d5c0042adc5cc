import DispatcherCore
import Model
import TestKit
import Wire

/// Everything about a run that is known beforehand, from its seed alone.
struct Scenario: CustomStringConvertible {
    var dispatchers: Int
    /// How long there is trouble.
    var span: Duration
    var policies: [PoolPolicy]
    var pods: [PodPlan]
    var callers: [CallerPlan]
    var troubles: [Trouble]
    var dialTimeout: Duration = .seconds(1)
    var firstByte: Duration
    var abandon: Duration
    /// How long a worker goes on after its connection was reset: less than a quarantine.
    var stopsWithin: Duration
    /// How long it goes on when its dispatcher has died: less than `abandon`.
    var outlivesHolder: Duration
    /// Workers turn unready for each job and ready again after it.
    var flips: Bool
    /// Workers are used for one job and replaced.
    var isSingleUse: Bool
    /// At most so much goes into one packet, unless a message is longer.
    var packetBytes: Int

    /// How long what a dead dispatcher leaves waits for its successor.
    var adoptWithin = Duration.zero
    /// Endpoints come from an API server instead of a directory.
    var isKubernetes = false
    /// Callers are of several tenants and urgencies, and some ask for the endpoint that they had.
    var isShared = false

    /// A pool whose workers the scaler starts.
    var localWorkers: LocalPlan?

    struct LocalPlan {
        var pool: Int
        var least: Int
        var most: Int
        var idle: Duration
    }

    struct PodPlan {
        var pools: [Int]
        var isDualStack: Bool
        var node: Int
    }

    struct CallerPlan {
        var arrives: Duration
        var seat: Int
        var pool: Int
        var budget: Duration?
        /// When it hangs up, unless it has been answered.
        var patience: Duration?
        /// How long the worker takes.
        var work: Duration
        var urgency = Urgency.standard
        var tenant = ""
        var affinity = ""
        var bytes: UInt32 = 0

        func request(in pool: PoolID) -> JobRequest {
            JobRequest(pool: pool, budget: budget, urgency: urgency, tenant: tenant, affinity: affinity, bytes: bytes)
        }
    }

    /// A mutant gets more of the trouble that shows it.
    init(seed: UInt64, mutation: Mutation? = nil) {
        var dice = Dice(seed: seed)
        dispatchers = Int(dice.pick(1...3))
        span = .milliseconds(dice.pick(3_000...12_000))
        let poolCount = dice.chance(0.4) ? 2 : 1
        firstByte = .milliseconds(dice.pick(1_000...4_000))
        let abandon = Duration.milliseconds(dice.pick(1_000...6_000))
        self.abandon = abandon
        let isSlow = dice.chance(0.2)
        stopsWithin = .milliseconds(isSlow ? 1_500 : 20)
        outlivesHolder = stopsWithin
        flips = dice.chance(0.15)
        isSingleUse = !flips && dice.chance(0.1)
        packetBytes = dice.chance(0.5) ? Int(dice.pick(100...2_000)) : Bounds.packetBytes
        let usesUp = isSingleUse
        let settle = !usesUp && (flips || dice.chance(0.1))
        let probes = dice.chance(0.2)
        policies = (0..<poolCount).map { n in
            var policy = PoolPolicy(name: n == 0 ? "alpha" : "beta")
            policy.abandon = abandon
            policy.holdTimeout = .milliseconds(dice.pick(2_000...10_000))
            policy.noEndpointsTimeout = .milliseconds(dice.pick(1_000...10_000))
            policy.maxQueued = dice.chance(0.2) ? Int(dice.pick(1...6)) : 1000
            policy.order = dice.chance(0.3) ? .pack : .spread
            if settle { policy.reuse = .whenReady(settle: .milliseconds(dice.pick(100...2_000))) }
            if usesUp { policy.reuse = .never }
            if probes { policy.health = .init(path: "/", interval: .milliseconds(dice.pick(300...2_000)), timeout: .milliseconds(500)) }
            return policy
        }
        if !usesUp, dice.chance(0.15) { for n in policies.indices { policies[n].slots = 2 } }
        pods = (0..<Int(dice.pick(1...5))).map { n in
            PodPlan(
                pools: poolCount == 1 ? [0] : n < poolCount ? [n] : dice.chance(0.5) ? [0, 1] : [Int(dice.pick(0...1))],
                isDualStack: dice.chance(0.3), node: Int(dice.pick(0...1)))
        }
        if poolCount == 2, dice.chance(0.5) { pods = pods.map { var pod = $0; pod.pools = [0, 1]; return pod } }
        if poolCount == 2, pods.count == 1 { pods[0].pools = [0, 1] }
        if !usesUp, dice.chance(0.35) {
            var policy = policies[0]
            policy.name = "local"
            policy.id = PoolID(name: "local")
            policies.append(policy)
            localWorkers = LocalPlan(
                pool: poolCount, least: Int(dice.pick(0...1)), most: Int(dice.pick(1...4)), idle: .milliseconds(dice.pick(100...3_000)))
        }
        callers = []
        let busyness = dice.pick(50...1_500)
        let longJobs = [0.02, 0.05, 0.3][Int(dice.pick(0...2))]
        for _ in 0..<dice.pick(5...25) {
            let patience: Duration? = dice.chance(0.3) ? .milliseconds(dice.pick(0...3_000)) : nil
            callers.append(
                CallerPlan(
                    arrives: .microseconds(dice.pick(0...span.microseconds * 3 / 4)), seat: Int(dice.pick(0...2)),
                    pool: Int(dice.pick(0...Int64(policies.count - 1))), budget: dice.chance(0.15) ? .milliseconds(dice.pick(0...4_000)) : nil,
                    patience: patience, work: .milliseconds(dice.chance(longJobs) ? dice.pick(2_000...12_000) : dice.pick(1...busyness))))
        }
        troubles = []
        for _ in 0..<(dice.chance(0.2) ? dice.pick(15...40) : dice.pick(0...16)) {
            guard let kind = Trouble.Kind.anyTime.randomElement(using: &dice.generator) else { continue }
            troubles.append(Trouble(at: .microseconds(dice.pick(0...span.microseconds)), kind: kind))
        }
        if dice.chance(0.4) { outlivesHolder = max(stopsWithin, .milliseconds(dice.pick(0...abandon.milliseconds - 50))) }
        adoptWithin = dice.chance(0.7) ? .seconds(10) : dice.chance(0.6) ? .milliseconds(dice.pick(100...2_000)) : .zero
        // Last, so that a seed's other chances are what they were before there was this one.
        isKubernetes = dice.chance(0.35)
        for (kind, chance) in [(Trouble.Kind.endKeeper, 0.3), (.upgrade, 0.15)] where dice.chance(chance) {
            troubles.append(Trouble(at: .microseconds(dice.pick(0...span.microseconds)), kind: kind))
        }
        if let kind = mutation?.trouble {
            for _ in 0..<3 { troubles.append(Trouble(at: .microseconds(dice.pick(0...span.microseconds)), kind: kind)) }
        }
        if dice.chance(0.5) { share(&dice) }
    }

    /// Tenants, urgencies, affinity and bounds.
    private mutating func share(_ dice: inout Dice) {
        isShared = true
        for n in policies.indices {
            policies[n].tenants.append(.init(name: "acme", weight: Int(dice.pick(1...5)), maxLeased: dice.chance(0.4) ? 1 : nil))
            policies[n].tenants.append(.init(name: "bolt", maxQueued: dice.chance(0.4) ? Int(dice.pick(0...3)) : nil))
            policies[n].ageAfter = .milliseconds(dice.pick(0...4) * 500)
            policies[n].shed = dice.chance(0.5) ? .oldest : .newest
            policies[n].maxBytes = dice.chance(0.3) ? Int(dice.pick(100...1_000)) : nil
            policies[n].affinityWait = .milliseconds(dice.pick(0...4) * 400)
            policies[n].reserve = dice.chance(0.25) ? 1 : 0
        }
        for n in callers.indices {
            if dice.chance(0.5) { callers[n].urgency = Urgency(rawValue: UInt8(truncatingIfNeeded: dice.pick(0...7))) ?? .standard }
            callers[n].tenant = ["", "acme", "bolt", "nobody"][Int(dice.pick(0...3))]
            if dice.chance(0.3) { callers[n].affinity = ["k", "l"][Int(dice.pick(0...1))] }
            callers[n].bytes = UInt32(truncatingIfNeeded: dice.pick(0...200))
        }
    }

    var description: String {
        "\(dispatchers) dispatchers, \(pods.count) workers, \(callers.count) callers, pools \(policies.map(\.name)), "
            + "\(troubles.count) troubles in \(span), stops within \(stopsWithin), \(outlivesHolder) after its dispatcher"
            + (isKubernetes ? ", an API server" : "") + (isShared ? ", tenants" : "") + (flips ? ", readiness flips" : "") + (isSingleUse ? ", single use" : "")
            + (localWorkers.map { ", local workers \($0.least) to \($0.most)" } ?? "")
    }
}

/// Something that goes wrong, and when. What exactly it hits is drawn when it comes.
struct Trouble {
    enum Kind: CaseIterable {
        /// Those of which a scenario may have many.
        static let anyTime = allCases.filter { $0 != .endKeeper && $0 != .upgrade }

        case killKeeper, killWatcher, killDispatcher, killScaler
        case stopKeeper, stopWatcher, stopDispatcher, stopScaler
        /// Dies in the middle of one of its next turns.
        case burnKeeper, burnWatcher, burnDispatcher, burnScaler
        case breakLeasing, breakFeed, breakScaling
        /// The pool-keeper is started anew while a dispatcher is stopped.
        case restartUnseen
        /// A dispatcher dies, and the pool-keeper a moment later.
        case killBoth
        /// Another build is installed (or the one before), and every process started anew, in some order.
        case upgrade
        /// The pool-keeper ends in order (SIGTERM).
        case endKeeper
        case blink, terminate, vanish, replace, stale, crash, busy, hang
        case operate
        case unreadable
    }

    var at: Duration
    var kind: Kind
}

/// Chances of a scenario.
struct Dice {
    var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed ^ 0x5ce4_a210_5ce4_a210) }

    mutating func pick(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(generator.next() % UInt64(max(1, range.upperBound - range.lowerBound + 1)))
    }

    mutating func chance(_ probability: Double) -> Bool { Double(generator.next() >> 11) < probability * 9_007_199_254_740_992 }
}
