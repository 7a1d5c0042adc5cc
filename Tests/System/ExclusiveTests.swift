import Linux
import Model
import TestKit
import Testing

/// One job at a time, whoever leaves and whatever the worker is called.
@Suite(.ownThread) struct ExclusiveTests {
    enum Leaving: String, CaseIterable, Sendable {
        /// Its FIN looks like a half-close: the dispatcher learns the truth when it sends the response.
        case byClose
        case byReset, afterItsHead
    }

    /// The caller is gone and the worker works on: nobody else gets it until it has ended.
    @Test(arguments: Leaving.allCases) func aWorkerThatGoesOnForACallerWhoLeftGetsNoOther(_ leaving: Leaving) throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveScript { visit in
                let request = try visit.readRequest()
                visit.begin(request.target)
                if request.target == "/first" {
                    if leaving == .afterItsHead { try visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n") }
                    try gate.wait()
                }
                visit.finish()
                if request.target != "/first" { try visit.send(Reply.ok()) }
            }
            let first = try fleet.call()
            try first.get("/first")
            try worker.wait("the first job") { $0.running == 1 }
            switch leaving {
            case .byClose: first.close()
            case .byReset: first.reset()
            case .afterItsHead:
                _ = try first.receive(through: "\r\n\r\n")
                first.reset()
            }
            if leaving != .byClose { try fleet.waitPool("pods", "the job to be ending") { $0.ending == 1 } }
            let second = try fleet.call()
            try second.get("/second")
            try fleet.waitPool("pods", "the second caller to wait") { $0.queued == 1 && $0.leases == 1 && $0.demand == 2 }
            #expect(worker.jobs == 1)
            gate.open()
            #expect(try second.readResponse().status == 200)
            #expect(worker.names == ["/first", "/second"])
            #expect(worker.violations == 0)
        }
    }

    @Test(arguments: ["first-byte: 150ms", "job: 150ms"]) func aWorkerThatGoesOnAfterADeadlineGetsNoOther(_ deadline: String) throws {
        try Fleet.run(Setup.http(pool: "quarantine: { first: 50ms, most: 50ms }", listener: "deadlines: { \(deadline) }")) { fleet in
            let gate = Gate()
            let worker = try fleet.serveScript { visit in
                let request = try visit.readRequest()
                visit.begin(request.target)
                if request.target == "/first" { try gate.wait() }
                visit.finish()
                // The first caller has its answer already; ours goes nowhere.
                try? visit.send(Reply.ok())
            }
            #expect(try fleet.fetch("/first").status == 504)
            try fleet.waitPool("pods", "the job to be ending") { $0.ending == 1 }
            let second = try fleet.call()
            try second.get("/second", "Prefer: wait=0")
            #expect(try second.readResponse().status == 429)
            let third = try fleet.call()
            try third.get("/third")
            try fleet.waitPool("pods", "the third caller to wait") { $0.queued == 1 }
            gate.open()
            #expect(try third.readResponse().status == 200)
            #expect(worker.names == ["/first", "/third"])
            #expect(worker.violations == 0)
        }
    }

    /// A complete response ends the job, also when the worker keeps its connection and the caller is long gone.
    @Test func anAbandonedJobEndsWithItsResponseThoughTheWorkerKeepsTheConnection() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveScript { visit in
                let request = try visit.readRequest()
                visit.begin(request.target)
                if request.target == "/first" { try gate.wait() }
                visit.finish()
                try visit.send(Reply.ok())
                if request.target == "/first" { try visit.waitUntilCut() }
            }
            let first = try fleet.call()
            try first.get("/first")
            try worker.wait("the first job") { $0.running == 1 }
            first.reset()
            try fleet.waitPool("pods", "the job to be ending") { $0.ending == 1 }
            gate.open()
            let began = monotonicNow()
            #expect(try fleet.fetch("/second").status == 200)
            #expect(monotonicNow() - began < 10_000_000_000, "long before `abandon`")
            #expect(worker.violations == 0)
        }
    }

    @Test func aWorkerThatNeverEndsItsAbandonedJobIsCutAndSetAside() throws {
        try Fleet.run(Setup.http(pool: "abandon: 150ms, quarantine: { first: 300ms, most: 300ms }")) { fleet in
            let worker = try fleet.serveScript { visit in
                let request = try visit.readRequest()
                visit.begin(request.target)
                if request.target == "/first" {
                    // Hangs until it is reset.
                    try visit.waitUntilCut()
                    return
                }
                visit.finish()
                try visit.send(Reply.ok())
            }
            let first = try fleet.call()
            try first.get("/first")
            try worker.wait("the first job") { $0.running == 1 }
            first.reset()
            try fleet.waitPool("pods", "the worker set aside, not freed") { $0.quarantined == 1 && $0.leases == 0 }
            #expect(try fleet.fetch("/second").status == 200)
            #expect(try fleet.counter("leases-ending-timeout") == 1)
            #expect(worker.violations == 0)
        }
    }

    @Test func onePodWithTwoPortsInTwoPoolsIsOneWorker() throws {
        let configuration = """
            pools:
              - { name: pages, service: shop/pods, port: http }
              - { name: tools, service: shop/pods, port: debug }
            listeners:
              - name: http
                address: 127.0.0.1:0
                protocol: http
                routes: [{ path: /, pool: pages }, { path: /tools, pool: tools }]
            """
        try Fleet.run(configuration) { fleet in
            let gate = Gate()
            let ledger = JobLedger()
            let respond: @Sendable (HTTPMessage, TestWorker.Visit) throws -> String = { request, _ in
                if request.target == "/first" { try gate.wait() }
                return Reply.ok()
            }
            let one = fleet.own(try TestWorker(ledger: ledger, http: respond))
            let two = fleet.own(try TestWorker(ledger: ledger, http: respond))
            try fleet.publish([Pod("pod", ["127.0.0.1"], ports: [("http", one.address.port), ("debug", two.address.port)])])
            try fleet.waitPool("tools", "the pod") { $0.total == 1 }
            try fleet.waitPool("pages", "the pod") { $0.total == 1 }
            let first = try fleet.call()
            try first.get("/first")
            try ledger.wait("the first job") { $0.running == 1 }
            let second = try fleet.call()
            try second.get("/tools/second")
            try fleet.waitPool("tools", "the second caller to wait") { $0.queued == 1 && $0.free == 0 }
            #expect(ledger.counts.jobs == 1)
            gate.open()
            #expect(try first.readResponse().status == 200)
            #expect(try second.readResponse().status == 200)
            for i in 0..<10 { #expect(try fleet.fetch(i.isMultiple(of: 2) ? "/" : "/tools").status == 200) }
            #expect(two.connections >= 6)
            #expect(ledger.counts.violations == 0)
        }
    }

    @Test func oneDualStackPodIsOneWorker() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let ledger = JobLedger()
            let respond: @Sendable (HTTPMessage, TestWorker.Visit) throws -> String = { request, _ in
                if request.target == "/first" { try gate.wait() }
                return Reply.ok()
            }
            let (four, six) = try dualStack(ledger, respond)
            fleet.own(four)
            fleet.own(six)
            try fleet.serve([Pod("pod", ["127.0.0.1", "::1"], ports: [("http", four.address.port)])])
            #expect(try fleet.endpoints().map(\.addresses.count) == [2])
            let first = try fleet.call()
            try first.get("/first")
            try ledger.wait("the first job") { $0.running == 1 }
            let second = try fleet.call()
            try second.get("/second")
            try fleet.waitPool("pods", "the second caller to wait") { $0.queued == 1 && $0.total == 1 && $0.free == 0 }
            #expect(ledger.counts.jobs == 1)
            gate.open()
            #expect(try first.readResponse().status == 200)
            #expect(try second.readResponse().status == 200)
            #expect(ledger.counts.violations == 0)
            // One family that has gone silent is no failure while the other answers.
            four.stop()
            #expect(try fleet.fetch("/third").status == 200)
            #expect(ledger.counts.violations == 0)
        }
    }

    /// The same port on both families.
    private func dualStack(
        _ ledger: JobLedger, _ respond: @escaping @Sendable (HTTPMessage, TestWorker.Visit) throws -> String
    ) throws -> (TestWorker, TestWorker) {
        for _ in 0..<20 {
            let four = try TestWorker(ledger: ledger, http: respond)
            if let six = try? TestWorker(on: "::1", port: four.address.port, ledger: ledger, http: respond) { return (four, six) }
            four.stop()
        }
        throw TestFailure("no port that is free on both families")
    }

    @Test func slotsAllowThatManyJobsAndNoMore() throws {
        try Fleet.run(Setup.http(pool: "slots: 3")) { fleet in
            let gate = Gate()
            let ledger = JobLedger(slots: 3)
            let worker = fleet.own(
                try TestWorker(
                    ledger: ledger,
                    http: { _, _ in
                        try gate.wait()
                        return Reply.ok()
                    }))
            try fleet.serve([Pod("worker", at: worker.address)])
            let callers = try (0..<5).map { _ in try fleet.call() }
            for caller in callers { try caller.get() }
            try ledger.wait("three jobs") { $0.running == 3 }
            try fleet.waitPool("pods", "two to wait") { $0.queued == 2 && $0.leases == 3 && $0.demand == 5 }
            gate.open()
            for caller in callers { #expect(try caller.readResponse().status == 200) }
            #expect(ledger.counts.violations == 0)
            #expect(ledger.counts.most == 3)
        }
    }

    @Test func anEndpointThatBlinksWhileLeasedGetsNoSecondJob() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/first" { try gate.wait() }
                return Reply.ok()
            }
            let first = try fleet.call()
            try first.get("/first")
            try worker.wait("the first job") { $0.running == 1 }
            let second = try fleet.call()
            try second.get("/second")
            // Unready, then gone from the source: told in this order.
            let changes = try fleet.counter("changes", of: .watcher)
            try fleet.publish([Pod("worker", at: worker.address, ready: false)])
            try fleet.waitCounter("changes", of: .watcher, atLeast: changes + 1)
            try fleet.unpublish()
            try fleet[.poolKeeper].wait("gone from the source and still leased") {
                try fleet.leases().count == 1 && fleet.endpoints().allSatisfy(\.gone)
            }
            try fleet.publish([Pod("worker", at: worker.address)])
            try fleet.waitPool("pods", "back, leased, and one waiting") {
                $0.total == 1 && $0.leases == 1 && $0.queued == 1 && $0.free == 0
            }
            #expect(worker.jobs == 1)
            gate.open()
            #expect(try first.readResponse().status == 200)
            #expect(try second.readResponse().status == 200)
            #expect(worker.violations == 0)
        }
    }

    @Test func tokensOnlyGrow() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { request, _ in Reply.ok(request["Leasehold-Lease"] ?? "") }
            var tokens: [LeaseID] = []
            for round in 0..<3 {
                if round > 0 { try fleet.restart(.poolKeeper) }
                for _ in 0..<5 {
                    let text = try fleet.fetch().text
                    tokens.append(try #require(LeaseID(String(text.split(separator: "/").last ?? ""))))
                }
            }
            #expect(zip(tokens, tokens.dropFirst()).allSatisfy { $0 < $1 }, "\(tokens)")
            #expect(Set(tokens.map(\.epoch)).count == 3)
        }
    }

    /// `reuse: when-ready`: a worker whose readiness flips on every job is free when it has come back.
    @Test func aRecoveringWorkerWaitsForItsReadiness() throws {
        try Fleet.run(Setup.http(pool: "reuse: when-ready, settle: 1h")) { fleet in
            let worker = try fleet.serveHTTP { _, _ in Reply.ok() }
            #expect(try fleet.fetch("/first").status == 200)
            try fleet.waitPool("pods", "the worker to be recovering") { $0.recovering == 1 }
            let second = try fleet.call()
            try second.get("/second")
            try fleet.waitPool("pods", "the second caller to wait") { $0.queued == 1 }
            try fleet.publish([Pod("worker", at: worker.address, ready: false)])
            try fleet.waitPool("pods", "unready") { $0.ready == 0 }
            #expect(worker.jobs == 1)
            try fleet.publish([Pod("worker", at: worker.address)])
            #expect(try second.readResponse().status == 200)
        }
    }

    @Test func aSingleUseWorkerIsUsedOnce() throws {
        try Fleet.run(Setup.http(pool: "reuse: never")) { fleet in
            let worker = try fleet.serveHTTP { _, _ in Reply.ok() }
            #expect(try fleet.fetch("/first").status == 200)
            let second = try fleet.call()
            try second.get("/second")
            try fleet.waitPool("pods", "the second caller to wait") { $0.queued == 1 && $0.free == 0 }
            // The next pod comes, at the address of the one that was used.
            try fleet.publish([Pod("another", at: worker.address)])
            #expect(try second.readResponse().status == 200)
            #expect(worker.jobs == 2)
        }
    }
}
