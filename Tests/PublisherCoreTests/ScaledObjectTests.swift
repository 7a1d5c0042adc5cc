import Model
import TestKit
import Testing
import Wire

@testable import PublisherCore

private let known = ["browsers", "api", "a.b_C-1"]

private func object(_ metadata: [String: String]) throws(ScaledObject.Refusal) -> ScaledObject {
    try ScaledObject(metadata: metadata, known: known)
}

/// A publication in which the pool-keeper has told these pools, with so many leases and so many that wait.
private func told(_ pools: [(name: String, leases: UInt32, queued: UInt32)], also: [String] = []) -> Publication {
    var publication = Publication(
        version: "1", processes: [], pools: (pools.map(\.name) + also).map { .init(name: $0) }, at: Instant(nanoseconds: 1_000_000_000_000))
    publication.stateUp()
    for pool in pools { publication.heard(.pool(state(pool.name, pool.leases, pool.queued)), at: publication.began) }
    return publication
}

private func state(_ name: String, _ leases: UInt32, _ queued: UInt32, isRecovering: Bool = false) -> PoolState {
    var state = PoolState(pool: PoolID(name: name))
    state.leases = leases
    state.queued = queued
    state.oldestWait = queued > 0 ? .milliseconds(1500) : .zero
    state.isRecovering = isRecovering
    return state
}

@Suite struct ScaledObjectTests {
    struct Understood: Sendable {
        var metadata: [String: String]
        var pools: [String]
        var metric: ScalingMetric
        var target: Double
        init(_ metadata: [String: String], _ pools: [String], _ metric: ScalingMetric, _ target: Double) {
            self.metadata = metadata
            self.pools = pools
            self.metric = metric
            self.target = target
        }
    }

    @Test(arguments: [
        Understood(["pool": "browsers"], ["browsers"], .demand, 1),
        Understood(["pool": "a.b_C-1", "metric": "queue-depth"], ["a.b_C-1"], .queueDepth, 1),
        Understood(["pool": "browsers, api", "metric": "queue-oldest"], ["browsers", "api"], .queueOldest, 10),
        Understood(["pool": "api,browsers", "metric": "demand", "target": "0.8"], ["api", "browsers"], .demand, 0.8),
        Understood(["pool": "api", "target": "25"], ["api"], .demand, 25),
        // What KEDA itself reads from a trigger comes along.
        Understood(
            ["pool": "api", "scalerAddress": "x:9809", "enableTLS": "false", "unsafeSsl": "true", "activationValue": "3"], ["api"], .demand,
            1),
    ])
    func metadataIsUnderstood(_ row: Understood) throws {
        let object = try object(row.metadata)
        #expect(object.pools == row.pools)
        #expect(object.metric == row.metric)
        #expect(object.target == row.target)
    }

    @Test(
        arguments: [
            ([:], "pool is missing"), (["pool": ""], "pool is missing"), (["pool": " "], "pool is missing"),
            (["scalerAddress": "x"], "pool is missing"),
            (["pool": "browsers,"], "empty name"), (["pool": ",browsers"], "empty name"),
            (["pool": "browsers,api,browsers"], "names browsers twice"),
            (["pool": "api", "metric": "demands"], "write demand, queue-depth, queue-oldest"),
            (["pool": "api", "metric": ""], "metric ''"),
            (["pool": "api", "target": "0"], "target '0'"), (["pool": "api", "target": "-1"], "number above 0"),
            (["pool": "api", "target": ""], "number above 0"),
            (["pool": "api", "target": "1e3"], "number above 0"), (["pool": "api", "target": "nan"], "number above 0"),
            (["pool": "api", "target": "1.2.3"], "number above 0"), (["pool": "api", "target": "9999999999999999"], "number above 0"),
            (["pool": "api", "pools": "browsers"], "'pools' is no key of Leasehold's: write pool, metric or target"),
            (["pool": "api", "targetValue": "3"], "'targetValue'"), (["pool": "api", "Metric": "demand"], "'Metric'"),
            (["pool": "api", "metric": "a\u{1}é\n\(String(repeating: "x", count: 500))"], "metric 'a???xxx"),
        ] as [([String: String], String)])
    func wrongMetadataIsRefusedWithItsKeyAndTheRemedy(_ metadata: [String: String], _ says: String) {
        do throws(ScaledObject.Refusal) {
            _ = try object(metadata)
            Issue.record("taken: \(metadata)")
        } catch .invalid(let text) {
            #expect(text.contains(says), "\(text)")
            #expect(text.utf8.allSatisfy { $0 >= 0x20 } && text.utf8.count < 300, "one short line: \(text)")
        } catch {
            Issue.record("\(error)")
        }
    }

    @Test func aPoolThatIsNotConfiguredIsNotFoundAndThoseThereAreNamed() {
        #expect(throws: ScaledObject.Refusal.notFound("pool 'browser' is not configured: the pools are 'browsers, api, a.b_C-1'")) {
            try object(["pool": "api,browser"])
        }
    }

    @Test(arguments: [UInt64(20_261_121), 42]) func noMetadataFromOutsideTraps(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let pieces = [
            "pool", "metric", "target", "browsers", ",", "api", "", " ", "-", ".", "1", "0", "e", "\u{0}", "é", "🜁", "queue", "demand",
            "\n",
        ]
        for _ in 0..<5_000 {
            func text() -> String {
                (0..<Int.random(in: 0..<4, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
            }
            var metadata = ["pool": text()]
            metadata[text()] = text()
            if Bool.random(using: &random) { metadata["metric"] = text() }
            if Bool.random(using: &random) { metadata["target"] = text() }
            guard let object = try? object(metadata) else { continue }
            #expect(!object.pools.isEmpty && object.pools.allSatisfy(known.contains) && object.target > 0)
        }
    }

    // MARK: Activity

    @Test(
        arguments: [
            ("browsers", [("browsers", 0, 0)], false), ("browsers", [("browsers", 1, 0)], true), ("browsers", [("browsers", 0, 1)], true),
            ("browsers", [("browsers", 0, 0), ("api", 4, 4)], false), ("browsers,api", [("browsers", 0, 0), ("api", 0, 1)], true),
            ("api,browsers", [("browsers", 0, 0), ("api", 0, 0)], false),
        ] as [(String, [(String, UInt32, UInt32)], Bool)])
    func aPoolWithAJobIsActiveWhateverTheMetricIs(_ pool: String, _ states: [(String, UInt32, UInt32)], _ wanted: Bool) throws {
        let publication = told(states.map { (name: $0.0, leases: $0.1, queued: $0.2) })
        for metric in ScalingMetric.allCases {
            let active = try object(["pool": pool, "metric": metric.rawValue]).isActive(in: publication, at: publication.began)
            #expect(active == (wanted, .zero), "\(metric)")
        }
    }

    @Test func ofSeveralPoolsOneThatIsKnownToBeBusyIsEnoughAndOneThatIsUnknownIsNotIdle() throws {
        let both = try object(["pool": "api,browsers"])
        let busy = told([("browsers", 1, 0)], also: ["api"])
        #expect(try both.isActive(in: busy, at: busy.began).isActive)
        let idle = told([("browsers", 0, 0)], also: ["api"])
        #expect(throws: ScaledObject.Refusal.self) { try both.isActive(in: idle, at: idle.began) }
    }

    // MARK: Values

    @Test func eachPoolHasAMetricOfItsOwnAndTheNameThatIsAskedForChooses() throws {
        let publication = told([("browsers", 2, 3), ("api", 0, 7)])
        let both = try object(["pool": "browsers,api", "metric": "queue-depth"])
        #expect(both.pools.map { both.name(of: $0) } == ["leasehold-queue-depth-browsers", "leasehold-queue-depth-api"])
        #expect(try both.values(named: "", in: publication, at: publication.began).map(\.value) == [3, 7])
        #expect(
            try both.values(named: "leasehold-queue-depth-api", in: publication, at: publication.began) == [
                .init(name: "leasehold-queue-depth-api", value: 7, age: .zero)
            ])
        for wrong in ["leasehold-demand-api", "s0-leasehold-queue-depth-api", "api"] {
            #expect(throws: ScaledObject.Refusal.self) { try both.values(named: wrong, in: publication, at: publication.began) }
        }
        #expect(try object(["pool": "browsers"]).values(named: "", in: publication, at: publication.began).map(\.value) == [5])
    }

    @Test func theOldestWaitGrowsBetweenTwoWordsOfThePoolKeeper() throws {
        var publication = told([("browsers", 0, 1)])
        publication.heard(StateMessage.snapshotEnd, at: publication.began)
        let oldest = try object(["pool": "browsers", "metric": "queue-oldest"])
        let later = publication.began + .milliseconds(250)
        #expect(try oldest.values(named: "", in: publication, at: later).map(\.value) == [1.75])
    }

    // MARK: Blindness

    @Test func whatWasNeverToldIsRefusedAndNeverZero() throws {
        let publication = told([], also: ["browsers"])
        let object = try object(["pool": "browsers"])
        for question in [
            { _ = try object.isActive(in: publication, at: publication.began) },
            { _ = try object.values(named: "", in: publication, at: publication.began) },
        ] {
            do {
                try question()
                Issue.record("answered")
            } catch ScaledObject.Refusal.blind(let text) {
                #expect(text.hasPrefix("pool browsers: "))
            }
        }
    }

    @Test func whilePoolKeeperIsAwayTheLastValueIsToldWithItsAge() throws {
        var publication = told([("browsers", 2, 1)])
        publication.heard(StateMessage.snapshotEnd, at: publication.began)
        let object = try object(["pool": "browsers"])
        publication.stateDown(at: publication.began + .seconds(10))
        let later = publication.began + .seconds(13)
        #expect(
            try object.values(named: "", in: publication, at: later) == [
                .init(name: "leasehold-demand-browsers", value: 3, age: .seconds(3))
            ])
        #expect(try object.isActive(in: publication, at: later) == (true, .seconds(3)))
    }

    @Test func aPoolKeeperThatHasJustStartedIsNotBelievedBeforeItHasHeardEveryDispatcher() throws {
        var publication = told([("browsers", 2, 1)])
        publication.heard(StateMessage.snapshotEnd, at: publication.began)
        let object = try object(["pool": "browsers"])
        publication.stateDown(at: publication.began)
        publication.stateUp()
        publication.heard(.pool(state("browsers", 0, 0, isRecovering: true)), at: publication.began + .seconds(1))
        publication.heard(StateMessage.snapshotEnd, at: publication.began + .seconds(1))
        let during = publication.began + .seconds(2)
        #expect(
            try object.values(named: "", in: publication, at: during) == [
                .init(name: "leasehold-demand-browsers", value: 3, age: .seconds(2))
            ])
        publication.heard(.pool(state("browsers", 1, 0)), at: during)
        #expect(
            try object.values(named: "", in: publication, at: during) == [.init(name: "leasehold-demand-browsers", value: 1, age: .zero)])
        // Nothing was known before: then there is nothing to tell.
        let fresh = told([])
        var blind = Publication(version: "1", processes: [], pools: [.init(name: "browsers")], at: fresh.began)
        blind.stateUp()
        blind.heard(.pool(state("browsers", 0, 0, isRecovering: true)), at: blind.began)
        blind.heard(StateMessage.snapshotEnd, at: blind.began)
        #expect(throws: ScaledObject.Refusal.self) { try object.isActive(in: blind, at: blind.began) }
    }

    @Test func aPoolThatThePoolKeeperDoesNotKnowIsUnknown() throws {
        var publication = told([("browsers", 2, 1)])
        publication.heard(.poolGone(PoolID(name: "browsers")), at: publication.began)
        #expect(throws: ScaledObject.Refusal.self) { try object(["pool": "browsers"]).isActive(in: publication, at: publication.began) }
    }

    // MARK: Streams

    @Test func aStreamIsToldWhatIsTrueAndThenEveryChangeOnce() throws {
        var publication = told([("browsers", 0, 0)])
        var watch = ActivityWatch(try object(["pool": "browsers", "metric": "queue-oldest"]))
        var heard: [Bool] = []
        func look() throws { if let news = try watch.next(publication, at: publication.began) { heard.append(news) } }
        try look()
        try look()
        for (leases, queued) in [(0, 1), (1, 0), (1, 3), (0, 0), (0, 0), (0, 2)] as [(UInt32, UInt32)] {
            publication.heard(.pool(state("browsers", leases, queued)), at: publication.began)
            try look()
        }
        #expect(heard == [false, true, false, true])
    }

    @Test func aStreamIsSilentWhileNobodyKnowsAndWhileThePoolKeeperIsAway() throws {
        var publication = told([], also: ["browsers"])
        var watch = ActivityWatch(try object(["pool": "browsers"]))
        #expect(try watch.next(publication, at: publication.began) == nil)
        publication.heard(.pool(state("browsers", 1, 0)), at: publication.began)
        #expect(try watch.next(publication, at: publication.began) == true)
        publication.stateDown(at: publication.began)
        publication.stateUp()
        publication.heard(.pool(state("browsers", 0, 0, isRecovering: true)), at: publication.began)
        #expect(try watch.next(publication, at: publication.began) == nil)
        publication.heard(.pool(state("browsers", 0, 0)), at: publication.began)
        #expect(try watch.next(publication, at: publication.began) == false)
    }

    @Test func aStreamEndsWhenItsPoolIsGoneFromTheConfiguration() throws {
        var publication = told([("browsers", 0, 0)])
        var watch = ActivityWatch(try object(["pool": "browsers"]))
        publication.configure([.init(name: "api")])
        #expect(throws: ScaledObject.Refusal.self) { try watch.next(publication, at: publication.began) }
    }
}
