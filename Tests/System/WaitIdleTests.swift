import Foundation
import Linux
import Model
import TestKit
import Testing

/// Scaling in without a job lost: which workers are idle, and a preStop hook that waits for those that are not.
@Suite(.ownThread) struct WaitIdleTests {
    /// A fleet with one worker whose jobs to `/held` wait for the gate, and one of them running.
    private func withHeldJob(_ body: (Fleet, Gate, RawCaller, SocketAddress) throws -> Void) throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/held" { try gate.wait() }
                return Reply.ok(request.target)
            }
            let caller = try fleet.call()
            try caller.get("/held")
            try worker.wait("the job") { $0.running == 1 }
            try body(fleet, gate, caller, worker.address)
        }
    }

    private func start(_ fleet: Fleet, _ arguments: String...) throws -> Daemon {
        try fleet.spawn("wait-idle", Fleet.executable("leasehold"), ["wait-idle"] + arguments + ["--config", fleet.configurationPath])
    }

    @Test(arguments: ["uid", "address", "address with port"]) func itDrainsAndEndsWhenTheLeaseEnds(_ how: String) throws {
        try withHeldJob { fleet, gate, caller, address in
            let helper: Daemon
            switch how {
            case "uid": helper = try start(fleet, "worker")
            case "address": helper = try start(fleet, "--address", address.ip)
            default: helper = try start(fleet, "--address", address.description)
            }
            try fleet[.poolKeeper].wait("the drain, on disk") {
                (try? String(contentsOfFile: fleet.stateDirectory + "/pool-keeper/held-back", encoding: .utf8))?.contains("drain ") ?? false
            }
            let late = try fleet.call()
            try late.get("/late")
            try fleet.waitPool("pods", "the late caller to wait") { $0.queued == 1 }
            #expect(helper.isRunning)
            // The pool-keeper may go and come: the drain is on disk, and the lease is told again.
            try fleet.restart(.poolKeeper)
            try fleet.waitPool("pods", "recovery") { !$0.waitsForRecovery && $0.leases == 1 }
            #expect(helper.isRunning, "\(helper.output)")
            gate.open()
            #expect(try caller.readResponse().text == "/held")
            #expect(try helper.waitForExit() == .status(0))
            #expect(try fleet.pool("pods").draining == 1)
            // It was not given the late one.
            #expect(try fleet.pool("pods").queued == 1)
        }
    }

    @Test func itGivesUpAfterItsTimeAndLeavesTheDrain() throws {
        try withHeldJob { fleet, gate, caller, _ in
            let helper = try start(fleet, "worker", "--timeout", "300ms")
            #expect(try helper.waitForExit() == .status(75))
            #expect(helper.output.contains("still has a job"))
            gate.open()
            #expect(try caller.readResponse().status == 200)
            try fleet.waitPool("pods", "the drained endpoint to be idle") { $0.draining == 1 && $0.leases == 0 }
        }
    }

    @Test func anIdleOneIsDoneAtOnceAndAnUnknownOneToo() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            #expect(try fleet.leasehold("wait-idle", "nobody").exit == .status(0))
            #expect(try fleet.leasehold("wait-idle", "--address", "192.0.2.1").exit == .status(0))
            #expect(try fleet.pool("pods").draining == 0)
            #expect(try fleet.leasehold("wait-idle", "worker").exit == .status(0))
            try fleet.waitPool("pods", "the drain") { $0.draining == 1 }
        }
    }

    @Test func withoutAPoolKeeperItTriesUntilItsTimeIsOver() throws {
        try Fleet.run(Setup.http(), []) { fleet in
            let (output, exit) = try fleet.leasehold("wait-idle", "worker", "--timeout", "300ms")
            #expect(exit == .status(69), "\(output)")
        }
    }

    @Test func drainIdleTakesThoseWithoutAJobTheLongestIdleFirst() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gates = [Gate(), Gate(), Gate(), Gate()]
            let workers = try gates.map { gate in
                fleet.own(
                    try TestWorker(http: { request, _ in
                        if request.target == "/held" { try gate.wait() }
                        return Reply.ok()
                    }))
            }
            try fleet.serve(workers.enumerated().map { Pod("worker-\($0)", at: $1.address) })
            // Each once: what is free is then in the order of use.
            for _ in workers { #expect(try fleet.fetch().status == 200) }
            let busy = try fleet.call()
            try busy.get("/held")
            try fleet.waitPool("pods", "a job") { $0.leased == 1 && $0.free == 3 }
            let (first, exit) = try fleet.leasehold("drain", "--idle", "2", "--pool", "pods")
            #expect(exit == .status(0), "\(first)")
            let named = first.split(separator: "\n").map(String.init)
            #expect(named.count == 2 && Set(named).count == 2)
            let leased = try #require(try fleet.endpoints().first { $0.state == "leased" })
            #expect(!named.contains(leased.uid), "the one with a job is left alone")
            for endpoint in try fleet.endpoints() where named.contains(endpoint.uid) { #expect(endpoint.state == "draining") }
            // More than there are: all that are idle, and no more.
            let (rest, again) = try fleet.leasehold("drain", "--idle", "9", "--pool", "pods")
            #expect(again == .status(0) && rest.split(separator: "\n").count == 1)
            #expect(try fleet.leasehold("drain", "--idle", "1", "--pool", "pods").exit == .status(69))
            #expect(try fleet.leasehold("drain", "--idle", "1", "--pool", "nobody").exit == .status(64))
            try fleet.waitPool("pods", "the drains") { $0.draining == 3 && $0.leased == 1 }
            for gate in gates { gate.open() }
            #expect(try busy.readResponse().status == 200)
        }
    }
}
