import Foundation
import Model
import Testing

@testable import ServiceKit

@Suite struct ConfigurationValues {
    @Test(arguments: fixtureNames(in: "\(configurationFixtures)/valid", ending: ".yaml"))
    func aValidFileSaysTheSameWhenPrintedAndReadAgain(name: String) throws {
        let configuration = try Configuration.load(path: "\(configurationFixtures)/valid/\(name).yaml")
        let printed = configuration.describe()
        #expect(try parse(printed.yaml).describe() == printed)
        // JSON is YAML.
        #expect(try parse(printed.json).describe() == printed)
        #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(printed.json.utf8)) }
        #expect(configuration.changesNeedingRestart(from: configuration).isEmpty)
    }

    @Test func theSampleMeansWhatItSays() throws {
        let configuration = try Configuration.load(path: "\(configurationFixtures)/valid/sample.yaml")
        #expect(configuration.runtimeDirectory == "/run/leasehold")
        #expect(configuration.stateDirectory == "/var/lib/leasehold")
        #expect(configuration.source == SourceConfiguration(directory: "/etc/leasehold/endpoints.d"))
        #expect(configuration.recoveryGrace == .seconds(2))
        #expect(configuration.adoptWithin == .seconds(10))
        #expect(configuration.logJobs == .errors)
        #expect(configuration.dispatcher.threads == 1)
        #expect(configuration.publisher?.address == .ip(.loopback(port: 9808)))
        let pool = try #require(configuration.pool(named: "browsers"))
        #expect(configuration.pool(PoolID(name: "browsers")) == pool)
        #expect(pool.service == ServiceName(namespace: "shop", name: "browsers"))
        #expect(pool.port == .name("http"))
        let workers = try #require(pool.workers)
        #expect(workers.command == ["leasehold-example-worker", "--port", "{port}"])
        #expect(workers.ports.ranges == [21_000...21_063])
        #expect(workers.ports.count == 64)
        #expect(workers.min == 0)
        #expect(workers.most == 8)
        let listener = try #require(configuration.listeners.first)
        #expect(listener.address == .ip(.loopback(port: 8080)))
        #expect(listener.transport == .http)
        #expect(listener.routes.map(\.pool) == ["browsers"])
        #expect(listener.routes.map(\.host) == [.any])
        #expect(listener.deadlines.job == nil)
        #expect(listener.deadlines.tunnelIdle == .seconds(3_600))
        #expect(listener.limits.body == nil)
        #expect(listener.trust.headers == [.tenant, .affinity, .priority, .forwarded])
    }

    @Test func aPoolWithoutSettingsHasThePolicysDefaults() throws {
        let pool = try #require(try parse("source: { directory: /e }\npools: [{ name: a, service: x/y }]\n").pools.first)
        #expect(pool.policy == PoolPolicy(name: "a"))
        #expect(pool.port == .only)
    }

    @Test func aPoolsSettingsReachItsPolicy() throws {
        let pool = try #require(
            try parse(
                """
                source: { directory: /e }
                pools:
                  - name: a
                    service: x/y
                    slots: 4
                    hold: { timeout: 10s, no-endpoints-timeout: 2m, max-queued: 7 }
                    tenants: { acme: { weight: 3, max-leased: 20, max-queued: 500 }, default: { weight: 2 } }
                    queue: { age-after: 10s, shed: oldest, max-bytes: 1MiB }
                    affinity: { wait: 4s }
                    reserve: 1
                    dial: { timeout: 500ms, by: 3s }
                    quarantine: { first: 1s, most: 8s }
                    reuse: when-ready
                    settle: 4s
                    order: pack
                    health: { path: /healthz, interval: 5s, timeout: 2s }
                """
            ).pools.first)
        var expected = PoolPolicy(name: "a")
        expected.slots = 4
        expected.holdTimeout = .seconds(10)
        expected.noEndpointsTimeout = .seconds(120)
        expected.maxQueued = 7
        expected.tenants = [.init(name: "default", weight: 2), .init(name: "acme", weight: 3, maxLeased: 20, maxQueued: 500)]
        expected.ageAfter = .seconds(10)
        expected.shed = .oldest
        expected.maxBytes = 1 << 20
        expected.affinityWait = .seconds(4)
        expected.reserve = 1
        expected.dialBy = .seconds(3)
        expected.quarantine = .init(first: .seconds(1), most: .seconds(8))
        expected.reuse = .whenReady(settle: .seconds(4))
        expected.order = .pack
        expected.health = .init(path: "/healthz", interval: .seconds(5), timeout: .seconds(2))
        #expect(pool.policy == expected)
    }

    @Test func noEndpointsFollowsTheHoldTimeout() throws {
        let pool = try #require(
            try parse("source: { directory: /e }\npools: [{ name: a, service: x/y, hold: { timeout: 5s } }]\n").pools.first)
        #expect(pool.policy.noEndpointsTimeout == .seconds(5))
    }

    @Test func poolsAndListenersBeginWithTheDefaultsAndMaySayOtherwise() throws {
        let configuration = try parse(
            """
            source: { directory: /e }
            pools:
              - { name: a, service: x/a }
              - { name: b, service: x/b, hold: { max-queued: 1 }, health: { path: /b } }
            listeners:
              - { name: h, address: "127.0.0.1:1", pool: a }
              - { name: t, address: "127.0.0.1:2", protocol: tcp, pool: b, deadlines: { job: 0 } }
            defaults:
              pool: { slots: 2, hold: { timeout: 5s, max-queued: 9 }, health: { path: /ok, interval: 3s } }
              listener: { deadlines: { head: 3s, job: 1h }, parked-fin: pass-on }
            """)
        #expect(configuration.pools.map(\.slots) == [2, 2])
        #expect(configuration.pools.map(\.hold.timeout) == [.seconds(5), .seconds(5)])
        #expect(configuration.pools.map(\.hold.maxQueued) == [9, 1])
        #expect(configuration.pools.map(\.health?.path) == ["/ok", "/b"])
        #expect(configuration.pools.map(\.health?.interval) == [.seconds(3), .seconds(3)])
        #expect(configuration.listeners.map(\.deadlines.head) == [.seconds(3), .seconds(3)])
        #expect(configuration.listeners.map(\.deadlines.job) == [.seconds(3_600), nil])
        let printed = configuration.describe()
        #expect(try parse(printed.yaml).describe() == printed)
    }

    @Test func aSourceIsNotNeededWhenEveryPoolHasOnlyWorkers() throws {
        let configuration = try parse("pools: [{ name: a, workers: { command: [w], ports: 9000 } }]\n")
        #expect(configuration.source == nil)
        #expect(configuration.pools.first?.workers?.most == 1)
    }

    @Test func relativePathsBeginAtTheFilesDirectory() throws {
        let text = """
            runtime-directory: run
            state-directory: ../state
            source: { directory: ./endpoints.d/ }
            pools: [{ name: a, service: x/y }]
            listeners: [{ name: h, address: "unix:run/http.sock", pool: a }]
            """
        let configuration = try Configuration.parse(text, file: "/srv/lh/leasehold.yaml")
        #expect(configuration.runtimeDirectory == "/srv/lh/run")
        #expect(configuration.stateDirectory == "/srv/state")
        #expect(configuration.source?.directory == "/srv/lh/endpoints.d")
        #expect(configuration.listeners.first?.address == .unix("/srv/lh/run/http.sock"))
    }

    @Test func addressesThatDoNotClashMayShareAPort() throws {
        let configuration = try parse(
            """
            source: { directory: /e }
            pools: [{ name: a, service: x/y }]
            listeners:
              - { name: a, address: "127.0.0.1:80", pool: a }
              - { name: b, address: "127.0.0.2:80", pool: a }
              - { name: c, address: "[::]:80", pool: a }
              - { name: d, address: "127.0.0.1:0", pool: a }
              - { name: e, address: "127.0.0.1:0", pool: a }
            """)
        #expect(configuration.listeners.count == 5)
    }

    @Test(arguments: [
        ("250ms", Duration.milliseconds(250)), ("2s", .seconds(2)), ("5m", .seconds(300)), ("1h", .seconds(3_600)), ("0", .zero),
        ("0s", .zero), ("8784h", .seconds(8_784 * 3_600)),
    ])
    func aDurationIsReadAndWrittenInItsLargestUnit(text: String, duration: Duration) throws {
        let configuration = try parse("pools: [{ name: a, workers: { command: [w], ports: 9000, idle: \(text) } }]\n")
        #expect(configuration.pools.first?.workers?.idle == duration)
        #expect(durationText(duration) == (duration == .zero ? "0" : text))
    }

    @Test(arguments: [("64KiB", 65_536), ("1MiB", 1_048_576), ("2GiB", 2_147_483_648), ("4097", 4_097), ("0", 0)])
    func aSizeIsReadAndWrittenInItsLargestUnit(text: String, bytes: Int) throws {
        let configuration = try parse(
            "source: { directory: /e }\npools: [{ name: a, service: x/y }]\n"
                + "listeners: [{ name: h, address: \"127.0.0.1:1\", pool: a, limits: { body: \(text) } }]\n")
        #expect(configuration.listeners.first?.limits.body == (bytes == 0 ? nil : bytes))
        #expect(sizeText(bytes) == text)
    }

    @Test(arguments: [("all", LogJobs.all), ("errors", .errors), ("1/100", .sample(100)), ("1/1", .sample(1))])
    func jobsAreLoggedAsAsked(text: String, expected: LogJobs) throws {
        #expect(try parse("log-jobs: \(text)\npools: [{ name: a, workers: { command: [w], ports: 9000 } }]\n").logJobs == expected)
    }

    @Test(arguments: [
        ("\"*\"", HostPattern.any), ("App.Example.org.", .exact("app.example.org")), ("\"*.Example.org\"", .suffix(".example.org")),
        ("localhost", .exact("localhost")), ("10.0.0.1", .exact("10.0.0.1")),
    ])
    func aHostIsComparedInLowerCaseWithoutItsLastDot(text: String, expected: HostPattern) throws {
        let configuration = try parse(
            "source: { directory: /e }\npools: [{ name: a, service: x/y }]\n"
                + "listeners: [{ name: h, address: \"127.0.0.1:1\", routes: [{ host: \(text), path: /a/, pool: a }] }]\n")
        #expect(configuration.listeners.first?.routes.first?.host == expected)
        #expect(configuration.listeners.first?.routes.first?.path == "/a")
    }

    @Test func trustIsByNetworkOrUnixSocket() throws {
        let configuration = try parse(
            """
            source: { directory: /e }
            pools: [{ name: a, service: x/y }]
            listeners: [{ name: h, address: "127.0.0.1:1", pool: a, trust: { from: [10.0.0.0/8, "fd00::/8", 192.0.2.1, unix], headers: [tenant] } }]
            """)
        let trust = try #require(configuration.listeners.first?.trust)
        #expect(trust.includes(SocketAddress("10.2.3.4:5")))
        #expect(trust.includes(SocketAddress("[::ffff:10.2.3.4]:5")))
        #expect(trust.includes(SocketAddress("[fd12::1]:5")))
        #expect(trust.includes(SocketAddress("192.0.2.1:5")))
        #expect(trust.includes(nil))
        #expect(!trust.includes(SocketAddress("192.0.2.2:5")))
        #expect(!trust.includes(SocketAddress("[fe80::1]:5")))
        #expect(trust.headers == [.tenant])
        #expect(!ListenerConfiguration.Trust().includes(nil))
    }
}

@Suite struct ConfigurationReload {
    private let old = """
        source: { directory: /e }
        pools: [{ name: a, service: x/y }, { name: b, workers: { command: [w], ports: 9000 } }]
        listeners:
          - { name: one, address: "127.0.0.1:1", pool: a }
          - { name: two, address: "127.0.0.1:2", pool: a }
        """

    private func changes(_ edit: (String) -> String) throws -> [String] {
        try parse(edit(old)).changesNeedingRestart(from: try parse(old))
    }

    @Test func whatCanChangeAtRunTimeIsNotNamed() throws {
        #expect(
            try changes {
                $0.replacing("ports: 9000", with: "ports: 9000-9009, max: 3").replacing("command: [w]", with: "command: [v, \"{port}\"]")
            } == [])
        #expect(try changes { $0.replacing("service: x/y", with: "service: x/y, slots: 3, hold: { timeout: 1s }") } == [])
        #expect(try changes { $0.replacing("pool: a }", with: "pool: b, deadlines: { head: 1s } }") } == [])
        #expect(try changes { $0.replacing("{ name: b,", with: "{ name: c, service: x/z }, { name: b,") } == [])
    }

    @Test func aListenersAddressNeedsARestart() throws {
        #expect(
            try changes { $0.replacing("127.0.0.1:2", with: "127.0.0.1:3") } == ["listeners[two].address: 127.0.0.1:2 → 127.0.0.1:3"])
    }

    @Test func theSetAndOrderOfListenersNeedARestart() throws {
        #expect(try changes { $0.replacing("name: two", with: "name: three") } == ["listeners: [one, two] → [one, three]"])
        #expect(
            try changes { $0.replacing("name: two", with: "name: x").replacing("name: one", with: "name: two") }.first
                == "listeners: [one, two] → [two, x]")
    }

    @Test func directoriesThreadsAndSourceNeedARestart() throws {
        let edited = try changes {
            "runtime-directory: /r\nstate-directory: /s\ndispatcher: { threads: 2 }\npublisher: {}\n"
                + $0.replacing("directory: /e", with: "directory: /f")
        }
        #expect(
            edited == [
                "runtime-directory: /run/leasehold → /r", "state-directory: /var/lib/leasehold → /s", "source.directory: /e → /f",
                "publisher.address: absent → 127.0.0.1:9808", "publisher.hosts: absent → []", "dispatcher.threads: 1 → 2",
            ])
    }

    @Test func aSourceThatGoesNeedsARestart() throws {
        let workersOnly = "pools: [{ name: b, workers: { command: [w], ports: 9000 } }]\n"
        #expect(
            try parse(workersOnly).changesNeedingRestart(from: try parse("source: { directory: /e }\n" + workersOnly))
                == ["source.directory: /e → absent"])
    }
}

@Suite struct NearestWords {
    private let words = ["timeout", "max-queued", "no-endpoints-timeout", "first", "most"]

    @Test(arguments: [
        ("timeuot", "timeout"), ("time-out", "timeout"), ("max_queued", "max-queued"), ("noendpoints-timeout", "no-endpoints-timeout"), ("frist", "first"),
        ("Most", "most"), ("max", "max-queued"),
    ])
    func aSlipFindsItsWord(slip: String, word: String) { #expect(nearestWord(to: slip, among: words) == word) }

    @Test(arguments: ["", "x", "colour", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"])
    func somethingElseFindsNone(text: String) { #expect(nearestWord(to: text, among: words) == nil) }
}
