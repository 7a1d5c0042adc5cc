import Model
import Testing
import Wire

@testable import PublisherCore

@Suite struct PublicationTests {
    private func later(_ publication: Publication, _ seconds: Int64) -> Instant { publication.began + .seconds(seconds) }

    @Test func everythingHeardIsReady() {
        let publication = sample()
        let readiness = publication.readiness(serves: ["pool-keeper", "dispatcher", "watcher"], isDraining: false, at: publication.began)
        #expect(readiness.isReady)
        #expect(readiness.text.hasSuffix("ready\n"))
        #expect(!readiness.text.contains("[-]"))
    }

    @Test func eachReasonAgainstReadinessIsNamed() {
        var publication = sample()
        publication.stateDown(at: publication.began)
        publication.vitalsDown("dispatcher", at: publication.began)
        let readiness = publication.readiness(serves: ["dispatcher"], isDraining: true, at: later(publication, 3))
        #expect(!readiness.isReady)
        for line in ["[-]publisher is draining", "[-]state the pool-keeper is away since 3.0 s", "[-]dispatcher is away since 3.0 s", "[+]source is live", "not ready"] {
            #expect(readiness.text.contains(line + "\n"), "\(line)")
        }
    }

    @Test func aStaleSourceIsSaidAndServedAllTheSame() {
        var publication = sample()
        publication.heard(.source(SourceHealth(state: .stale, age: .seconds(5), detail: "away")), at: publication.began)
        let readiness = publication.readiness(serves: [], isDraining: false, at: later(publication, 2))
        #expect(readiness.isReady)
        #expect(readiness.text.contains("[!]source is stale since 7.0 s"))
    }

    @Test func nothingHeardIsNotReady() {
        let publication = Publication(version: "1", processes: ["watcher"], pools: [.init(name: "a")], at: .zero)
        #expect(!publication.readiness(serves: [], isDraining: false, at: .zero).isReady)
    }

    @Test func theOldestWaitGrowsWhileItIsTrueAndStandsStillWhenNobodyKnows() throws {
        var publication = sample()
        var pool = try #require(publication.pool(named: "browsers"))
        #expect(publication.state(of: pool, at: later(publication, 2))?.oldestWait == .milliseconds(3250))
        publication.stateDown(at: publication.began)
        pool = try #require(publication.pool(named: "browsers"))
        #expect(publication.state(of: pool, at: later(publication, 2))?.oldestWait == .milliseconds(1250))
    }

    @Test func aPoolThatTheNewSnapshotDoesNotNameIsGone() {
        var publication = sample(pools: ["a", "b"])
        publication.stateUp()
        publication.heard(.pool(PoolState(pool: PoolID(name: "a"))), at: publication.began)
        #expect(publication.pool(named: "b")?.isGone == false)
        publication.heard(StateMessage.snapshotEnd, at: publication.began)
        #expect(publication.pool(named: "b")?.isGone == true)
        #expect(!text(publication).contains(#"leasehold_demand{pool="b"}"#))
    }

    @Test func eventsThatAreToldAgainAfterAReconnectAreShownOnce() {
        var publication = sample()
        let event = VitalsEvent(level: .warning, text: "Away", facts: [.init(name: "reason", value: "x")], age: .seconds(1))
        publication.heard(.event(event), from: "watcher", at: later(publication, 5))
        var again = event
        again.age = .milliseconds(3_010)
        publication.heard(.event(again), from: "watcher", at: later(publication, 7))
        #expect(publication.events.count == 1)
        publication.heard(.event(event), from: "dispatcher", at: later(publication, 5))
        publication.heard(.event(event), from: "watcher", at: later(publication, 60))
        #expect(publication.events.count == 3)
    }

    @Test func eventsAreBoundedAndTheOldestGo() {
        var publication = sample()
        for i in 0..<(Publication.Limits.events + 50) {
            publication.heard(.event(VitalsEvent(level: .notice, text: "\(i)")), from: "watcher", at: later(publication, Int64(i) * 2))
        }
        #expect(publication.events.count == Publication.Limits.events)
        #expect(publication.events.last?.event.text == "\(Publication.Limits.events + 49)")
        #expect(publication.events.first?.event.text == "50")
    }

    @Test func aProcessThatTellsTooMuchIsCutAndCounted() {
        var publication = sample()
        publication.heard(.begin(uptime: .zero), from: "watcher", at: publication.began)
        for i in 0..<(Publication.Limits.series + 3) {
            publication.heard(.number(.refused, labels: ["a", "\(i)"], 1), from: "watcher", at: publication.began)
        }
        publication.heard(VitalsMessage.end, from: "watcher", at: publication.began)
        #expect(publication.seriesDropped == 3)
        #expect(publication.processes[0].series.count == Publication.Limits.series)
    }

    @Test func aPageIsToldCellsAndEventsOnceAndItsStatusAlways() {
        var publication = sample()
        publication.heard(.cells(pool: PoolID(name: "browsers"), total: 3, states: [1, 2, 5]), at: publication.began)
        publication.heard(.event(VitalsEvent(level: .notice, text: "Ready")), from: "watcher", at: publication.began)
        var view = PageView()
        let first = String(decoding: view.next(publication, at: publication.began, wall: 1), as: UTF8.self)
        #expect(first.contains("event: status\n"))
        #expect(first.contains(#""states":"flq""#))
        #expect(first.contains("event: news\n"))
        let second = String(decoding: view.next(publication, at: publication.began, wall: 2), as: UTF8.self)
        #expect(second.contains("event: status\n"))
        #expect(!second.contains("event: cells"))
        #expect(!second.contains("event: news"))
        publication.heard(.cells(pool: PoolID(name: "browsers"), total: 1, states: [6]), at: publication.began)
        #expect(String(decoding: view.next(publication, at: publication.began, wall: 3), as: UTF8.self).contains(#""states":"d""#))
    }

    @Test func textIsEscapedInJSON() {
        var text = JSONText()
        text.object {
            $0.value("a\"b", "c\\d\n\u{1}é")
            $0.value("n", Double.nan)
            $0.array("e") { _ in }
        }
        #expect(String(decoding: text.bytes, as: UTF8.self) == #"{"a\"b":"c\\d\u000a\u0001é","n":null,"e":[]}"#)
    }

    @Test func pressureSaysFullWhenNobodyMoreMayWait() {
        let publication = sample()
        func document(_ capacity: Int) -> String {
            publication.pressureDocument(pool: nil, capacity: { _ in capacity }, recentlyRejected: 4, wall: 1).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        #expect(document(100).contains(#""isAvailable":true"#))
        #expect(document(100).contains(#""recentlyRejected":4"#))
        #expect(publication.pressureDocument(pool: "nobody", capacity: { _ in 1 }, recentlyRejected: 0, wall: 1) == nil)
        let blind = Publication(version: "1", processes: [], pools: [.init(name: "a")], at: .zero)
        let unknown = String(decoding: blind.pressureDocument(pool: nil, capacity: { _ in 9 }, recentlyRejected: 0, wall: 1) ?? [], as: UTF8.self)
        #expect(unknown.contains(#""reason":"unknown""#))
        #expect(unknown.contains(#""isAvailable":false"#))
    }
}
