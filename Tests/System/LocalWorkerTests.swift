import CLinux
import Foundation
import Linux
import Model
import TestKit
import Testing

/// Local workers: started for jobs that wait, stopped when nobody calls, found again, and never two on one port.
@Suite(.ownThread) struct LocalWorkerTests {
    private struct Row: Decodable {
        var pool: String
        var port: UInt16
        var pid: Int32
        var state: String
    }

    private static let everything = Fleet.Process.core + [.scaler]

    /// A pool with only local workers on `ports`.
    private func setup(_ ports: ClosedRange<UInt16>, _ more: String) -> String {
        """
        pools:
          - name: pods
            workers: { command: [leasehold-example-worker, --port, "{port}"], ports: \(ports.lowerBound)-\(ports.upperBound), \(more) }
        listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods }]
        """
    }

    /// Listens on a port of 127.0.0.1; negative when somebody else does.
    private func listener(_ port: UInt16) throws -> Int32 {
        let raw = lh_socket(AF_INET, Int32(SOCK_STREAM.rawValue))
        guard raw >= 0 else { throw TestFailure("socket: errno \(-raw)") }
        var address = lh_address(high: 0, low: 0x7f00_0001, port: port, family: 4)
        guard lh_set_option(Int32(raw), SOL_SOCKET, SO_REUSEADDR, 1) >= 0, lh_bind(Int32(raw), &address) >= 0,
            lh_listen(Int32(raw), 16) >= 0
        else {
            _ = lh_close(Int32(raw))
            return -1
        }
        return Int32(raw)
    }

    private func workers(_ fleet: Fleet) throws -> [Row] { try fleet.show("workers", of: .scaler) }

    private func waitWorkers(_ fleet: Fleet, _ what: String, _ condition: ([Row]) -> Bool) throws -> [Row] {
        var last: [Row] = []
        try fleet[.scaler].wait(what) {
            last = try workers(fleet)
            return condition(last)
        }
        return last
    }

    @Test func aHeldJobStartsTheFirstWorkerAndIsServedByIt() throws {
        try Fleet.run(setup(try FreePorts.take(2), "min: 0, max: 2"), Self.everything) { fleet in
            #expect(try workers(fleet).isEmpty)
            let response = try fleet.fetch("/render?ms=10&bytes=100")
            #expect(response.status == 200)
            let rows = try workers(fleet)
            #expect(rows.map { "\($0.pid)" } == [response["Worker-Pid"]])
        }
    }

    @Test func idleWorkersAreDrainedAndStoppedDownToTheMinimum() throws {
        try Fleet.run(setup(try FreePorts.take(3), "min: 1, max: 3, idle: 300ms"), Self.everything) { fleet in
            var callers: [RawCaller] = []
            for _ in 0..<3 {
                let caller = try fleet.call()
                try caller.get("/render?ms=500")
                callers.append(caller)
            }
            _ = try waitWorkers(fleet, "three workers") { $0.count == 3 }
            for caller in callers { #expect(try caller.readResponse().status == 200) }
            let left = try waitWorkers(fleet, "the minimum") { $0.count == 1 && $0[0].state == "ready" }
            #expect(try fleet.counter("drained", of: .scaler) == 2)
            #expect(try fleet.counter("exits", of: .scaler) == 2)
            try fleet.waitPool("pods", "one endpoint") { $0.total == 1 && $0.free == 1 }
            #expect(left.count == 1)
        }
    }

    @Test func scaleInStopsTheIdleOnesAndLeavesTheBusyOne() throws {
        try Fleet.run(setup(try FreePorts.take(3), "min: 0, max: 3, idle: 200ms"), Self.everything) { fleet in
            let long = try fleet.call()
            try long.get("/render?ms=5000&bytes=10")
            var short: [RawCaller] = []
            for _ in 0..<2 {
                let caller = try fleet.call()
                try caller.get("/render?ms=300")
                short.append(caller)
            }
            _ = try waitWorkers(fleet, "three workers") { $0.count == 3 }
            for caller in short { #expect(try caller.readResponse().status == 200) }
            let left = try waitWorkers(fleet, "the idle ones to be stopped") { $0.count == 1 }
            #expect(try fleet.pool("pods").leases == 1, "its job still runs")
            let response = try long.readResponse()
            #expect(response.status == 200 && response["Worker-Pid"] == "\(left[0].pid)")
        }
    }

    @Test func aWorkerThatCrashesIsReplacedAndItsSuccessorServes() throws {
        try Fleet.run(setup(try FreePorts.take(1), "min: 1, max: 1"), Self.everything) { fleet in
            let before = try waitWorkers(fleet, "a worker") { $0.first?.state == "ready" }
            _ = lh_kill(before[0].pid, SIGKILL)
            let after = try waitWorkers(fleet, "its successor") { $0.first.map { $0.state == "ready" && $0.pid != before[0].pid } ?? false }
            let response = try fleet.fetch("/render?ms=1")
            #expect(response.status == 200)
            #expect(response["Worker-Pid"] == "\(after[0].pid)")
        }
    }

    @Test func aScalerThatWasKilledFindsItsWorkersAgain() throws {
        try Fleet.run(setup(try FreePorts.take(2), "min: 2, max: 2"), Self.everything) { fleet in
            let before = try waitWorkers(fleet, "two workers") { $0.count == 2 && $0.allSatisfy { $0.state == "ready" } }
            let held = try fleet.call()
            try held.get("/render?ms=1500&bytes=5")
            try fleet.waitPool("pods", "a lease") { $0.leases == 1 }
            try fleet.restart(.scaler)
            #expect(try workers(fleet).map(\.pid).sorted() == before.map(\.pid).sorted())
            // The endpoints stayed the same ones all the time: the job went on, and nothing was quarantined.
            #expect(try held.readResponse().status == 200)
            #expect(try fleet.pool("pods").total == 2)
            #expect(try fleet.counter("starts", of: .scaler) == 0)
            // One that is not its child is watched all the same.
            _ = lh_kill(before[0].pid, SIGKILL)
            _ = try waitWorkers(fleet, "a successor") { rows in
                rows.count == 2 && rows.allSatisfy { $0.state == "ready" && $0.pid != before[0].pid }
            }
        }
    }

    @Test func aPortThatAnotherProcessHoldsIsLeftOutAndSaidSo() throws {
        let ports = try FreePorts.take(2)
        let orphan = try listener(ports.lowerBound)
        defer { _ = lh_close(orphan) }
        try Fleet.run(setup(ports, "min: 1, max: 2"), Self.everything) { fleet in
            let rows = try waitWorkers(fleet, "a worker") { $0.first?.state == "ready" }
            #expect(rows.map(\.port) == [ports.upperBound])
            #expect(try fleet[.scaler].output.contains("Another process listens on a worker's port"))
            #expect(try fleet.fetch("/render?ms=1").status == 200)
        }
    }

    @Test func theFleetStaysAsItIsWhileThePoolKeeperIsAway() throws {
        try Fleet.run(setup(try FreePorts.take(2), "min: 0, max: 2, idle: 100ms"), Self.everything) { fleet in
            #expect(try fleet.fetch("/render?ms=1").status == 200)
            try fleet[.poolKeeper].kill()
            try fleet[.scaler].wait("the scaler to notice") {
                try fleet.show("process", of: .scaler, as: Fleet.ProcessRow.self).status.contains("pool-keeper away")
            }
            let alone = try workers(fleet)
            _ = lh_kill(alone.first?.pid ?? 0, alone.isEmpty ? 0 : SIGKILL)
            if !alone.isEmpty {
                // Crashed workers come back, because they were part of the fleet.
                _ = try waitWorkers(fleet, "the same number again") { rows in
                    rows.count == alone.count && rows.allSatisfy { $0.state == "ready" && $0.pid != alone[0].pid }
                }
            }
            try fleet.launch(.poolKeeper)
            try fleet[.poolKeeper].waitForNotification("READY=1")
            #expect(try fleet.fetch("/render?ms=1").status == 200)
            _ = try waitWorkers(fleet, "nobody, without demand") { $0.isEmpty }
        }
    }

    @Test func aBrokenCommandIsTriedAgainWithPatience() throws {
        let config = setup(try FreePorts.take(4), "min: 1, max: 4").replacingOccurrences(of: "leasehold-example-worker", with: "/bin/false")
        try Fleet.run(config, Self.everything) { fleet in
            try fleet.waitCounter("exits", of: .scaler, atLeast: 3)
            // 250 ms, 500 ms, 1 s: by the third exit no second port was tried.
            #expect(try fleet.counter("starts", of: .scaler) <= 4)
        }
    }

    @Test func aSingleUseWorkerServesOneJobAndIsReplaced() throws {
        let config = setup(try FreePorts.take(3), "min: 0, max: 3").replacingOccurrences(
            of: "name: pods\n", with: "name: pods\n    reuse: never\n")
        try Fleet.run(config, Self.everything) { fleet in
            var pids: Set<String> = []
            for _ in 0..<7 {
                let response = try fleet.fetch("/render?ms=1")
                #expect(response.status == 200)
                pids.insert(response["Worker-Pid"] ?? "")
            }
            #expect(pids.count == 7)
        }
    }
}
