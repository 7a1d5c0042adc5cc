import Model
import TestKit
import Testing
import Wire

@testable import PublisherCore

/// A publication with a pool-keeper, a watcher and a dispatcher that have told everything once.
func sample(pools: [String] = ["browsers"], at now: Instant = Instant(nanoseconds: 1_000_000_000_000)) -> Publication {
    var publication = Publication(
        version: "0.1.0", processes: ["watcher", "pool-keeper", "dispatcher"], pools: pools.map { .init(name: $0) }, at: now)
    publication.stateUp()
    for name in pools {
        var state = PoolState(pool: PoolID(name: name))
        state.free = 3
        state.leased = 2
        state.unready = 1
        state.leases = 2
        state.queued = 5
        state.oldestWait = .milliseconds(1250)
        publication.heard(.pool(state), at: now)
    }
    publication.heard(StateMessage.snapshotEnd, at: now)
    publication.sourceUp()
    publication.heard(.source(SourceHealth(state: .live)), at: now)
    publication.heard(EndpointsMessage.snapshotEnd(generation: 1), at: now)
    for (i, process) in ["watcher", "pool-keeper", "dispatcher"].enumerated() {
        publication.vitalsUp(process, instance: UInt64(i + 1), at: now)
        publication.heard(.begin(uptime: .seconds(60)), from: process, at: now)
        if process == "pool-keeper" {
            for name in pools { for message in keeperRound(name) { publication.heard(message, from: process, at: now) } }
        }
        publication.heard(VitalsMessage.end, from: process, at: now)
    }
    return publication
}

private func keeperRound(_ pool: String) -> [VitalsMessage] {
    var held = LatencyHistogram()
    for milliseconds in [1, 2, 600, 7_200_000] { held.add(.milliseconds(milliseconds)) }
    return [
        .number(.leases, labels: [pool, "served"], 41), .number(.leases, labels: [pool, "cut"], 0),
        .histogram(.hold, labels: [pool, "granted"], held), .number(.fenced, labels: [], 0),
    ]
}

func text(_ publication: Publication, _ format: Exposition.Format = .text, after: Duration = .zero) -> String {
    String(decoding: Exposition.render(publication, as: format, at: publication.began + after, wall: 1_800_000_000), as: UTF8.self)
}

@Suite struct ExpositionTests {
    @Test func poolsAreToldWithTheirNumbers() {
        let lines = text(sample()).split(separator: "\n")
        for line in [
            "# HELP leasehold_demand Jobs that have a worker plus jobs that wait for one: the number to scale on.",
            "# TYPE leasehold_demand gauge", #"leasehold_demand{pool="browsers"} 7"#, #"leasehold_endpoints{pool="browsers",state="free"} 3"#,
            #"leasehold_queue_oldest_seconds{pool="browsers"} 1.25"#, "# TYPE leasehold_leases_total counter",
            #"leasehold_leases_total{pool="browsers",outcome="served"} 41"#, #"leasehold_process_up{process="dispatcher"} 1"#,
        ] {
            #expect(lines.contains(Substring(line)), "\(line)")
        }
    }

    @Test func aHistogramsBucketsAddUp() {
        let lines = text(sample()).split(separator: "\n").filter { $0.hasPrefix("leasehold_hold_seconds") }
        #expect(lines.first == #"leasehold_hold_seconds_bucket{pool="browsers",outcome="granted",le="0.001"} 1"#)
        #expect(lines.contains(#"leasehold_hold_seconds_bucket{pool="browsers",outcome="granted",le="3600"} 3"#))
        #expect(
            lines.suffix(3) == [
                #"leasehold_hold_seconds_bucket{pool="browsers",outcome="granted",le="+Inf"} 4"#,
                #"leasehold_hold_seconds_sum{pool="browsers",outcome="granted"} 7200.603"#,
                #"leasehold_hold_seconds_count{pool="browsers",outcome="granted"} 4"#,
            ])
    }

    @Test func openMetricsNamesFamiliesWithoutTotalAndTellsWhenTheyBegan() {
        let all = text(sample(), .openMetrics)
        let lines = all.split(separator: "\n")
        for line in [
            "# TYPE leasehold_leases counter", #"leasehold_leases_total{pool="browsers",outcome="served"} 41"#,
            #"leasehold_leases_created{pool="browsers",outcome="served"} 1799999940"#, "# UNIT leasehold_hold_seconds seconds",
            #"leasehold_hold_seconds_bucket{pool="browsers",outcome="granted",le="1.0"} 3"#,
            #"leasehold_hold_seconds_created{pool="browsers",outcome="granted"} 1799999940"#,
        ] {
            #expect(lines.contains(Substring(line)), "\(line)")
        }
        #expect(all.hasSuffix("# EOF\n"))
        #expect(!text(sample()).contains("# EOF"))
        #expect(!text(sample()).contains("_created"))
    }

    @Test func whatIsUnknownIsNotShownAsNothing() {
        let publication = Publication(version: "1", processes: ["watcher"], pools: [.init(name: "a")], at: .zero)
        let all = text(publication)
        #expect(!all.contains("leasehold_demand"))
        #expect(all.contains(#"leasehold_process_up{process="watcher"} 0"#))
    }

    @Test func whatWasKnownIsKeptWhileThePoolKeeperIsAwayAndItsAgeIsTold() {
        var publication = sample()
        publication.stateDown(at: publication.began)
        publication.vitalsDown("pool-keeper", at: publication.began)
        let all = text(publication, after: .seconds(9))
        #expect(all.contains(#"leasehold_demand{pool="browsers"} 7"#))
        #expect(all.contains("leasehold_state_age_seconds 9"))
        #expect(all.contains(#"leasehold_leases_total{pool="browsers",outcome="served"} 41"#))
        #expect(all.contains(#"leasehold_process_up{process="pool-keeper"} 0"#))
        #expect(all.contains(#"leasehold_vitals_age_seconds{process="pool-keeper"} 9"#))
    }

    @Test func aNewInstanceCountsAsARestart() {
        var publication = sample()
        publication.vitalsDown("dispatcher", at: publication.began)
        publication.vitalsUp("dispatcher", instance: 3, at: publication.began)
        #expect(text(publication).contains(#"leasehold_process_restarts_total{process="dispatcher"} 0"#))
        publication.vitalsUp("dispatcher", instance: 77, at: publication.began)
        #expect(text(publication).contains(#"leasehold_process_restarts_total{process="dispatcher"} 1"#))
    }

    @Test func labelsAreEscaped() {
        var publication = sample()
        publication.heard(.begin(uptime: .zero), from: "watcher", at: publication.began)
        publication.heard(.number(.leases, labels: ["a\"b\\c\nd", "served"], 1), from: "watcher", at: publication.began)
        publication.heard(VitalsMessage.end, from: "watcher", at: publication.began)
        #expect(text(publication).contains(#"leasehold_leases_total{pool="a\"b\\c\nd",outcome="served"} 1"#))
    }

    @Test func aRoundThatIsNotWholeChangesNothing() {
        var publication = sample()
        publication.heard(.begin(uptime: .zero), from: "pool-keeper", at: publication.began)
        publication.heard(.number(.leases, labels: ["browsers", "served"], 99), from: "pool-keeper", at: publication.began)
        publication.vitalsDown("pool-keeper", at: publication.began)
        #expect(text(publication).contains(#"leasehold_leases_total{pool="browsers",outcome="served"} 41"#))
    }

    /// Every metric has a source, a sentence and a name of its own; what a name promises holds.
    @Test(arguments: Metric.allCases) func theTableIsSound(_ metric: Metric) {
        #expect(metric.name.hasPrefix("leasehold_"))
        #expect(metric.help.hasSuffix("."))
        #expect(metric.name.hasSuffix("_total") == (metric.kind == .counter))
        if metric.kind == .histogram { #expect(metric.name.hasSuffix("_seconds")) }
        for format in Exposition.Format.allCases {
            let family = FamilyWriter.family(metric.row, format)
            #expect(Metric.allCases.filter { FamilyWriter.family($0.row, format) == family }.count == 1, "\(family)")
        }
        #expect((metric.origin == .pools) == (Exposition.ofPools[metric] != nil))
        #expect((metric.origin == .publisher) == (Exposition.ofPublisher[metric] != nil))
        #expect(!Set(metric.labels).contains("le"))
    }

    /// Endpoints are counted where they are kept: 100 pools of 100,000 each are as many lines as 100 of one each. `make bench` has the time.
    @Test func aHundredPoolsOfAHundredThousandAreAsManyLinesAsOfOne() {
        let lines = [1, 100_000].map { (endpoints: UInt32) in
            var publication = sample(pools: (0..<100).map { "pool-\($0)" })
            for i in 0..<100 {
                var state = PoolState(pool: PoolID(name: "pool-\(i)"))
                state.free = endpoints
                publication.heard(.pool(state), at: publication.began)
            }
            return text(publication, .openMetrics).split(separator: "\n")
        }
        #expect(lines[0].count == lines[1].count && lines[0].count > 100)
        #expect(lines[0] != lines[1])
    }
}
