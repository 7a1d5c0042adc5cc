import Foundation
import Linux
import Model
import TestKit
import Testing

/// SIGUSR2 hands over, SIGTERM drains: never the one for the other.
@Suite(.ownThread) struct HandOverTests {
    @Test func handingOverUnderLoadLosesNothing() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let workers = try fleet.exampleWorkers(4)
            try fleet.serve(workers.map(\.pod))
            let crowd = Crowd(of: 60, rounds: 12, at: seat.address) { _, _ in "GET /render?ms=3&bytes=3000 HTTP/1.1\r\nHost: x\r\n\r\n" }
            crowd.start()
            try crowd.sentFirst.wait()
            var handOvers = 0
            while handOvers < 6, try crowd.wait(forAnswers: 60 + handOvers * 80) {
                handOvers += 1
                try fleet[.dispatcher].signal(SIGUSR2)
                #expect(try fleet[.dispatcher].waitForExit() == .status(0))
                // Callers that come while there is nobody wait in the backlog.
                let between = try seat.call()
                try between.get("/render?ms=1&bytes=10")
                try seat.sit()
                #expect(try between.readResponse().status == 200)
                #expect(try fleet.counter("adoption-losses") == 0)
                #expect(try fleet.counter("adoption-cut-heads") == 0)
            }
            #expect(handOvers == 6)
            try crowd.finish()
            #expect(crowd.answers.filter { $0.response.status == 200 }.count == 720)
            #expect(fleet.violations.isEmpty, "\(fleet.violations)")
            for worker in workers { #expect(try worker.stats().concurrentSecondJobs == 0) }
        }
    }

    /// While the process ends its other thread is still at work: nothing that it moves may be closed under it.
    @Test func handingOverWithTwoThreadsLosesNoByteOfWhatTheyMove() throws {
        try Seat.run(Setup.tcp(pool: "hold: { timeout: 5m }", top: "dispatcher: { threads: 2 }"), listener: "tcp") { fleet, seat in
            let flows = (0..<24).map { (up: Flow(seed: $0, appetite: .eager, most: 64 * 1024), down: Flow(seed: 7000 + $0, appetite: .eager, most: 64 * 1024)) }
            let workers = try flows.map { _ in
                fleet.own(try TestWorker { visit in
                    visit.begin()
                    let flow = flows[Int(try visit.receive(1)[0])]
                    flow.up.receive(on: visit)
                    flow.down.send(on: visit) { visit.finish() }
                    _ = try flow.up.outcome(patience: 20)
                    _ = try flow.down.outcome(patience: 20)
                })
            }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            var callers: [RawCaller] = []
            for (i, flow) in flows.enumerated() {
                let caller = try seat.call()
                try caller.send([UInt8(i)])
                flow.up.send(on: caller)
                flow.down.receive(on: caller)
                callers.append(caller)
            }
            // A grant that the dispatcher has not read yet is no session.
            try fleet[.dispatcher].wait("every tunnel to move") { flows.allSatisfy { $0.up.received > 0 && $0.down.received > 0 } }
            for round in 0..<4 {
                let mark = flows.reduce(0) { $0 + $1.up.received + $1.down.received } + 400_000
                try fleet[.dispatcher].wait("bytes to move") { flows.reduce(0) { $0 + $1.up.received + $1.down.received } > mark }
                try seat.handOver()
                let troubles = flows.compactMap { $0.up.trouble ?? $0.down.trouble }
                try #require(troubles.isEmpty, "round \(round): \(troubles)")
                let counters = try fleet.counters()
                #expect(counters["adopted-sessions"] == UInt64(flows.count))
                #expect(counters["adoption-losses"] == 0)
            }
            for flow in flows {
                flow.up.stop()
                flow.down.stop()
            }
            for (i, flow) in flows.enumerated() {
                #expect(try flow.up.outcome() == nil, "tunnel \(i) up")
                #expect(try flow.down.outcome() == nil, "tunnel \(i) down")
            }
            #expect(workers.allSatisfy { $0.troubles.isEmpty } && workers.reduce(0) { $0 + $1.connections } == flows.count)
            withExtendedLifetime(callers) {}
        }
    }

    /// It goes on answering, lets what runs finish, and leaves nothing to a successor.
    @Test func drainingEndsWhatRunsAndHandsNothingOver() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let (gate, _, running) = try heldJob(fleet, seat)
            let parked = try seat.call()
            try parked.get("/parked")
            try fleet.waitPool("pods", "a parked caller") { $0.queued == 1 }
            let daemon = try fleet[.dispatcher]
            daemon.signal(SIGTERM)
            let late = try seat.call()
            #expect(try late.fetch().status == 503, "no caller hangs in the backlog behind a drain")
            gate.open()
            #expect(try running.readResponse().text == "/running")
            #expect(try parked.readResponse().text == "/parked")
            #expect(try daemon.waitForExit() == .status(0))
            try seat.sit()
            #expect(try fleet.counter("adopted-callers") == 0)
            #expect(try fleet.counter("adopted-sessions") == 0)
            #expect(try fleet.fetch("/after").text == "/after")
        }
    }

    /// A restart of what is being stopped: what has not finished is the successor's.
    @Test func whatDrainsCanStillBeHandedOver() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let (gate, _, running) = try heldJob(fleet, seat)
            try fleet[.dispatcher].signal(SIGTERM)
            try fleet[.dispatcher].waitForNotification("STOPPING=1")
            try seat.handOver()
            #expect(try fleet.counter("adopted-sessions") == 1)
            gate.open()
            #expect(try running.readResponse().text == "/running")
            #expect(try running.fetch("/again").text == "/again")
        }
    }

    /// Without a pool-keeper everything would be lost: the hand-over waits for the next one.
    @Test func handingOverWaitsForThePoolKeeper() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let (gate, worker, running) = try heldJob(fleet, seat)
            try fleet[.poolKeeper].kill()
            let daemon = try fleet[.dispatcher]
            daemon.signal(SIGUSR2)
            try fleet.launch(.poolKeeper)
            #expect(try daemon.waitForExit() == .status(0))
            try seat.sit()
            gate.open()
            #expect(try running.readResponse().text == "/running")
            #expect(worker.violations == 0 && worker.connections == 1)
        }
    }

    /// Nobody is there to take anything: it is waited for within reason, and what is lost is said.
    @Test func handingOverToNobodyIsSaid() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let (gate, _, running) = try heldJob(fleet, seat)
            try fleet[.poolKeeper].kill()
            let daemon = try fleet[.dispatcher]
            daemon.signal(SIGUSR2)
            #expect(try daemon.waitForExit() == .status(0))
            #expect(daemon.output.contains("The pool-keeper did not take everything over"))
            gate.open()
            #expect(throws: (any Error).self) { try running.readResponse() }
        }
    }

    /// What the pool-keeper had not read when it died it was not told, though the kernel had taken it: its end is behind its last words,
    /// and here it comes with the signal.
    @Test func whatADyingPoolKeeperHadNotReadIsNotHandedOver() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let (gate, worker, running) = try heldJob(fleet, seat)
            let late = try seat.call()
            let daemon = try fleet[.dispatcher]
            try fleet[.poolKeeper].signal(SIGSTOP)
            try late.get("/late")
            try daemon.wait("both callers") { try fleet.counter("waiting") == 1 }
            daemon.signal(SIGSTOP)
            try fleet[.poolKeeper].kill()
            daemon.signal(SIGUSR2)
            daemon.signal(SIGCONT)
            try fleet.launch(.poolKeeper)
            #expect(try daemon.waitForExit() == .status(0))
            try seat.sit()
            gate.open()
            #expect(try running.readResponse().text == "/running")
            #expect(try late.readResponse().text == "/late")
            #expect(worker.violations == 0)
        }
    }

    /// A worker that is at a job until the gate opens, and the caller who has it.
    private func heldJob(_ fleet: Fleet, _ seat: Seat) throws -> (gate: Gate, worker: TestWorker, running: RawCaller) {
        let gate = Gate()
        let worker = try fleet.serveHTTP { request, _ in
            if request.target == "/running" { try gate.wait() }
            return Reply.ok(request.target)
        }
        let running = try seat.call()
        try running.get("/running")
        try worker.wait("the job") { $0.running == 1 }
        return (gate, worker, running)
    }
}
