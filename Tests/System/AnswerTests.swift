import Glibc
import Linux
import Model
import TestKit
import Testing

/// Every answer of our own, as it is on the wire.
@Suite(.ownThread) struct AnswerTests {
    @Test func aServedResponseTellsItsLeaseAndItsTimes() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request["Leasehold-Lease"] ?? "none", "X-Mine: 1") }
            let response = try fleet.fetch()
            #expect(response.status == 200)
            let lease = try #require(response["Leasehold-Lease"])
            #expect(lease == response.text, "the worker and the caller are told the same token")
            #expect(lease.wholeMatch(of: /pods\/[0-9]+\.[0-9]+/) != nil)
            #expect(response["Server-Timing"]?.wholeMatch(of: /hold;dur=[0-9.]+, dial;dur=[0-9.]+/) != nil)
            #expect(response["X-Mine"] == "1")
            #expect(response["Leasehold-Endpoint"] == nil)
            #expect(worker.violations == 0)
        }
    }

    @Test func aFullQueueIs429AtOnce() throws {
        try Fleet.run(Setup.http(pool: "hold: { max-queued: 1 }")) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { _, _ in
                try gate.wait()
                return Reply.ok()
            }
            let first = try fleet.call()
            try first.get()
            try worker.wait("the first job") { $0.running == 1 }
            let second = try fleet.call()
            try second.get()
            try fleet.waitPool("pods", "one in the queue") { $0.queued == 1 }
            let third = try fleet.fetch("/zebra", "X-Zebra: zebra")
            try expectAnswer(third, 429, "queue-full", error: "connection_limit_reached", retryAfter: true)
            #expect(third["Connection"] == nil, "the connection is good for another request")
            gate.open()
            #expect(try first.readResponse().status == 200)
            #expect(try second.readResponse().status == 200)
        }
    }

    @Test func aSpentHoldBudgetIs429WhileEndpointsExist() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 150ms }")) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { _, _ in
                try gate.wait()
                return Reply.ok()
            }
            let first = try fleet.call()
            try first.get()
            try worker.wait("the first job") { $0.running == 1 }
            let second = try fleet.call()
            let began = monotonicNow()
            try second.get("/zebra")
            let refused = try second.readResponse()
            #expect(monotonicNow() - began >= 150_000_000)
            try expectAnswer(refused, 429, "hold-timeout", error: "connection_limit_reached", retryAfter: true)
            gate.open()
            #expect(try first.readResponse().status == 200)
            // The refused caller's connection is still good.
            #expect(try second.fetch().status == 200)
        }
    }

    @Test func preferWaitShortensTheHoldAndNeverLengthensIt() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 1200ms }")) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { _, _ in
                try gate.wait()
                return Reply.ok()
            }
            let first = try fleet.call()
            try first.get()
            try worker.wait("the first job") { $0.running == 1 }
            try expectAnswer(
                try fleet.fetch("/", "Prefer: wait=0"), 429, "hold-timeout", error: "connection_limit_reached", retryAfter: true)
            let began = monotonicNow()
            try expectAnswer(
                try fleet.fetch("/", "Prefer: wait=9999"), 429, "hold-timeout", error: "connection_limit_reached", retryAfter: true)
            let waited = monotonicNow() - began
            #expect(waited >= 1_200_000_000)
            #expect(waited < 9_000_000_000)
            gate.open()
            #expect(try first.readResponse().status == 200)
        }
    }

    @Test func noEndpointWithinItsBudgetIs503() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 30s, no-endpoints-timeout: 120ms }")) { fleet in
            let began = monotonicNow()
            let refused = try fleet.fetch("/zebra", "X-Zebra: zebra")
            #expect(monotonicNow() - began >= 120_000_000)
            try expectAnswer(refused, 503, "no-endpoints", error: "destination_unavailable", retryAfter: true)
        }
    }

    @Test func aPausedPoolHoldsUntilItIsResumed() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveHTTP { _, _ in Reply.ok() }
            #expect(try fleet.ask(.poolKeeper, .pause(pool: "pods", refuse: false)).status == 0)
            let caller = try fleet.call()
            try caller.get()
            try fleet.waitPool("pods", "a held caller") { $0.queued == 1 && $0.paused && $0.free == 1 }
            #expect(worker.connections == 0)
            #expect(try fleet.ask(.poolKeeper, .resume(pool: "pods")).status == 0)
            #expect(try caller.readResponse().status == 200)
            #expect(try fleet.pool("pods").paused == false)
        }
    }

    @Test func aPausedPoolRefusesWhenTheBudgetIsSpentOrAtOnceIfToldSo() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 100ms }")) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            #expect(try fleet.ask(.poolKeeper, .pause(pool: "pods", refuse: false)).status == 0)
            try expectAnswer(try fleet.fetch("/zebra"), 503, "paused", error: "destination_unavailable", retryAfter: true)
        }
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            let waiting = try fleet.call()
            #expect(try fleet.ask(.poolKeeper, .pause(pool: "pods", refuse: false)).status == 0)
            try waiting.get("/zebra")
            try fleet.waitPool("pods", "a held caller") { $0.queued == 1 }
            #expect(try fleet.ask(.poolKeeper, .pause(pool: "pods", refuse: true)).status == 0)
            try expectAnswer(try waiting.readResponse(), 503, "paused", error: "destination_unavailable", retryAfter: true)
            try expectAnswer(try fleet.fetch("/zebra"), 503, "paused", error: "destination_unavailable", retryAfter: true)
            #expect(try fleet.ask(.poolKeeper, .resume(pool: "pods")).status == 0)
            #expect(try fleet.fetch().status == 200)
        }
    }

    @Test func nothingButFailedDialsWithinTheBudgetIs503() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 400ms }, quarantine: { first: 50ms, most: 50ms }")) { fleet in
            let stale = try ClosedPort()
            try fleet.serve([Pod("stale", at: stale.address)])
            try expectAnswer(try fleet.fetch("/zebra"), 503, "dial-failed", error: "connection_refused", retryAfter: true)
            #expect(try fleet.counter("dial-failures-refused") >= 1)
        }
    }

    @Test func aPathWithoutARouteIs404() throws {
        let configuration = """
            pools: [{ name: pods, service: shop/pods, port: http }, { name: other, service: shop/other, port: http }]
            listeners:
              - name: http
                address: 127.0.0.1:0
                protocol: http
                routes:
                  - { host: a.example, path: /one, pool: pods }
                  - { host: "*.b.example", path: /, pool: other }
            """
        try Fleet.run(configuration) { fleet in
            let one = fleet.own(try TestWorker(http: { _, _ in Reply.ok("one") }))
            let two = fleet.own(try TestWorker(http: { _, _ in Reply.ok("two") }))
            try fleet.publish([Pod("one", at: one.address)])
            try fleet.publish([Pod("two", at: two.address)], of: "shop/other", as: "other.yaml")
            try fleet.waitPool("other", "its endpoint") { $0.total == 1 }
            try fleet.waitPool("pods", "its endpoint") { $0.total == 1 }
            for (host, path, wanted) in [
                ("a.example", "/one", "one"), ("A.EXAMPLE:80", "/one/more", "one"), ("a.example.", "/on%65", "one"),
                ("x.b.example", "/any", "two"),
                ("y.x.b.example", "/", "two"), ("a.example", "/onelike", ""), ("a.example", "/", ""), ("b.example", "/", ""),
                ("c", "/one", ""),
            ] {
                let caller = try fleet.call()
                try caller.send("GET \(path) HTTP/1.1\r\nHost: \(host)\r\nX-Zebra: zebra\r\n\r\n")
                let response = try caller.readResponse()
                if wanted.isEmpty {
                    try expectAnswer(response, 404, "no-route", error: "destination_not_found")
                } else {
                    #expect(response.text == wanted, "\(host) \(path)")
                }
            }
            for path in ["/one/../x", "/one/%2e%2e/x", "/one//x", "/one%2fx", "/one%5cx", "/one/./x", "/one%00"] {
                try expectAnswer(try hostile(fleet, path), 400, "bad-request", error: "http_request_error")
            }
        }
    }

    private func hostile(_ fleet: Fleet, _ path: String) throws -> HTTPMessage {
        let caller = try fleet.call()
        try caller.send("GET \(path) HTTP/1.1\r\nHost: a.example\r\n\r\n")
        return try caller.readResponse()
    }

    @Test(arguments: ["fin", "reset", "half a head"]) func aWorkerLostBeforeItsResponseIs502(_ how: String) throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                switch how {
                case "fin": visit.close()
                case "reset": visit.reset()
                default: try visit.send("HTTP/1.1 200 OK\r\nContent-Len")
                }
            }
            let caller = try fleet.call()
            try caller.get("/zebra")
            let response = try caller.readResponse()
            try expectAnswer(response, 502, "worker-lost", error: "connection_terminated")
            #expect(response["Connection"] == "close")
            #expect(try caller.expectEnd() == .fin)
            try fleet.waitPool("pods", "the worker is set aside") { $0.quarantined == 1 }
            #expect(try fleet.counter("leases-lost-before-response") == 1)
        }
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        "HTTP/1.1 200 OK\r\n\r\n12345",
    ]) func aWorkerLostInTheMiddleOfItsResponseCutsTheCaller(_ part: String) throws {
        let isCloseDelimited = !part.contains(":")
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                try visit.send(part)
                try gate.wait()
                // A FIN ends a close-delimited body; anything else it only cuts.
                if isCloseDelimited { visit.reset() } else { visit.close() }
            }
            let caller = try fleet.call()
            try caller.get()
            _ = try caller.receive(through: "12345")
            gate.open()
            let (_, end) = try caller.receiveToEnd()
            #expect(end == .reset, "a cut must never look like an end")
            try fleet.waitCounter("leases-lost-after-response", atLeast: 1)
        }
    }

    @Test func aCloseDelimitedResponseThatEndsInOrderEndsInOrder() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                try visit.send("HTTP/1.1 200 OK\r\n\r\n12345")
            }
            let caller = try fleet.call()
            try caller.get()
            let response = try caller.readResponse()
            #expect(response.text == "12345")
            #expect(response["Connection"] == "close")
        }
    }

    @Test func aWorkerThatSaysNothingInTimeIs504() throws {
        try Fleet.run(Setup.http(listener: "deadlines: { first-byte: 150ms }")) { fleet in
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                visit.begin()
                _ = try visit.receiveToEnd()
            }
            let caller = try fleet.call()
            let began = monotonicNow()
            try caller.get("/zebra")
            let response = try caller.readResponse()
            #expect(monotonicNow() - began >= 150_000_000)
            try expectAnswer(response, 504, "worker-timeout", error: "http_response_timeout")
            #expect(response["Connection"] == "close")
            try fleet.waitPool("pods", "the worker is set aside") { $0.quarantined == 1 }
            #expect(worker.jobs == 1)
        }
    }

    @Test func aCallerThatStallsInItsUploadIs408AndNoFaultOfTheWorker() throws {
        try Fleet.run(Setup.http(listener: "deadlines: { first-byte: 100ms, idle: 300ms }")) { fleet in
            let worker = try fleet.serveScript { visit in
                let head = try visit.readRequestHead()
                visit.begin()
                if head["Expect"] != nil { try visit.send("HTTP/1.1 100 Continue\r\n\r\n") }
                _ = try visit.receiveToEnd()
            }
            for framing in ["Content-Length: 10", "Transfer-Encoding: chunked", "Content-Length: 10\r\nExpect: 100-continue"] {
                let caller = try fleet.call()
                let began = monotonicNow()
                try caller.send("POST /zebra HTTP/1.1\r\nHost: x\r\n\(framing)\r\n\r\n")
                if !framing.contains("Expect") { try caller.send("5\r\nzeb") }
                let response = try caller.readResponse()
                #expect(monotonicNow() - began >= 300_000_000)
                try expectAnswer(response, 408, "idle-timeout", error: "connection_read_timeout")
                try worker.wait("the end of the job") { $0.running == 0 && $0.open == 0 }
                try fleet.waitPool("pods", "the worker to be free") { $0.free == 1 }
            }
        }
    }

    @Test(arguments: ["does not read", "does not say 100"]) func aWorkerThatDoesNotTakeAnUploadIs504(_ how: String) throws {
        try Fleet.run(Setup.http(listener: "deadlines: { first-byte: 150ms, idle: 1h }")) { fleet in
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                try visit.waitUntilCut()
            }
            let caller = try fleet.call()
            if how == "does not read" {
                let size = 100_000_000
                try caller.send("POST /zebra HTTP/1.1\r\nHost: x\r\nContent-Length: \(size)\r\n\r\n")
                let block = [UInt8](repeating: 122, count: 1 << 20)
                // As much as fits between here and there.
                var sent = 0
                while sent < size, caller.pending.isEmpty {
                    let count = block.withUnsafeBytes { caller.sendSome(UnsafeRawBufferPointer(rebasing: $0[..<min(1 << 20, size - sent)])) }
                    guard count >= 0 else { break }
                    sent += count
                    if count == 0 { try waitReady(caller.descriptor, POLLIN | POLLOUT, "the answer") }
                }
                #expect(sent < size)
            } else {
                try caller.send("POST /zebra HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            }
            try expectAnswer(try caller.readResponse(), 504, "worker-timeout", error: "http_response_timeout")
        }
    }

    /// It connects and it writes, and still nobody is there: the kernel accepted for it.
    @Test func aWorkerThatNeverAcceptsIs504() throws {
        try Fleet.run(Setup.http(listener: "deadlines: { first-byte: 150ms }")) { fleet in
            let worker = fleet.own(try TestWorker(accepts: false) { _ in })
            try fleet.serve([Pod("worker", at: worker.address)])
            try expectAnswer(try fleet.fetch("/zebra"), 504, "worker-timeout", error: "http_response_timeout")
        }
    }

    @Test func aJobThatTakesLongerThanItMayIs504() throws {
        try Fleet.run(Setup.http(pool: "abandon: 100ms", listener: "deadlines: { job: 150ms }")) { fleet in
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                _ = try visit.receiveToEnd()
                try visit.waitUntilCut()
            }
            try expectAnswer(try fleet.fetch("/zebra"), 504, "job-timeout", error: "http_response_timeout")
        }
    }

    @Test func aResponseThatStallsIsCut() throws {
        try Fleet.run(Setup.http(listener: "deadlines: { idle: 150ms }")) { fleet in
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                try visit.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
                _ = try visit.receiveToEnd()
            }
            let caller = try fleet.call()
            try caller.get()
            _ = try caller.receive(through: "12345")
            #expect(try caller.expectEnd() == .reset)
            #expect(try fleet.counter("refused-idle-timeout") == 1)
        }
    }

    @Test(arguments: [
        "NONSENSE\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n",
    ]) func aWorkerThatSpeaksNoHTTPIs502(_ answer: String) throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                try visit.send(answer)
                _ = try visit.receiveToEnd()
            }
            try expectAnswer(try fleet.fetch("/zebra"), 502, "bad-response", error: "http_protocol_error")
        }
    }

    @Test func withoutAPoolKeeperCallersWaitForTheirBudget() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 200ms }"), [.dispatcher]) { fleet in
            let began = monotonicNow()
            let refused = try fleet.fetch("/zebra")
            #expect(monotonicNow() - began >= 200_000_000)
            try expectAnswer(refused, 503, "keeper-unavailable", error: "proxy_internal_error", retryAfter: refused["Retry-After"] != nil)
        }
    }

    @Test func anAnswerToHEADHasNoBodyAndOneToHTTP10IsInHTTP10() throws {
        try Fleet.run(Setup.http(pool: "hold: { no-endpoints-timeout: 0s }")) { fleet in
            let caller = try fleet.call()
            try caller.send("HEAD /zebra HTTP/1.1\r\nHost: zebra\r\n\r\n")
            let head = try caller.readResponse(to: "HEAD")
            try expectAnswer(head, 503, "no-endpoints", error: "destination_unavailable", retryAfter: true, body: false)
            #expect(Int(head["Content-Length"] ?? "0")! > 50)
            // The connection is still in step.
            try caller.get()
            #expect(try caller.readResponse().status == 503)

            let old = try fleet.call()
            try old.send("GET /zebra HTTP/1.0\r\n\r\n")
            let response = try old.readResponse()
            try expectAnswer(response, 503, "no-endpoints", error: "destination_unavailable", retryAfter: true)
            #expect(response.startLine == "HTTP/1.0 503 Service Unavailable")
            #expect(try old.expectEnd() == .fin)
        }
    }
}
