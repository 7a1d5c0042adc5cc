import KubeTestServer
import Model
import TestKit
import Testing

/// What happens to an endpoint under a running session: neither cut nor doubled.
@Suite(.ownThread) struct SessionTests {
    /// One endpoint with a job that runs until the gate opens; `change` happens meanwhile, then a second caller comes.
    private func session(
        _ change: (Cluster, TestWorker) throws -> Void, whileRunning: (Cluster) throws -> Void = { _ in }, after: (Cluster, RawCaller, JobLedger) throws -> Void
    ) throws {
        let gate = Gate()
        let ledger = JobLedger()
        var worker: TestWorker?
        try Cluster.run { cluster in
            worker = try cluster.serve("uid-a", ledger: ledger) { request, _ in
                if request.target == "/first" { try gate.wait() }
                return Reply.ok(request.target)
            }
        } _: { cluster in
            try cluster.waitUntilEqual()
            let first = try cluster.fleet.call()
            try first.send("GET /first HTTP/1.1\r\nHost: test\r\n\r\n")
            try ledger.wait("the first job") { $0.running == 1 }
            try change(cluster, try #require(worker))
            try cluster.settle()
            let second = try cluster.fleet.call()
            try second.send("GET /second HTTP/1.1\r\nHost: test\r\n\r\n")
            try cluster.fleet.waitPool("pods", "the second caller to be held") { $0.queued == 1 }
            try whileRunning(cluster)
            #expect(ledger.counts.jobs == 1, "the second job began beside the first")
            gate.open()
            let answer = try first.readResponse()
            #expect(answer.status == 200 && answer.text == "/first", "the session was cut: \(answer)")
            try after(cluster, second, ledger)
            #expect(ledger.counts.violations == 0)
        }
    }

    @Test func aDeletedEndpointEndsItsSession() throws {
        try session { cluster, _ in
            cluster.server.delete(Cluster.key("pods-uid-a"))
        } whileRunning: { cluster in
            try cluster.fleet[.poolKeeper].wait("the endpoint to be gone") { try cluster.fleet.endpoints().contains { $0.uid == "uid-a" && $0.gone } }
        } after: { cluster, second, ledger in
            try cluster.fleet.waitPool("pods", "nothing left") { $0.total == 0 && $0.leases == 0 }
            let new = try cluster.serve("uid-b") { request, _ in Reply.ok("b") }
            #expect(try second.readResponse().text == "b")
            #expect(ledger.counts.jobs == 1 && new.jobs == 1)
        }
    }

    /// A pod's address is given to the next pod while a session still runs on the old one.
    @Test func aNewEndpointAtTheSameAddressWaitsForTheOldOnesSession() throws {
        try session { cluster, worker in
            cluster.server.apply(cluster.slice("uid-b", at: worker.address, slice: "pods-uid-a"))
            try cluster.fleet[.poolKeeper].wait("the successor") { try cluster.fleet.endpoints().contains { $0.uid == "uid-b" } }
        } after: { cluster, second, ledger in
            #expect(try second.readResponse().text == "/second")
            #expect(ledger.counts.jobs == 2)
            try cluster.waitUntilEqual()
        }
    }

    /// Deleted and made anew as two events, as a controller does that moves endpoints between slices.
    @Test func anEndpointThatMovesToAnotherSliceKeepsItsSession() throws {
        try session { cluster, worker in
            cluster.server.apply(cluster.slice("uid-a", at: worker.address, slice: "pods-other"))
            cluster.server.delete(Cluster.key("pods-uid-a"))
        } after: { cluster, second, ledger in
            #expect(try second.readResponse().text == "/second")
            #expect(ledger.counts.jobs == 2)
            try cluster.waitUntilEqual()
        }
    }

    @Test func anEndpointThatBlinksKeepsItsSession() throws {
        try session { cluster, worker in
            for ready in [false, true, false, true] {
                cluster.server.apply(cluster.slice("uid-a", at: worker.address, ready: ready))
            }
            cluster.server.delete(Cluster.key("pods-uid-a"))
            cluster.server.apply(cluster.slice("uid-a", at: worker.address))
        } after: { cluster, second, ledger in
            #expect(try second.readResponse().text == "/second")
            #expect(ledger.counts.jobs == 2)
            try cluster.waitUntilEqual()
        }
    }

    @Test func aTerminatingEndpointFinishesItsSessionAndTakesNoOther() throws {
        try session { cluster, worker in
            cluster.server.apply(cluster.slice("uid-a", at: worker.address, ready: false, terminating: true))
        } after: { cluster, second, ledger in
            try cluster.fleet.waitPool("pods", "no lease") { $0.leases == 0 }
            #expect(ledger.counts.jobs == 1)
            _ = try cluster.serve("uid-b") { _, _ in Reply.ok("b") }
            #expect(try second.readResponse().text == "b")
        }
    }
}
