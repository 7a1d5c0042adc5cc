import CLinux
import Foundation
import Linux
import Model
import TestKit
import Testing
import Wire

/// The rules for descriptors that exist twice, those that the adoption tests do not break by themselves.
@Suite(.ownThread) struct DescriptorRulesTests {
    /// Rule 5. While a duplicate lives, a close says nothing: an end must be a shutdown, a cut a reset.
    @Test func endsAndCutsReachBothSidesWhileThePoolKeeperHoldsDuplicates() throws {
        try Seat.run(Setup.tcp(), listener: "tcp") { fleet, seat in
            let gate = Gate()
            let workers = try (0..<3).map { _ in
                fleet.own(try TestWorker { visit in
                    let kind = try visit.receive(1)[0]
                    visit.begin()
                    try visit.send([kind])
                    try gate.wait()
                    switch kind {
                    case 0: break
                    case 1: visit.reset()
                    default: _ = try visit.expectEnd()
                    }
                    visit.finish()
                })
            }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            let callers = try (0..<3).map { _ in try seat.call() }
            for (i, caller) in callers.enumerated() {
                try caller.send([UInt8(i)])
                #expect(try caller.receive(1) == [UInt8(i)])
            }
            // It keeps every duplicate and does nothing about it.
            try fleet[.poolKeeper].signal(SIGSTOP)
            defer { try? fleet[.poolKeeper].signal(SIGCONT) }
            gate.open()
            #expect(try callers[0].expectEnd() == .fin)
            callers[0].close()
            #expect(try callers[1].expectEnd() == .reset)
            callers[2].halfClose()
            #expect(try callers[2].expectEnd() == .fin)
            for worker in workers { try worker.wait("its end") { $0.running == 0 && $0.jobs <= 1 } }
            #expect(workers.flatMap(\.troubles).isEmpty)
        }
    }

    /// Rules 6 and 9. No byte reaches a worker before the kernel has its duplicate for the pool-keeper; a caller is told of once.
    @Test func noByteGoesToAWorkerBeforeItIsInEscrow() throws {
        let fleet = try Fleet(Setup.tcp())
        defer { fleet.close() }
        let keeper = try FakeKeeper(fleet)
        let heard = Gate()
        let worker = fleet.own(
            try TestWorker { visit in
                _ = try visit.receive(1)
                heard.open()
                try visit.send("x")
            })
        try fleet.launch(.dispatcher)
        try keeper.greet()
        try fleet[.dispatcher].waitForNotification("READY=1")
        let caller = try fleet.call("tcp")
        try caller.send("hello")
        let request = try keeper.hear("a ticket") { if case .ticket = $0 { true } else { false } }
        guard case .ticket(let ticket) = request else { return }
        // Nobody listens: others fill the link until it takes nothing more.
        var others: [RawCaller] = []
        try fleet[.dispatcher].wait("the link to be full") {
            others.append(try fleet.call("tcp"))
            return try others.count > 3 && fleet.counter("accepted") > fleet.counter("link-packets-sent") + 20
        }
        try keeper.say(
            .grant(
                Grant(
                    ticket: ticket.id, lease: LeaseID(epoch: 1, counter: 1), pool: ticket.pool, endpoint: EndpointID(high: 1, low: 1),
                    address: worker.address, dialBy: .seconds(30))))
        try worker.wait("a connection") { $0.connections == 1 }
        // Time enough for a byte that waits for nothing: three hundred answers of the dispatcher.
        for _ in 0..<300 { _ = try fleet.counter("accepted") }
        #expect(!heard.isOpen, "a byte went before sendmsg(escrow)")
        try keeper.hear("the worker") { if case .escrow(.worker) = $0 { true } else { false } }
        try heard.wait("the first byte")
        #expect(try caller.receive(1) == Array("x".utf8))
        let told = keeper.heard.filter { if case .escrow(.caller(let name, _)) = $0 { name == ticket.connection } else { false } }
        #expect(told.count == 1, "once, for the connection's life")
    }

    /// Rule 6. The lease is there for as long as a byte of the response is in our hands: whoever dies then has a successor that goes on.
    @Test func aLeaseEndsBehindTheLastByteOfItsResponse() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let size = 6 << 20
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                visit.begin()
                try visit.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
                try Pattern(size).send(on: visit)
                visit.finish()
            }
            let caller = try seat.call(receiveBuffer: 16 * 1024)
            try caller.get("/")
            _ = try caller.receive(through: "\r\n\r\n")
            var body: [UInt8] = []
            while try fleet.pool("pods").leases > 0, body.count < size { body += try caller.receiveSome(atMost: 32 * 1024) }
            try seat.kill()
            body += try caller.receive(size - body.count)
            #expect(body.elementsEqual((0..<size).lazy.map { Pattern.base[$0 % Pattern.period] }))
            #expect(worker.troubles.isEmpty, "\(worker.troubles)")
        }
    }

    /// Rule 8. What a session leaves in its pipe is nobody's.
    @Test func aPipeThatIsLentAgainIsEmpty() throws {
        try Seat.run(Setup.tcp(), listener: "tcp") { fleet, seat in
            let (size, sent) = (64 << 20, Locked(0))
            let worker = try fleet.serveScript { visit in
                let seed = UInt64(try visit.receive(1)[0])
                visit.begin()
                // Sending fails when the caller is gone.
                try? Pattern(seed == 0 ? 2 << 20 : size, seed: seed * 1000).send(on: visit) { sent.set($0) }
                visit.finish()
            }
            for round in 1...4 {
                let caller = try seat.call(receiveBuffer: 4096)
                try caller.send([UInt8(round)])
                _ = try caller.receive(100_000)
                // All that can hold something is full: its socket, the pipe, the worker's.
                var (last, still) = (0, 0)
                try fleet[.dispatcher].wait("the worker to stand still") {
                    still = sent.get() == last ? still + 1 : 0
                    last = sent.get()
                    return last > 0 && still > 20
                }
                caller.reset()
                try worker.wait("the end of job \(round)") { $0.jobs == round && $0.running == 0 }
            }
            let caller = try seat.call(receiveBuffer: 4096)
            try caller.send([0])
            #expect(try Pattern(2 << 20).receive(on: caller) == nil)
        }
    }

    /// Rule 10. Adopt, then READY, then accept.
    @Test func nobodyIsAcceptedBeforeThePoolKeeperHasHandedOver() throws {
        let fleet = try Fleet(Setup.tcp())
        defer { fleet.close() }
        let keeper = try FakeKeeper(fleet)
        try fleet.launch(.dispatcher)
        var early: RawCaller?
        try keeper.greet {
            early = try fleet.call("tcp")
            // Time enough for what waits for nothing.
            for _ in 0..<100 {
                let row = try fleet.show("process", of: .dispatcher, as: Fleet.ProcessRow.self)
                #expect(!row.ready && row.counters["accepted"] == 0)
            }
        }
        try fleet[.dispatcher].waitForNotification("READY=1")
        try fleet.waitCounter("accepted", atLeast: 1)
        withExtendedLifetime(early) {}
    }

    /// Rule 11. splice(2) has no MSG_NOSIGNAL.
    @Test func aSinkThatGoesAwayInTheMiddleOfBulkKillsNobody() throws {
        try Seat.run(Setup.tcp(), listener: "tcp") { fleet, seat in
            let size = 64 << 20
            let worker = try fleet.serveScript { visit in
                visit.begin()
                _ = try visit.receive(1)
                // Sending fails when the caller is gone.
                try? Pattern(size).send(on: visit)
                visit.finish()
            }
            for round in 1...5 {
                let caller = try seat.call()
                try caller.send("x")
                _ = try caller.receive(1 << 20)
                // A reset behind an end is EPIPE to whoever writes next, and with it the signal (tcp_reset); any other is ECONNRESET.
                caller.halfClose()
                caller.reset()
                try worker.wait("the end of job \(round)") { $0.jobs == round && $0.running == 0 }
                #expect(try fleet[.dispatcher].isRunning)
            }
            // Whether a sink is found broken by a write or by its event is a matter of luck.
            let status = try String(contentsOfFile: "/proc/\(fleet[.dispatcher].pid)/status", encoding: .utf8)
            let ignored = status.split(separator: "\n").first { $0.hasPrefix("SigIgn:") }.flatMap { UInt64($0.dropFirst(8), radix: 16) }
            #expect((ignored ?? 0) & 1 << UInt64(SIGPIPE - 1) != 0, "\(status)")
        }
    }

    /// Beyond the announced budget a session runs, unescrowed, and that is counted and said.
    @Test func beyondThePoolKeepersBudgetSessionsRunWithoutEscrowAndItIsSaid() throws {
        let fleet = try Fleet(Setup.http())
        defer { fleet.close() }
        try fleet.launch(.watcher)
        try fleet.launch(.poolKeeper, descriptorLimit: 64)
        for process in [Fleet.Process.watcher, .poolKeeper] { try fleet[process].waitForNotification("READY=1") }
        let seat = try Seat(fleet, "http")
        _ = try fleet.serveHTTP { request, _ in Reply.ok(request.target) }
        let callers = try (0..<40).map { _ in try seat.call() }
        for (i, caller) in callers.enumerated() { #expect(try caller.fetch("/\(i)").text == "/\(i)") }
        #expect(try fleet.counter("escrow-skipped") > 0)
        #expect(try fleet[.dispatcher].output.contains("More connections than the pool-keeper takes into escrow"))
        try seat.kill()
        // Those that were in escrow live on, the others were told.
        var (served, cut) = (0, 0)
        for caller in callers {
            do {
                try caller.get("/again")
                if try caller.readResponse().text == "/again" { served += 1 }
            } catch { cut += 1 }
        }
        #expect(served > 5 && cut > 5 && served + cut == 40, "\(served) served, \(cut) cut")
    }

    /// The kernel refuses more descriptors in flight than one process of the user may have open (ETOOMANYREFS, unix(7)): what is to be
    /// in escrow waits, is counted, and goes in order as soon as somebody reads.
    @Test(.enabled(if: geteuid() == 0, "needs root: privileged processes are not refused"))
    func escrowWaitsWhileTooManyDescriptorsOfTheUserAreInFlight() throws {
        let fleet = try Fleet(Setup.tcp())
        defer { fleet.close() }
        let keeper = try FakeKeeper(fleet)
        let worker = fleet.own(try TestWorker { visit in try visit.send(try visit.receive(5)) })
        // A user of this test's own: nobody else's descriptors count.
        try fleet.launch(.dispatcher, descriptorLimit: 64, user: 64_000 + UInt32(getpid() % 1000))
        try keeper.greet()
        try fleet[.dispatcher].waitForNotification("READY=1")
        // Nobody reads. Their connections are over, but what was sent of them is in flight for as long as that.
        var callers: UInt64 = 0
        while try fleet.counter("escrow-delayed") == 0 {
            guard callers < 300 else { throw TestFailure("nothing was refused after \(callers) callers") }
            callers += 1
            let caller = try fleet.call("tcp")
            try fleet.waitCounter("accepted", atLeast: callers)
            caller.close()
        }
        #expect(callers > 50, "about as many as the limit")
        let last = try fleet.call("tcp")
        try last.send("hello")
        let request = try keeper.hear("its ticket") { if case .ticket = $0 { true } else { false } }
        guard case .ticket(let ticket) = request else { return }
        // Every one of them, once, in order, each with its descriptor.
        let told = keeper.heard.compactMap { if case .escrow(.caller(let name, _)) = $0 { name } else { nil } }
        #expect(told.count == Int(callers) + 1 && Set(told).count == told.count && told.last == ticket.connection)
        #expect(keeper.descriptors.count == told.count + 1, "and the records")
        let gone = keeper.heard.count { if case .escrow(.callerGone) = $0 { true } else { false } }
        #expect(gone == Int(callers))
        try keeper.say(
            .grant(
                Grant(
                    ticket: ticket.id, lease: LeaseID(epoch: 1, counter: 1), pool: ticket.pool, endpoint: EndpointID(high: 1, low: 1),
                    address: worker.address, dialBy: .seconds(30))))
        #expect(try last.receive(5) == Array("hello".utf8))
    }

    /// Rule 6, where there is no room for the worker's socket: a job that a worker may have begun is lost with its dispatcher, and never
    /// begun again.
    @Test(arguments: [false, true])
    func aJobWhoseWorkerIsNotInEscrowIsNotBegunAgain(_ isTCP: Bool) throws {
        let fleet = try Fleet(isTCP ? Setup.tcp() : Setup.http())
        defer { fleet.close() }
        try fleet.launch(.watcher)
        try fleet.launch(.poolKeeper, descriptorLimit: 64)
        for process in [Fleet.Process.watcher, .poolKeeper] { try fleet[process].waitForNotification("READY=1") }
        let seat = try Seat(fleet, isTCP ? "tcp" : "http")
        let ledger = JobLedger(slots: 4)
        let gate = Gate()
        let workers = try (0..<4).map { _ in
            fleet.own(try TestWorker(ledger: ledger) { visit in
                let name = isTCP ? String(decoding: try visit.receive(1), as: UTF8.self) : try visit.readRequest().target
                visit.begin(name)
                try gate.wait()
                try visit.send(isTCP ? name : Reply.ok(name))
                visit.finish()
            })
        }
        try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
        // Callers until one of them is not taken: then one descriptor is left, for one worker of the next two.
        var idle: [RawCaller] = []
        let sessions = try (0..<2).map { _ in try seat.call() }
        while try fleet.counter("escrow-skipped") == 0 {
            idle.append(try seat.call())
            try fleet.waitCounter("accepted", atLeast: UInt64(idle.count + 2))
        }
        for (i, caller) in sessions.enumerated() {
            if isTCP { try caller.send("\(i)") } else { try caller.get("\(i == 0 ? "/0" : "/1")") }
            try fleet.waitPool("pods", "session \(i)") { $0.leases == i + 1 }
            try workers[0].wait("job \(i)") { $0.jobs == i + 1 }
        }
        #expect(try fleet.leases().filter(\.escrowed).count == 1)
        try seat.kill()
        #expect(try fleet.counter("adopted-sessions") == 1)
        #expect(try sessions[1].receiveToEnd().end == .reset)
        // Those that have said nothing ask for nothing.
        #expect(try fleet.pool("pods").queued == 0 && fleet.leases().count == 1)
        gate.open()
        let answer = isTCP ? String(decoding: try sessions[0].receive(1), as: UTF8.self) : try sessions[0].readResponse().text
        #expect(answer == (isTCP ? "0" : "/0"))
        sessions[0].close()
        try fleet.waitPool("pods", "the end") { $0.leases == 0 && $0.queued == 0 }
        #expect(ledger.counts.names == (isTCP ? ["0", "1"] : ["/0", "/1"]), "each began once")
        #expect(try fleet.counter("adoption-losses") == 1)
        withExtendedLifetime(idle) {}
    }

    /// A new pool-keeper is told everything again, so that the next death of a dispatcher costs as little as the first.
    @Test func aNewPoolKeeperGetsEverythingIntoEscrowAgain() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/running" { try gate.wait() }
                return Reply.ok(request.target)
            }
            let (idle, running, parked) = (try seat.call(), try seat.call(), try seat.call())
            #expect(try idle.fetch("/idle").text == "/idle")
            try running.get("/running")
            try worker.wait("the job") { $0.running == 1 }
            try parked.get("/parked")
            try fleet.waitPool("pods", "one parked") { $0.queued == 1 }
            for round in 0..<3 {
                try fleet[.poolKeeper].kill()
                try fleet.launch(.poolKeeper)
                try fleet[.poolKeeper].waitForNotification("READY=1")
                try fleet.waitPool("pods", "everything told again") { $0.leases == 1 && $0.queued == 1 && !$0.waitsForRecovery }
                try seat.kill()
                #expect(try fleet.counter("adopted-callers") == 3, "round \(round)")
                #expect(try fleet.counter("adopted-sessions") == 1, "round \(round)")
            }
            gate.open()
            #expect(try running.readResponse().text == "/running")
            #expect(try parked.readResponse().text == "/parked")
            #expect(try idle.fetch("/idle").text == "/idle")
            #expect(worker.violations == 0)
        }
    }
}
