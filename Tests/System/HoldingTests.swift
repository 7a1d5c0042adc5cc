import Linux
import Model
import TestKit
import Testing

/// Callers who wait: for a worker that does not exist yet, for one that is taken.
@Suite(.ownThread) struct HoldingTests {
    @Test func aCallerIsHeldUntilTheFirstEndpointIsThere() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = fleet.own(try TestWorker(http: { request, _ in Reply.ok("hello \(request.target)") }))
            let caller = try fleet.call()
            try caller.get("/a")
            try fleet.waitPool("pods", "one held caller") { $0.queued == 1 && $0.demand == 1 }
            #expect(caller.pending.isEmpty)
            try fleet.publish([Pod("a", at: worker.address)])
            let response = try caller.readResponse()
            #expect(response.status == 200)
            #expect(response.text == "hello /a")
            #expect(response["Leasehold-Lease"]?.hasPrefix("pods/") == true)
        }
    }

    /// From the rename to the last byte of the response: the whole way, on a machine that does other things too.
    @Test func aDroppedManifestServesTheHeldCallerWithinATenthOfASecond() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok() }))
            var times: [Int64] = []
            for round in 0..<9 {
                if round > 0 { try fleet.unpublish() }
                try fleet.waitPool("pods", "no endpoint") { $0.total == 0 }
                let caller = try fleet.call()
                try caller.get()
                try fleet.waitPool("pods", "one held caller") { $0.queued == 1 }
                let began = monotonicNow()
                try fleet.publish([Pod("a", at: worker.address)])
                #expect(try caller.readResponse().status == 200)
                times.append((monotonicNow() - began) / 1000)
            }
            times.sort()
            print("manifest to response, µs: median \(times[4]), all \(times)")
            #expect(times[0] < 100_000)
            #expect(times[4] < 250_000)
        }
    }

    @Test func aParkedCallerThatHangsUpCostsNoJob() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/first" { try gate.wait() }
                return Reply.ok()
            }
            let first = try fleet.call()
            try first.get("/first")
            try worker.wait("the first job") { $0.running == 1 }
            let ends = try fleet.call()
            try ends.get("/ends")
            let resets = try fleet.call()
            try resets.get("/resets")
            let stays = try fleet.call()
            try stays.get("/stays")
            try fleet.waitPool("pods", "three held callers") { $0.queued == 3 }
            ends.close()
            try fleet.waitPool("pods", "the one that closed is gone") { $0.queued == 2 }
            resets.reset()
            try fleet.waitPool("pods", "the one that reset is gone") { $0.queued == 1 }
            gate.open()
            #expect(try first.readResponse().status == 200)
            #expect(try stays.readResponse().status == 200)
            #expect(worker.names == ["/first", "/stays"])
            #expect(try fleet.counter("leases-unused") == 0)
        }
    }

    @Test func callersAreServedInOrderOfArrival() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok() }))
            var callers: [RawCaller] = []
            for i in 0..<40 {
                let caller = try fleet.call()
                try caller.get("/\(i)")
                callers.append(caller)
            }
            try fleet.waitPool("pods", "40 held callers") { $0.queued == 40 }
            let places = try fleet.queue()
            #expect(places.map(\.place) == Array(1...40))
            try fleet.publish([Pod("a", at: worker.address)])
            for caller in callers { #expect(try caller.readResponse().status == 200) }
            #expect(worker.names == (0..<40).map { "/\($0)" })
            #expect(worker.violations == 0)
        }
    }

    /// While it waits long, its head is given back to the socket, and read again for the worker.
    @Test func aRequestThatWaitedLongArrivesByteForByte() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = fleet.own(try TestWorker(http: { request, _ in Reply.ok(request["X-Odd"] ?? "absent") }))
            let caller = try fleet.call()
            let odd = (0..<200).map { "\($0)-ü" }.joined(separator: ",")
            try caller.send("POST /long?x=%C3%BC HTTP/1.1\r\nHost: test\r\nX-Odd: \(odd)\r\nContent-Length: 5\r\n\r\n12345")
            try fleet.waitPool("pods", "a caller that has waited for a while") { $0.oldestWaitMs >= 600 }
            try fleet.publish([Pod("a", at: worker.address)])
            #expect(try caller.readResponse().text == odd)
        }
    }

    @Test func aWaitIsShownWhileItLasts() throws {
        try Fleet.run(Setup.http()) { fleet in
            let caller = try fleet.call()
            try caller.get()
            try fleet.waitPool("pods", "an age") { $0.queued == 1 && $0.oldestWaitMs > 50 }
            caller.close()
            try fleet.waitPool("pods", "nobody") { $0.queued == 0 && $0.oldestWaitMs == 0 && $0.demand == 0 }
        }
    }

    @Test func anUnreadyEndpointGetsNoJobUntilItIsReady() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok() }))
            try fleet.serve([Pod("a", at: worker.address, ready: false)])
            let caller = try fleet.call()
            try caller.get()
            try fleet.waitPool("pods", "one held caller") { $0.queued == 1 && $0.unready == 1 }
            #expect(worker.connections == 0)
            try fleet.publish([Pod("a", at: worker.address, ready: true)])
            #expect(try caller.readResponse().status == 200)
        }
    }

    /// EndpointSlice's conditions: nil means ready, and terminating endpoints get nothing new.
    @Test func nilIsReadyAndTerminatingIsNot() throws {
        try Fleet.run(Setup.http()) { fleet in
            let leaving = fleet.own(try TestWorker(http: { _, _ in Reply.ok("leaving") }))
            let quiet = fleet.own(try TestWorker(http: { _, _ in Reply.ok("quiet") }))
            try fleet.serve([
                Pod("a", [leaving.address.ip], ports: [("http", leaving.address.port)], ready: true, serving: true, terminating: true),
                Pod("b", at: quiet.address, ready: nil),
            ])
            for _ in 0..<4 { #expect(try fleet.fetch().text == "quiet") }
            #expect(leaving.connections == 0)
        }
    }
}
