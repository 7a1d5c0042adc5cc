import Linux
import Model
import TestKit
import Testing

/// Endpoints that are not what they are said to be: the caller never knows.
@Suite(.ownThread) struct StaleTests {
    @Test func aStaleEndpointIsNeverSeenByTheCaller() throws {
        try Fleet.run(Setup.http()) { fleet in
            let stale = try (0..<3).map { _ in try ClosedPort() }
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok() }))
            try fleet.serve(stale.enumerated().map { Pod("stale\($0)", at: $1.address) } + [Pod("good", at: worker.address)])
            for _ in 0..<6 { #expect(try fleet.fetch().status == 200) }
            #expect(try fleet.counter("dial-failures-refused") == 3, "each was tried once and set aside")
            try fleet.waitPool("pods", "three set aside") { $0.quarantined == 3 }
        }
    }

    @Test func aJobWhoseEndpointProvedStaleKeepsItsPlace() throws {
        try Fleet.run(Setup.http(pool: "hold: { max-queued: 1 }, quarantine: { first: 1h, most: 1h }, dial: { timeout: 30s }")) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/first" { try gate.wait() }
                return Reply.ok()
            }
            let first = try fleet.call()
            try first.get("/first")
            try worker.wait("the first job") { $0.running == 1 }
            // One that answers no SYN: the job is neither in the queue nor served while it is dialled.
            let silent = try SilentPort()
            try fleet.publish([Pod("worker", at: worker.address), Pod("silent", at: silent.address)])
            try fleet.waitPool("pods", "both") { $0.total == 2 }
            let early = try fleet.call()
            try early.get("/early")
            try fleet.waitPool("pods", "the early one to be dialled") { $0.leases == 2 && $0.queued == 0 }
            let late = try fleet.call()
            try late.get("/late")
            try fleet.waitPool("pods", "the late one to wait") { $0.queued == 1 }
            // From now on the port refuses: the kernel's next SYN is answered by a reset.
            silent.refuse()
            try fleet.waitPool("pods", "the early one to be back") { $0.queued == 2 && $0.quarantined == 1 }
            #expect(try fleet.queue().map(\.requeued) == [true, false], "in front, though the queue is full")
            gate.open()
            for caller in [first, early, late] { #expect(try caller.readResponse().status == 200) }
            #expect(worker.names == ["/first", "/early", "/late"])
        }
    }

    @Test func anEndpointThatAnswersNoSYNIsLeftAfterTheDialTimeout() throws {
        try Fleet.run(Setup.http(pool: "dial: { timeout: 100ms }")) { fleet in
            let silent = try SilentPort()
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok() }))
            try fleet.serve([Pod("silent", at: silent.address)])
            let caller = try fleet.call()
            try caller.get()
            try fleet.waitPool("pods", "it set aside") { $0.quarantined == 1 && $0.queued == 1 }
            try fleet.publish([Pod("silent", at: silent.address), Pod("good", at: worker.address)])
            #expect(try caller.readResponse().status == 200)
            #expect(try fleet.counter("dial-failures-timed-out") == 1)
        }
    }

    @Test func quarantineDoublesAndEndsWithAFreshReadiness() throws {
        try Fleet.run(Setup.http(pool: "quarantine: { first: 1h, most: 1h }")) { fleet in
            let port = try HeldPort()
            try fleet.serve([Pod("worker", at: .loopback(port: port.number))])
            let caller = try fleet.call()
            try caller.get()
            try fleet.waitPool("pods", "it set aside") { $0.quarantined == 1 && $0.queued == 1 }
            let again = fleet.own(try TestWorker(port: port.number, http: { _, _ in Reply.ok() }))
            try fleet.publish([Pod("worker", at: again.address, ready: false)])
            try fleet.waitPool("pods", "unready") { $0.ready == 0 }
            try fleet.publish([Pod("worker", at: again.address)])
            #expect(try caller.readResponse().status == 200)
        }
    }

    /// 409 and 503 with `Leasehold-Busy: 1` mean "not me, not now": the job goes elsewhere, the worker is set aside.
    @Test(arguments: [409, 503]) func aBusyWorkerIsPassedOverAndSetAside(_ status: Int) throws {
        try Fleet.run(Setup.http(pool: "quarantine: { first: 1h, most: 1h }")) { fleet in
            let busy = fleet.own(
                try TestWorker { visit in
                    _ = try visit.readRequestHead()
                    try visit.send("HTTP/1.1 \(status) Busy\r\nLeasehold-Busy: 1\r\nContent-Length: 4\r\n\r\nbusy")
                })
            try fleet.serve([Pod("busy", at: busy.address)])
            let caller = try fleet.call()
            try caller.send("POST /job HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            try fleet.waitPool("pods", "it set aside") { $0.quarantined == 1 && $0.queued == 1 }
            let worker = fleet.own(try TestWorker(http: { request, _ in Reply.ok(request.text) }))
            try fleet.publish([Pod("busy", at: busy.address), Pod("good", at: worker.address)])
            // The good one reads the body at once, without a 100.
            try caller.send("12345")
            let response = try caller.readResponse()
            #expect(response.status == 200)
            #expect(response.text == "12345")
            #expect(try fleet.counter("leases-busy") == 1)
        }
    }

    @Test func withoutTheFieldA503IsTheWorkersOwnAnswer() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveHTTP { _, _ in "HTTP/1.1 503 No\r\nContent-Length: 2\r\nLeasehold-Reason: forged\r\n\r\nno" }
            let response = try fleet.fetch()
            #expect(response.status == 503)
            #expect(response.text == "no")
            #expect(response["Leasehold-Reason"] == nil)
            #expect(response["Proxy-Status"] == nil)
            #expect(worker.jobs == 1)
        }
    }

    /// A body that has begun to leave cannot be sent again: the caller gets the answer as it is, without the word.
    @Test func aBusyAnswerAfterTheBodyBeganIsPassedOn() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                try visit.send("HTTP/1.1 503 Busy\r\nLeasehold-Busy: 1\r\nContent-Length: 4\r\n\r\nbusy")
            }
            let caller = try fleet.call()
            try caller.send("POST /job HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345")
            let response = try caller.readResponse()
            #expect(response.status == 503)
            #expect(response.text == "busy")
            #expect(response["Leasehold-Busy"] == nil)
        }
    }

    @Test func aHealthProbeSetsASickWorkerAsideAndHoldsItsSlot() throws {
        let health = "health: { path: /healthz, interval: 200ms, timeout: 200ms }, quarantine: { first: 100ms, most: 100ms }"
        try Fleet.run(Setup.http(pool: health)) { fleet in
            let sick = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                guard request.target == "/healthz" else { return Reply.ok() }
                return sick.isOpen ? "HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n" : Reply.ok("fine", "Connection: close")
            }
            try worker.wait("a probe") { $0.names.contains("/healthz") }
            #expect(try fleet.fetch().status == 200)
            sick.open()
            try fleet.waitPool("pods", "the worker set aside") { $0.quarantined == 1 }
            #expect(worker.violations == 0)
        }
    }
}
