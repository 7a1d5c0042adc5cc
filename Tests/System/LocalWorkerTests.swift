import Foundation
import Linux
import Model
import TestKit
import Testing

/// Workers that the scaler starts and stops.
@Suite(.ownThread) struct LocalWorkerTests {
    private static func configuration(_ workers: String, _ ports: ClosedRange<UInt16>, pool: String = "", top: String = "") -> String {
        """
        pools:
          - name: pods
            \(pool)
            workers:
              command: [\(Fleet.executable("leasehold-example-worker")), --port, "{port}"]
              ports: \(ports.lowerBound)-\(ports.upperBound)
              \(workers)
        listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods }]
        \(top)
        """
    }

    @Test func aJobStartsTheFirstWorkerAndIdlenessStopsTheLast() throws {
        let ports = try FreePorts.take(4)
        try Fleet.run(Self.configuration("idle: 300ms", ports), Fleet.Process.allCases) { fleet in
            #expect(try fleet.pool("pods").total == 0)
            let response = try fleet.fetch("/render?ms=1&bytes=10")
            #expect(response.status == 200)
            #expect(response.body.count == 10)
            try fleet.waitPool("pods", "no worker any more") { $0.total == 0 }
            // And again from zero.
            #expect(try fleet.fetch("/render?ms=1&bytes=10").status == 200)
        }
    }

    @Test func demandStartsAsManyAsAreNeededAndNeverMoreThanMax() throws {
        let ports = try FreePorts.take(6)
        try Fleet.run(Self.configuration("max: 3\n      min: 1", ports), Fleet.Process.allCases) { fleet in
            try fleet.waitPool("pods", "the one of min") { $0.total == 1 }
            let crowd = Crowd(of: 12, rounds: 3, at: try fleet.listener()) { _, _ in
                "GET /render?ms=30&bytes=10 HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            crowd.start()
            try fleet.waitPool("pods", "the three of max") { $0.total == 3 }
            try crowd.finish()
            let pids = Set(crowd.answers.compactMap { $0.response["Worker-Pid"] })
            #expect(pids.count == 3)
            #expect(crowd.answers.allSatisfy { $0.response.status == 200 })
            for row in try fleet.endpoints() {
                #expect(row.local)
                let caller = try RawCaller(to: #require(SocketAddress(row.addresses[0])))
                let stats = try JSONDecoder().decode(ExampleWorker.Stats.self, from: Data(caller.fetch("/stats", "Connection: close").body))
                #expect(stats.concurrentSecondJobs == 0)
            }
        }
    }

    @Test func aCrashedWorkerComesBackAndALeasedOneIsNeverStopped() throws {
        let ports = try FreePorts.take(4)
        let options = "max: 2\n      idle: 200ms\n      backoff: { first: 50ms, most: 100ms }"
        try Fleet.run(Self.configuration(options, ports, pool: "quarantine: { first: 50ms, most: 50ms }"), Fleet.Process.allCases) {
            fleet in
            // Runs longer than `idle`, and is not stopped.
            let long = try fleet.call()
            try long.get("/render?ms=900&bytes=10")
            try fleet.waitPool("pods", "the long job to run") { $0.leases == 1 }
            let response = try fleet.fetch("/render?crash-before=1")
            try expectAnswer(response, 502, "worker-lost", error: "connection_terminated")
            #expect(try fleet.fetch("/render?ms=1&bytes=5").status == 200)
            #expect(try long.readResponse().body.count == 10)
        }
    }

    @Test func workersOutliveTheScalerAndAreFoundAgain() throws {
        let ports = try FreePorts.take(4)
        try Fleet.run(Self.configuration("min: 2\n      max: 2", ports), Fleet.Process.allCases) { fleet in
            try fleet.waitPool("pods", "two workers") { $0.total == 2 && $0.free == 2 }
            func pids() throws -> Set<String> {
                // The least recently used comes first: two requests meet two workers.
                Set(
                    try (0..<2).map { _ in
                        try fleet.waitPool("pods", "both free") { $0.free == 2 }
                        return try #require(try fleet.fetch("/render?bytes=1")["Worker-Pid"])
                    })
            }
            let before = try pids()
            try fleet[.scaler].kill()
            #expect(try pids() == before, "the fleet stays as it is")
            try fleet.launch(.scaler)
            try fleet[.scaler].waitForNotification("READY=1")
            try fleet[.poolKeeper].wait("both still there, and local") { try fleet.endpoints().filter { $0.local && !$0.gone }.count == 2 }
            #expect(try pids() == before)
            // It is really its own again: what dies comes back.
            let victim = try #require(before.first.flatMap { Int32($0) })
            kill(victim, SIGKILL)
            // A request that meets it in the moment of its death is lost with it, so nobody calls before it is noticed.
            try fleet[.scaler].wait("its death to be noticed") { Foundation.kill(victim, 0) != 0 }
            try fleet.waitPool("pods", "a new worker in its place") { $0.free == 2 }
            #expect(try !pids().contains("\(victim)"))
        }
    }

    @Test func aPortThatAStrangerHoldsIsLeftOutAndSaidSo() throws {
        let ports = try FreePorts.take(3)
        let stranger = try TestWorker(port: ports.lowerBound, http: { _, _ in Reply.ok("stranger") })
        defer { stranger.stop() }
        try Fleet.run(Self.configuration("min: 2", ports), Fleet.Process.allCases) { fleet in
            try fleet.waitPool("pods", "two workers on the other ports") { $0.total == 2 }
            for _ in 0..<4 { #expect(try fleet.fetch("/render?bytes=7").body.count == 7) }
            try fleet[.scaler].wait("it to be said") { try fleet[.scaler].output.contains("\(ports.lowerBound)") }
            #expect(stranger.jobs == 0)
        }
    }

    /// Whoever dies: 8 workers, from nothing, under a crowd.
    @Test func allAreServedWhileTheScalerAndTheKeeperAreKilled() throws {
        let ports = try FreePorts.take(10)
        try Fleet.run(Self.configuration("max: 8", ports), Fleet.Process.allCases) { fleet in
            let crowd = Crowd(of: 60, rounds: 8, at: try fleet.listener()) { _, _ in "GET /render?ms=3&bytes=50 HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            crowd.start()
            var kills = 0
            while kills < 6, try crowd.wait(forAnswers: kills * 60) {
                try fleet.restart([Fleet.Process.scaler, .poolKeeper, .watcher][kills % 3])
                kills += 1
            }
            try crowd.finish()
            #expect(crowd.answers.count == 480)
            #expect(crowd.answers.allSatisfy { $0.response.status == 200 })
            for row in try fleet.endpoints() where !row.gone {
                let caller = try RawCaller(to: #require(SocketAddress(row.addresses[0])))
                let stats = try JSONDecoder().decode(ExampleWorker.Stats.self, from: Data(caller.fetch("/stats", "Connection: close").body))
                #expect(stats.concurrentSecondJobs == 0)
            }
        }
    }

    /// The same executables under `leasehold up`: sockets passed, dead processes replaced, everything ended together.
    @Test func upRunsEverythingReplacesWhatDiesAndEndsTogether() throws {
        let ports = try FreePorts.take(4)
        let fleet = try Fleet(Self.configuration("max: 2", ports))
        defer { fleet.close() }
        struct Ready: Decodable {
            struct Listener: Decodable { var address: String }
            var processes: [String: Int32]
            var listeners: [Listener]
        }
        let readyFile = "\(fleet.directory)/ready.json"
        let up = try fleet.spawn(
            "up", Fleet.executable("leasehold"), ["up", "--config", fleet.configurationPath, "--ready-file", readyFile])
        var ready: Ready?
        try up.wait("leasehold up to be ready") {
            ready = (FileManager.default.contents(atPath: readyFile)).flatMap { try? JSONDecoder().decode(Ready.self, from: $0) }
            return ready != nil
        }
        let report = try #require(ready)
        #expect(Set(report.processes.keys) == Set(Fleet.Process.allCases.map(\.rawValue)))
        let address = try #require(SocketAddress(report.listeners[0].address))
        func served() throws -> HTTPMessage { try RawCaller(to: address).fetch("/render?ms=1&bytes=10") }
        #expect(try served().status == 200)
        for process in Fleet.Process.allCases {
            let victim = try #require(report.processes[process.rawValue])
            kill(victim, SIGKILL)
            #expect(try served().status == 200, "\(process) was killed")
        }
        try up.wait("all of them replaced") {
            let text = try fleet.leasehold("show", "processes", "--json").output
            struct Row: Decodable {
                var pid: Int32
                var ready: Bool
            }
            guard let rows = try? JSONDecoder().decode([Row].self, from: Data(text.utf8)) else { return false }
            return rows.count == 4 && rows.allSatisfy { $0.ready && !report.processes.values.contains($0.pid) }
        }
        up.signal(SIGTERM)
        #expect(try up.waitForExit() == .status(0))
        for port in ports { #expect(throws: (any Error).self, "no worker is left") { try RawCaller(to: .loopback(port: port)) } }
    }
}
