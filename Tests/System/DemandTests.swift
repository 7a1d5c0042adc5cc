import Foundation
import Linux
import Model
import TestKit
import Testing

/// Workers that the scaler starts and stops.
@Suite(.ownThread) struct DemandTests {
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

    @Test func demandStartsAsManyAsAreNeededAndNeverMoreThanMax() throws {
        let ports = try FreePorts.take(6)
        try Fleet.run(Self.configuration("max: 3\n      min: 1", ports), Fleet.Process.node) { fleet in
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
        try Fleet.run(Self.configuration(options, ports, pool: "quarantine: { first: 50ms, most: 50ms }"), Fleet.Process.node) {
            fleet in
            // Runs longer than `idle`, and is not stopped.
            let long = try fleet.call()
            try long.get("/render?ms=900&bytes=10")
            try fleet.waitPool("pods", "the long job to run") { $0.leases == 1 }
            let response = try fleet.fetch("/render?crash-before=1")
            try expectAnswer(response, 502, "worker-lost", error: "connection_terminated")
            let next = try fleet.fetch("/render?ms=1&bytes=5")
            #expect(next.status == 200, "\(next.status) \(next.text)")
            #expect(try long.readResponse().body.count == 10)
        }
    }

    /// Whoever dies: 8 workers, from nothing, under a crowd.
    @Test func allAreServedWhileTheScalerAndTheKeeperAreKilled() throws {
        let ports = try FreePorts.take(10)
        try Fleet.run(Self.configuration("max: 8", ports), Fleet.Process.node) { fleet in
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

}
