import Foundation
import Linux
import Model
import TestKit
import Testing

/// Callers and workers at their worst: slow, many at once, out of step.
@Suite(.ownThread) struct RobustnessTests {
    @Test func aCallerThatReadsLateGetsEveryPipelinedResponse() throws {
        try Fleet.run(Setup.http(pool: "worker-connections: reuse")) { fleet in
            let body = String(repeating: "0123456789", count: 1500)
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(body, "X-Target: \(request.target)") }
            let count = 300
            let caller = try RawCaller(to: fleet.listener(), receiveBuffer: 16 * 1024)
            try caller.send((0..<count).map { "GET /\($0) HTTP/1.1\r\nHost: x\r\n\r\n" }.joined())
            // Until the dispatcher waits for the caller: then nothing moves any more.
            var last = -1
            try fleet[.dispatcher].wait("the responses to stand still") {
                let now = worker.jobs
                defer { last = now }
                return now > 0 && now == last
            }
            #expect(worker.jobs < count, "it did not read ahead of its caller")
            for i in 0..<count {
                let response = try caller.readResponse()
                #expect(response["X-Target"] == "/\(i)")
                #expect(response.text == body)
            }
        }
    }

    @Test func aCallerThatReadsLateGetsEveryAnswerOfOurs() throws {
        let routes = """
            pools: [{ name: pods, service: shop/pods, port: http }]
            listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, routes: [{ path: /only, pool: pods }] }]
            """
        try Fleet.run(routes) { fleet in
            let count = 4000
            let caller = try RawCaller(to: fleet.listener(), receiveBuffer: 16 * 1024)
            let all = (0..<count).map { "GET /\($0) HTTP/1.1\r\nHost: x\r\n\r\n" }.joined()
            let sent = Gate()
            Thread {
                try? caller.send(all)
                sent.open()
            }.start()
            try fleet.waitCounter("answers", atLeast: 30)
            for _ in 0..<count { #expect(try caller.readResponse().status == 404) }
            try sent.wait("the sending half")
        }
    }

    /// Many at once over few pipes and one loop: nobody gets a byte of another's.
    @Test func parallelStreamsStayApart() throws {
        try Fleet.run(Setup.tcp(pool: "slots: 64")) { fleet in
            let ledger = JobLedger(slots: 64)
            let verdicts = Locked<[String]>([])
            let worker = fleet.own(
                try TestWorker(ledger: ledger) { visit in
                    let number = UInt64(try visit.receive(1)[0])
                    let problem = try both(
                        sending: Pattern(12 << 20, seed: 1000 + number), receiving: Pattern(12 << 20, seed: number), on: visit)
                    if let problem { verdicts.set(verdicts.get() + ["worker \(number): \(problem)"]) }
                    visit.halfClose()
                    _ = try visit.expectEnd()
                })
            try fleet.serve([Pod("worker", at: worker.address)])
            let done = (0..<16).map { _ in Gate() }
            let address = try fleet.listener("tcp")
            for (number, gate) in done.enumerated() {
                let thread = Thread {
                    do {
                        let caller = try RawCaller(to: address)
                        try caller.send([UInt8(number)])
                        let problem = try both(
                            sending: Pattern(12 << 20, seed: UInt64(number)), receiving: Pattern(12 << 20, seed: UInt64(1000 + number)),
                            on: caller)
                        if let problem { verdicts.set(verdicts.get() + ["caller \(number): \(problem)"]) }
                        caller.halfClose()
                        if try caller.expectEnd() != .fin { verdicts.set(verdicts.get() + ["caller \(number) was cut"]) }
                    } catch { verdicts.set(verdicts.get() + ["caller \(number): \(error)"]) }
                    gate.open()
                }
                thread.start()
            }
            for gate in done { try gate.wait("a stream") }
            #expect(verdicts.get().isEmpty, "\(verdicts.get())")
            #expect(worker.troubles.isEmpty, "\(worker.troubles)")
        }
    }

    /// Streams that are reset in the middle of bulk, beside one that is not.
    @Test func resetsInTheMiddleOfBulkSpoilNobodyElse() throws {
        try Fleet.run(Setup.tcp(pool: "slots: 64")) { fleet in
            let worker = fleet.own(
                try TestWorker(ledger: JobLedger(slots: 64)) { visit in
                    let number = UInt64(try visit.receive(1)[0])
                    try Pattern(64 << 20, seed: number).send(on: visit)
                    visit.halfClose()
                })
            try fleet.serve([Pod("worker", at: worker.address)])
            let calm = try fleet.call("tcp")
            try calm.send([200])
            for round in 0..<12 {
                let rude = try fleet.call("tcp")
                try rude.send([UInt8(round)])
                #expect(try Pattern(1 << 20, seed: UInt64(round)).receive(on: rude) == nil)
                rude.reset()
            }
            #expect(try Pattern(64 << 20, seed: 200).receive(on: calm) == nil)
            #expect(try calm.expectEnd() == .fin)
        }
    }

    @Test func aCallerThatHalfClosesAfterItsLeaseGetsItsResponse() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { _, _ in
                try gate.wait()
                return Reply.ok("all the same")
            }
            let caller = try fleet.call()
            try caller.get()
            try worker.wait("the job") { $0.running == 1 }
            caller.halfClose()
            gate.open()
            #expect(try caller.readResponse().text == "all the same")
            #expect(try caller.expectEnd() == .fin)
        }
    }

    @Test func aCallerThatAsksForCloseIsClosed() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            let caller = try fleet.call()
            let response = try caller.fetch("/", "Connection: close")
            #expect(response["Connection"] == "close")
            #expect(try caller.expectEnd() == .fin)
        }
    }

    @Test func twoListenersShareAPool() throws {
        let configuration = """
            pools: [{ name: pods, service: shop/pods, port: http }]
            listeners:
              - { name: http, address: "127.0.0.1:0", protocol: http, pool: pods }
              - { name: six, address: "[::1]:0", protocol: http, pool: pods }
              - { name: tcp, address: "127.0.0.1:0", protocol: tcp, pool: pods }
            """
        try Fleet.run(configuration) { fleet in
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request["X-Forwarded-For"] ?? "tcp") }
            #expect(try fleet.fetch().text == "127.0.0.1")
            let six = try fleet.call("six")
            #expect(try six.fetch().text == "::1")
            let tcp = try fleet.call("tcp")
            #expect(try tcp.fetch("/", "Connection: close").text == "tcp")
            #expect(worker.violations == 0)
        }
    }

    /// Two ports of one pod are two servers: a connection that is kept to one is none to the other.
    @Test func aKeptConnectionGoesToThePortThatItsPoolMeans() throws {
        let configuration = """
            pools:
              - { name: pages, service: shop/pods, port: http, worker-connections: reuse }
              - { name: tools, service: shop/pods, port: debug, worker-connections: reuse }
            listeners:
              - name: http
                address: 127.0.0.1:0
                protocol: http
                routes: [{ path: /, pool: pages }, { path: /tools, pool: tools }]
            """
        try Fleet.run(configuration) { fleet in
            let ledger = JobLedger()
            let one = fleet.own(try TestWorker(ledger: ledger, http: { _, _ in Reply.ok("pages") }))
            let two = fleet.own(try TestWorker(ledger: ledger, http: { _, _ in Reply.ok("tools") }))
            try fleet.publish([Pod("pod", ["127.0.0.1"], ports: [("http", one.address.port), ("debug", two.address.port)])])
            try fleet.waitPool("tools", "the pod") { $0.total == 1 }
            try fleet.waitPool("pages", "the pod") { $0.total == 1 }
            let caller = try fleet.call()
            for i in 0..<6 {
                let path = i.isMultiple(of: 2) ? "/" : "/tools"
                #expect(try caller.fetch(path).text == (i.isMultiple(of: 2) ? "pages" : "tools"))
            }
            #expect(ledger.counts.violations == 0)
        }
    }

    /// The same pod with another address: what was kept leads to where it was.
    @Test func aKeptConnectionEndsWhenItsEndpointMoves() throws {
        try Fleet.run(Setup.http(pool: "worker-connections: reuse")) { fleet in
            let old = fleet.own(try TestWorker(http: { _, _ in Reply.ok("old") }))
            let new = fleet.own(try TestWorker(http: { _, _ in Reply.ok("new") }))
            try fleet.serve([Pod("pod", at: old.address)])
            let caller = try fleet.call()
            #expect(try caller.fetch().text == "old")
            try fleet.publish([Pod("pod", at: new.address)])
            try fleet[.poolKeeper].wait("the new address") { try fleet.endpoints().map(\.addresses) == [[new.address.description]] }
            #expect(try caller.fetch().text == "new")
        }
    }

    @Test func anHTTPWorkerGetsThePROXYHeaderToo() throws {
        for connections in ["fresh", "reuse"] {
            try Fleet.run(Setup.http(pool: "worker-connections: \(connections)", listener: "proxy-protocol: { send: v2 }")) { fleet in
                let worker = try fleet.serveScript { visit in
                    let proxy = try ProxyV2(visit)
                    let request = try visit.readRequest()
                    visit.begin()
                    visit.finish()
                    try visit.send(Reply.ok("\(proxy.source) \(proxy.lease) \(request["Leasehold-Lease"] ?? "")"))
                }
                for _ in 0..<3 {
                    let caller = try fleet.call()
                    let words = try caller.fetch().text.split(separator: " ").map(String.init)
                    #expect(words.count == 3)
                    #expect(words.first == caller.localAddress?.description)
                    #expect(words.dropFirst().first == words.last)
                }
                #expect(worker.connections == 3, "a connection that began with one caller's address serves no other")
            }
        }
    }

    /// Out of descriptors: callers wait in the kernel, nobody is lost, and nothing spins.
    @Test func aDispatcherWithoutDescriptorsGoesOnWhenItHasSomeAgain() throws {
        let fleet = try Fleet(Setup.http())
        defer { fleet.close() }
        try fleet.start([.watcher, .poolKeeper])
        let dispatcher = try fleet.launch(.dispatcher, descriptorLimit: 40)
        try dispatcher.waitForNotification("READY=1")
        _ = try fleet.serveHTTP { _, _ in Reply.ok() }
        let address = try fleet.listener()
        let silent = try (0..<60).map { _ in try RawCaller(to: address) }
        try dispatcher.wait("it to run out") { try (fleet.tryCounter("refused-connections") ?? 1) > 0 }
        let late = try RawCaller(to: address)
        try late.get()
        let before = try fleet.processorTime(of: .dispatcher)
        var looks = 0
        try dispatcher.wait("a while without descriptors") {
            looks += 1
            return looks > 60
        }
        let spent = try fleet.processorTime(of: .dispatcher) - before
        #expect(spent < 0.1, "\(spent) s of processor time while there was nothing to do")
        for caller in silent { caller.close() }
        #expect(try late.readResponse().status == 200)
        #expect(try fleet.fetch().status == 200)
    }

    /// A recovering keeper waits for a dispatcher that lives, however long that is stopped: its jobs run.
    @Test func aLiveHoldersLeaseIsEndedByNoTimer() throws {
        try Fleet.run(Setup.http(top: "recovery-grace: 100ms\nadopt-within: 100ms")) { fleet in
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
            try fleet.waitPool("pods", "the second caller to wait") { $0.queued == 1 }
            try fleet[.dispatcher].signal(SIGSTOP)
            try fleet.restart(.poolKeeper)
            struct Process: Decodable {
                var status: String
                var uptimeSeconds: Double
            }
            var status = ""
            try fleet[.poolKeeper].wait("ten times the grace") {
                let process = try fleet.show("process", of: .poolKeeper, as: Process.self)
                status = process.status
                return process.uptimeSeconds > 1
            }
            #expect(status.contains("Recovering"), "\(status)")
            #expect(try fleet.pool("pods").waitsForRecovery)
            try fleet[.dispatcher].signal(SIGCONT)
            try fleet.waitPool("pods", "everything told again") { $0.leases == 1 && $0.queued == 1 && !$0.waitsForRecovery }
            #expect(worker.jobs == 1)
            gate.open()
            #expect(try first.readResponse().status == 200)
            #expect(try second.readResponse().status == 200)
            #expect(worker.violations == 0)
        }
    }

    /// A grant that lay too long is given back before anything is dialled: the endpoint may be somebody else's by then.
    @Test func aGrantThatIsReadTooLateIsGivenBack() throws {
        try Fleet.run(Setup.http(pool: "dial: { by: 50ms }")) { fleet in
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request.target) }
            try fleet[.poolKeeper].signal(SIGSTOP)
            let caller = try fleet.call()
            try caller.get("/late")
            try fleet.waitCounter("jobs", atLeast: 1)
            try fleet[.dispatcher].signal(SIGSTOP)
            try fleet[.poolKeeper].signal(SIGCONT)
            try fleet[.poolKeeper].wait("the grant to be old") { try fleet.leases().first.map { $0.ageMs > 200 } ?? false }
            #expect(worker.connections == 0)
            try fleet[.dispatcher].signal(SIGCONT)
            #expect(try caller.readResponse().text == "/late")
            #expect(try fleet.counter("requeues") == 0, "a late grant is nobody's failure")
            #expect(worker.jobs == 1)
        }
    }

    /// Whom the pool-keeper lets wait for longer than `hold.timeout`, because there is no endpoint, its successor finds there.
    @Test func aPoolKeepersDeathEndsNoLongerWait() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 100ms, no-endpoints-timeout: 60s }")) { fleet in
            let caller = try fleet.call()
            try caller.get("/patient")
            try fleet[.poolKeeper].wait("more than five seconds in line") { try fleet.queue().first.map { $0.ageMs > 5_300 } ?? false }
            try fleet[.poolKeeper].kill()
            // Others, who come now, have no more than their 100 ms: more than a second of them.
            for _ in 0..<12 { #expect(try fleet.fetch("/hasty").status == 503) }
            try fleet.launch(.poolKeeper)
            try fleet[.poolKeeper].waitForNotification("READY=1")
            try fleet.waitPool("pods", "the caller's old place") { $0.queued == 1 && !$0.waitsForRecovery }
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request.target) }
            #expect(try caller.readResponse().text == "/patient")
            #expect(worker.jobs == 1)
        }
    }

    @Test func withoutAPoolKeeperTheDispatcherBoundsItsCallersAndKeepsTheirAge() throws {
        try Fleet.run(Setup.http(pool: "hold: { max-queued: 3 }")) { fleet in
            let first = try fleet.call()
            try first.get("/0")
            try fleet.waitPool("pods", "one held caller") { $0.queued == 1 }
            let parkedSince = monotonicNow()
            try fleet[.poolKeeper].kill()
            let others = try (1..<3).map { _ in try fleet.call() }
            for (i, caller) in others.enumerated() {
                try caller.get("/\(i + 1)")
                try fleet.waitCounter("jobs", atLeast: UInt64(i + 2))
            }
            let surplus = try fleet.fetch("/surplus")
            #expect(surplus.status == 429)
            #expect(surplus["Leasehold-Reason"] == "queue-full")
            // Ages travel, not instants: what passes between the telling and its being read does not count.
            let waited = Int((monotonicNow() - parkedSince) / 1_000_000)
            try fleet.launch(.poolKeeper)
            try fleet[.poolKeeper].waitForNotification("READY=1")
            try fleet.waitPool("pods", "all of them told again") { $0.queued == 3 }
            #expect(try fleet.queue()[0].ageMs >= waited, "the wait did not begin anew")
            let worker = try fleet.serveHTTP { _, _ in Reply.ok() }
            for caller in [first] + others { #expect(try caller.readResponse().status == 200) }
            #expect(worker.names == ["/0", "/1", "/2"])
        }
    }
}
