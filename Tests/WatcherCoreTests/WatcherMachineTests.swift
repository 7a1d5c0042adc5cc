import Kubernetes
import Model
import Testing
import WatcherCore
import Wire

@Suite struct WatcherMachineTests {
    private let web = PoolID(name: "web")

    // MARK: Unknown, live, stale

    @Test func nothingReadIsUnknownAndNeverEmpty() {
        var bench = Bench()
        #expect(bench.follower.health?.state == .unknown)
        bench.machine.greet(at: bench.now) { message in
            if case .snapshotBegin = message { Issue.record("an unknown state was given as a snapshot") }
        }
        bench.handle(.fileLoaded("a.yaml", manifest("a", "10.0.0.1")), .settled)
        #expect(bench.table().isEmpty, "half a first reading is no state")
        #expect(bench.follower.health?.state == .unknown)
        bench.handle(.scanCompleted(files: ["a.yaml"]))
        #expect(bench.table() == ["10.0.0.1:80"])
        #expect(bench.follower.health == SourceHealth(state: .live))
        #expect(bench.take().contains(.greetAll))
    }

    @Test func anEmptyDirectoryIsKnownToBeEmpty() {
        var bench = Bench()
        bench.start()
        #expect(bench.follower.health?.state == .live)
        #expect(bench.machine.isKnown)
    }

    @Test func aDirectoryThatWasNeverReadableStaysUnknown() {
        var bench = Bench()
        bench.handle(.directoryUnreadable("/x: No such file or directory; create it"))
        bench.pass(.seconds(60))
        bench.handle(.directoryUnreadable("/x: No such file or directory; create it"))
        #expect(bench.follower.health?.state == .unknown)
        #expect(bench.follower.health?.detail == "/x: No such file or directory; create it")
        #expect(bench.notices().count == 1)
        #expect(bench.machine.health(at: bench.now).age == .seconds(60))
    }

    @Test func aDirectoryThatBecomesUnreadableChangesNothingButTheHealth() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("a", "10.0.0.1")))
        let generation = bench.machine.generation
        bench.pass(.seconds(5))
        bench.handle(.directoryUnreadable("/x: Permission denied"))
        #expect(bench.table() == ["10.0.0.1:80"])
        #expect(bench.follower.health?.state == .stale)
        bench.pass(.seconds(30))
        #expect(bench.machine.health(at: bench.now).age == .seconds(30))
        bench.handle(.scanCompleted(files: ["a.yaml"]))
        #expect(bench.follower.health == SourceHealth(state: .live))
        #expect(bench.table() == ["10.0.0.1:80"])
        #expect(bench.machine.generation == generation)
    }

    @Test func whatChangedWhileTheDirectoryWasAwayIsOneStep() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("a", "10.0.0.1=u1", "10.0.0.2=u2")), ("b.yaml", manifest("b", "10.0.0.3=u3")))
        bench.handle(.directoryUnreadable("away"))
        _ = bench.take()
        bench.handle(.fileLoaded("a.yaml", manifest("a", "10.0.0.1=u1", "10.0.0.4=u4")), .scanCompleted(files: ["a.yaml"]))
        let sent = bench.take().compactMap { if case .send(let message) = $0 { message } else { nil } }
        #expect(sent.count == 4, "one comes, two go, and the health")
        #expect(bench.table() == ["10.0.0.1:80", "10.0.0.4:80"])
    }

    // MARK: Files

    @Test func aDeletedFileIsAnEvent() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("a", "10.0.0.1")), ("b.yaml", manifest("b", "10.0.0.2")))
        bench.handle(.fileRemoved("a.yaml"), .settled)
        #expect(bench.table() == ["10.0.0.2:80"])
        bench.handle(.fileRemoved("a.yaml"), .settled)
        #expect(bench.table() == ["10.0.0.2:80"])
        bench.handle(.fileRemoved("b.yaml"), .settled)
        #expect(bench.table().isEmpty)
        #expect(bench.follower.health?.state == .live)
    }

    @Test func aBrokenFileKeepsItsLastGoodVersionUntilItIsFixed() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("a", "10.0.0.1")), ("b.yaml", manifest("b", "10.0.0.2")))
        _ = bench.take()
        bench.pass(.seconds(1))
        bench.handle(.fileBroken("a.yaml", problem: "/d/a.yaml:3:1: expected a list"), .settled)
        #expect(bench.table() == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(bench.follower.health == SourceHealth(state: .stale, detail: "/d/a.yaml:3:1: expected a list"))
        let broken = bench.notices()
        #expect(broken.map(\.message) == ["A manifest cannot be read, continuing with its last good version"])
        #expect(broken.first?.facts.map(\.value) == ["a.yaml", "/d/a.yaml:3:1: expected a list"])
        bench.handle(.fileBroken("a.yaml", problem: "/d/a.yaml:3:1: expected a list"), .settled)
        #expect(bench.notices() == [], "the same problem is said once")
        bench.handle(.fileLoaded("b.yaml", manifest("b", "10.0.0.3")), .settled)
        #expect(bench.table() == ["10.0.0.1:80", "10.0.0.3:80"], "the other files go on")
        bench.handle(.fileLoaded("a.yaml", manifest("a", "10.0.0.4")), .settled)
        #expect(bench.table() == ["10.0.0.3:80", "10.0.0.4:80"])
        #expect(bench.follower.health == SourceHealth(state: .live))
        #expect(bench.notices() == [.fileMended("a.yaml")])
    }

    @Test func aBrokenFileThatIsDeletedTakesItsLastGoodVersionAlong() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("a", "10.0.0.1")))
        bench.handle(.fileBroken("a.yaml", problem: "broken"), .settled, .fileRemoved("a.yaml"), .settled)
        #expect(bench.table().isEmpty)
        #expect(bench.follower.health == SourceHealth(state: .live))
    }

    @Test func aFileThatWasNeverGoodDoesNotHideTheOthers() {
        var bench = Bench()
        bench.handle(.fileBroken("bad.yaml", problem: "/d/bad.yaml:1:1: no"), .fileLoaded("good.yaml", manifest("a", "10.0.0.1")))
        bench.handle(.scanCompleted(files: ["bad.yaml", "good.yaml"]))
        #expect(bench.table() == ["10.0.0.1:80"])
        #expect(bench.follower.health?.state == .stale)
        #expect(bench.notices().map(\.message).contains("A manifest cannot be read, continuing without it"))
        bench.handle(.fileRemoved("bad.yaml"), .settled)
        #expect(bench.follower.health?.state == .live)
    }

    @Test func aRenamedFileIsNoGap() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("a", "10.0.0.1")))
        _ = bench.take()
        bench.handle(.fileRemoved("a.yaml"), .fileLoaded("b.yaml", manifest("a", "10.0.0.1")), .settled)
        #expect(!bench.take().contains { if case .send = $0 { true } else { false } })
        #expect(bench.table() == ["10.0.0.1:80"])
    }

    @Test func anObjectInTwoFilesComesFromTheLastOneThatHasIt() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("same", "10.0.0.1")), ("b.yaml", manifest("same", "10.0.0.2")))
        #expect(bench.table() == ["10.0.0.2:80"])
        #expect(bench.notices().contains(.repeated("EndpointSlice shop/same", files: ["a.yaml", "b.yaml"])))
        bench.handle(.fileLoaded("a.yaml", manifest("same", "10.0.0.3")), .settled)
        #expect(bench.table() == ["10.0.0.2:80"])
        bench.handle(.fileLoaded("b.yaml", manifest("other", "10.0.0.4")), .settled)
        #expect(bench.table() == ["10.0.0.3:80", "10.0.0.4:80"])
        bench.handle(.fileLoaded("0.yaml", manifest("same", "10.0.0.5")), .fileRemoved("a.yaml"), .settled)
        #expect(bench.table() == ["10.0.0.4:80", "10.0.0.5:80"])
    }

    @Test func anObjectTwiceInOneFileIsTheLastOfThem() {
        var bench = Bench()
        bench.start(
            ("a.yaml", Manifest(slices: [makeSlice("same", ["10.0.0.1"]), makeSlice("same", ["10.0.0.2"])])),
            ("b.yaml", manifest("same", "10.0.0.3")))
        #expect(bench.notices().contains(.repeated("EndpointSlice shop/same", files: ["a.yaml"])))
        bench.handle(.fileRemoved("b.yaml"), .settled)
        #expect(bench.table() == ["10.0.0.2:80"])
        bench.handle(.fileRemoved("a.yaml"), .settled)
        #expect(bench.table().isEmpty)
    }

    @Test func otherKindsAreNamedOnce() {
        var bench = Bench()
        let ignored = Manifest(ignored: [
            .init(apiVersion: "apps/v1", kind: "Deployment"), .init(apiVersion: "apps/v1", kind: "Deployment"),
        ])
        bench.start(("a.yaml", ignored))
        #expect(bench.notices().contains(.ignored(file: "a.yaml", kinds: ["apps/v1 Deployment"])))
        bench.handle(.fileLoaded("a.yaml", ignored), .settled)
        #expect(bench.notices().isEmpty)
    }

    @Test func aLongOrUglyProblemStillFitsIntoAMessage() {
        var bench = Bench()
        bench.start()
        bench.handle(.fileBroken("a.yaml", problem: "key \u{1}\n" + String(repeating: "ü", count: 10_000)), .settled)
        let detail = bench.follower.health?.detail ?? ""
        #expect(detail.hasPrefix("key \\u{1}\\u{a}üü"))
        var writer = ByteWriter()
        EndpointsMessage.source(SourceHealth(state: .stale, detail: detail)).encode(into: &writer)
        var reader = ByteReader(writer.bytes)
        #expect(throws: Never.self) { try EndpointsMessage.decode(from: &reader) }
    }

    @Test func aThousandEqualMistakesAreNotAThousandLines() {
        var bench = Bench(pools: [pool("web", port: .name("grpc"))])
        bench.start(("a.yaml", Manifest(slices: (0..<1000).map { makeSlice("s\($0)", ["10.0.0.1"]) })))
        let notices = bench.notices()
        #expect(notices.count == 22)
        #expect(notices.contains(.furtherProblems(980)))
        #expect(bench.machine.problems.count == 101)
        #expect(bench.machine.problems.last == "and 900 more")
    }

    // MARK: Local workers

    @Test func localWorkersAreMergedWithTheSource() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("a", "10.0.0.1")))
        bench.handle(.workersLinkUp, .workersSaid(.snapshotBegin), .workersSaid(.upsert(pool: web, worker(21000))))
        #expect(bench.table() == ["10.0.0.1:80"], "half a snapshot is none")
        bench.handle(.workersSaid(.snapshotEnd))
        #expect(bench.table() == ["10.0.0.1:80", "127.0.0.1:21000 local"])
        bench.handle(.workersSaid(.upsert(pool: web, worker(21001))), .workersSaid(.remove(pool: web, worker(21000).id)))
        #expect(bench.table() == ["10.0.0.1:80", "127.0.0.1:21001 local"])
    }

    @Test func aScalerThatDiesLeavesItsWorkers() {
        var bench = Bench()
        bench.start()
        bench.handle(
            .workersLinkUp, .workersSaid(.snapshotBegin), .workersSaid(.snapshotEnd), .workersSaid(.upsert(pool: web, worker(21000))))
        bench.handle(.workersSaid(.upsert(pool: web, worker(21001))), .workersLinkDown)
        #expect(bench.table() == ["127.0.0.1:21000 local", "127.0.0.1:21001 local"])
        bench.handle(.workersLinkUp, .workersSaid(.snapshotBegin), .workersSaid(.upsert(pool: web, worker(21002))), .workersLinkDown)
        #expect(bench.table() == ["127.0.0.1:21000 local", "127.0.0.1:21001 local"], "a snapshot that was cut is none")
        bench.handle(
            .workersLinkUp, .workersSaid(.snapshotBegin), .workersSaid(.upsert(pool: web, worker(21001))), .workersSaid(.snapshotEnd))
        #expect(bench.table() == ["127.0.0.1:21001 local"])
    }

    @Test func localWorkersAreToldWhileTheSourceIsUnknown() {
        var bench = Bench()
        bench.handle(
            .workersLinkUp, .workersSaid(.snapshotBegin), .workersSaid(.upsert(pool: web, worker(21000))), .workersSaid(.snapshotEnd))
        #expect(bench.table() == ["127.0.0.1:21000 local"])
        #expect(bench.follower.health?.state == .unknown)
    }

    @Test func withoutASourceThereAreLocalWorkersAtOnce() {
        var bench = Bench(pools: [], source: .none)
        #expect(bench.follower.health == SourceHealth(state: .live))
        bench.handle(.workersLinkUp, .workersSaid(.upsert(pool: web, worker(21000))))
        #expect(bench.table() == ["127.0.0.1:21000 local"])
        bench.wake()
        #expect(!bench.take().contains(.scan))
    }

    @Test func oneWorkerUnderTwoNamesIsServedOnce() {
        var bench = Bench()
        bench.start(
            (
                "a.yaml",
                Manifest(slices: [
                    EndpointSlice(
                        metadata: ObjectMetadata(key: ObjectKey(namespace: "shop", name: "a"), serviceName: "web"), addressType: .ipv4,
                        ports: [.init(number: 21000)], endpoints: [.init(address: "127.0.0.1"), .init(address: "127.0.0.2")])
                ])
            ))
        #expect(bench.table() == ["127.0.0.1:21000", "127.0.0.2:21000"])
        bench.handle(.workersSaid(.upsert(pool: web, worker(21000))))
        #expect(bench.table() == ["127.0.0.1:21000 local", "127.0.0.2:21000"])
        bench.handle(.workersSaid(.remove(pool: web, worker(21000).id)))
        #expect(bench.table() == ["127.0.0.1:21000", "127.0.0.2:21000"])
    }

    @Test func aScalerThatNamesMoreWorkersThanThereArePortsIsSentAway() {
        var bench = Bench()
        var actions: [WatcherAction] = []
        for number in 0...65_536 {
            let endpoint = Endpoint(id: EndpointID(high: 1, low: UInt64(number)), uid: "\(number)", addresses: [.loopback(port: 1)])
            bench.machine.handle(.workersSaid(.upsert(pool: web, endpoint)), at: bench.now, &actions)
        }
        #expect(actions.last == .closeWorkers("more than 65536 local workers"))
    }

    // MARK: Saved state

    private func saved(_ age: Duration, generation: UInt64 = 40, _ endpoints: Endpoint...) -> SavedState {
        SavedState(
            generation: generation, age: age, endpoints: [web: Dictionary(uniqueKeysWithValues: endpoints.map { ($0.id, $0) })])
    }

    private func pod(_ address: String, uid: String = "") -> Endpoint {
        let location = SocketAddress(address)!
        return Endpoint(
            id: uid.isEmpty ? EndpointID(address: location) : EndpointID(uid: uid), uid: uid.isEmpty ? address : uid, addresses: [location],
            conditions: [.ready, .serving])
    }

    @Test func aSavedStateIsServedAsStaleUntilTheSourceGivesNewer() {
        var bench = Bench()
        bench.handle(.restored(saved(.seconds(90), pod("10.0.0.1:80"), pod("10.0.0.9:80"))))
        #expect(bench.table() == ["10.0.0.1:80", "10.0.0.9:80"])
        #expect(
            bench.follower.health
                == SourceHealth(state: .stale, age: .seconds(90), detail: "serving the saved state until the source is read"))
        bench.handle(.fileLoaded("a.yaml", manifest("a", "10.0.0.1", "10.0.0.2")), .settled)
        #expect(bench.table() == ["10.0.0.1:80", "10.0.0.9:80"], "not before the source is read whole")
        _ = bench.take()
        bench.handle(.scanCompleted(files: ["a.yaml"]))
        #expect(bench.table() == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(bench.follower.health?.state == .live)
        #expect(bench.machine.generation > 40)
        #expect(!bench.take().contains(.greetAll), "the difference is enough")
    }

    @Test func aSavedStateOutlivesAnUnreadableDirectory() {
        var bench = Bench()
        bench.handle(.restored(saved(.seconds(5), pod("10.0.0.1:80"))))
        bench.handle(.directoryUnreadable("/d: Permission denied"))
        #expect(bench.table() == ["10.0.0.1:80"])
        #expect(bench.follower.health?.state == .stale)
        #expect(bench.follower.health?.detail == "/d: Permission denied")
    }

    @Test func whatABrokenFileMayHoldIsKeptFromTheSavedState() {
        var bench = Bench()
        bench.handle(.restored(saved(.seconds(5), pod("10.0.0.1:80"), pod("10.0.0.2:80"))))
        bench.handle(
            .fileLoaded("a.yaml", manifest("a", "10.0.0.1")), .fileBroken("b.yaml", problem: "no"),
            .scanCompleted(files: ["a.yaml", "b.yaml"]))
        #expect(bench.table() == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(bench.follower.health?.state == .stale)
        bench.handle(.fileLoaded("a.yaml", manifest("a")), .settled)
        #expect(bench.table() == ["10.0.0.2:80"], "what the source has spoken of it may take back")
        bench.handle(.fileLoaded("b.yaml", manifest("b", "10.0.0.3")), .settled)
        #expect(bench.table() == ["10.0.0.3:80"])
        #expect(bench.follower.health?.state == .live)
    }

    @Test func savedLocalWorkersStayUntilTheScalerHasSpoken() {
        var bench = Bench()
        bench.handle(.restored(saved(.zero, worker(21000), worker(21001), pod("10.0.0.1:80"))))
        bench.start(("a.yaml", manifest("a", "10.0.0.1")))
        #expect(bench.table() == ["10.0.0.1:80", "127.0.0.1:21000 local", "127.0.0.1:21001 local"])
        bench.handle(
            .workersLinkUp, .workersSaid(.snapshotBegin), .workersSaid(.upsert(pool: web, worker(21001))), .workersSaid(.snapshotEnd))
        #expect(bench.table() == ["10.0.0.1:80", "127.0.0.1:21001 local"])
    }

    @Test func savedEndpointsThatTheConfigurationHasNoPlaceForAreDropped() {
        var bench = Bench(pools: [pool("other")], localPools: [])
        bench.handle(.restored(saved(.zero, worker(21000), pod("10.0.0.1:80"))))
        #expect(bench.table().isEmpty)
    }

    @Test func changesAreSavedSoonAndNotTooOften() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("a", "10.0.0.1")))
        var saves: [Instant] = []
        for step in 0..<200 {
            bench.pass(.milliseconds(100))
            bench.handle(.fileLoaded("a.yaml", manifest("a", "10.0.0.\(step)")), .settled, .wokeUp)
            if bench.take().contains(.save) { saves.append(bench.now) }
        }
        #expect((4...6).contains(saves.count), "20 s of changes, one saving in 5 s: \(saves.count)")
        #expect(saves[0] - Instant(nanoseconds: 1_000_000_000_000) <= .milliseconds(400))
    }

    @Test func aStateThatStaysIsConfirmedWhileInStep() {
        var bench = Bench()
        bench.start(("a.yaml", manifest("a", "10.0.0.1")))
        func count(_ action: WatcherAction, in actions: [WatcherAction]) -> Int { actions.filter { $0 == action }.count }
        let end = bench.now + .seconds(60)
        while bench.now < end { bench.wake(); bench.handle(.scanCompleted(files: ["a.yaml"])) }
        var actions = bench.take()
        #expect(count(.save, in: actions) == 1)
        #expect((5...6).contains(count(.confirmSaved, in: actions)))
        #expect((11...13).contains(count(.scan, in: actions)))
        bench.handle(.directoryUnreadable("away"))
        let later = bench.now + .seconds(60)
        while bench.now < later { bench.wake(); bench.handle(.directoryUnreadable("away")) }
        actions = bench.take()
        #expect(count(.confirmSaved, in: actions) == 0 && count(.save, in: actions) == 0)
        #expect((55...62).contains(count(.scan, in: actions)), "tried again every second")
    }

    @Test func anUnknownStateIsNeverSaved() {
        var bench = Bench()
        bench.handle(.workersLinkUp, .workersSaid(.upsert(pool: web, worker(21000))))
        for _ in 0..<100 { bench.wake(); bench.handle(.directoryUnreadable("away")) }
        #expect(!bench.take().contains(.save))
    }

    // MARK: Configuration

    @Test func newPoolsAreFilledFromWhatWasReadAndOldOnesEmptied() {
        var bench = Bench()
        bench.start(("a.yaml", Manifest(slices: [makeSlice("a", ["10.0.0.1"]), makeSlice("b", service: "api", ["10.0.0.2"])])))
        #expect(bench.table() == ["10.0.0.1:80"])
        bench.handle(.reconfigured(pools: [pool("api")], localPools: []))
        #expect(bench.table().isEmpty)
        #expect(bench.table("api") == ["10.0.0.2:80"])
        bench.handle(.reconfigured(pools: [pool("api"), pool("web", port: .name("grpc"))], localPools: []))
        #expect(bench.table().isEmpty)
        #expect(
            bench.notices().contains(
                .problem(.noSuchPort(.name("grpc"), pool: "web", slice: ObjectKey(namespace: "shop", name: "a"), has: "http 80"))))
    }
}
