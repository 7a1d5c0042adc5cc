import Foundation
import Linux
import Model
import TestKit
import Testing

/// Any process dies at any moment; the others, and the callers, go on.
@Suite(.ownThread) struct KillTests {
    @Test func sessionsAndParkedCallersOutliveThePoolKeeper() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/running" { try gate.wait() }
                return Reply.ok(request.target)
            }
            let running = try fleet.call()
            try running.get("/running")
            try worker.wait("the running job") { $0.running == 1 }
            let parked = try (0..<10).map { _ in try fleet.call() }
            for (i, caller) in parked.enumerated() {
                try caller.get("/\(i)")
                try fleet.waitPool("pods", "\(i + 1) parked callers") { $0.queued == i + 1 }
            }
            let address = try fleet.listener()
            try fleet[.poolKeeper].kill()
            // While it is away callers are taken in.
            let late = try RawCaller(to: address)
            try late.get("/late")
            try fleet.launch(.poolKeeper)
            try fleet[.poolKeeper].waitForNotification("READY=1")
            try fleet.waitPool("pods", "everything told again") { $0.leases == 1 && $0.queued == 11 && !$0.waitsForRecovery }
            #expect(worker.jobs == 1, "the running job still has its worker to itself")
            gate.open()
            #expect(try running.readResponse().text == "/running")
            for (i, caller) in parked.enumerated() { #expect(try caller.readResponse().text == "/\(i)") }
            #expect(try late.readResponse().text == "/late")
            #expect(worker.names == ["/running"] + (0..<10).map { "/\($0)" } + ["/late"], "in their old order")
            #expect(worker.violations == 0)
        }
    }

    /// A caller that leaves, and a worker that ends, while nobody keeps the books.
    @Test func whatHappensWhileThePoolKeeperIsAwayIsToldLater() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/first" { try gate.wait() }
                return Reply.ok()
            }
            let first = try fleet.call()
            try first.get("/first")
            try worker.wait("the first job") { $0.running == 1 }
            let leaves = try fleet.call()
            try leaves.get("/leaves")
            let stays = try fleet.call()
            try stays.get("/stays")
            try fleet.waitPool("pods", "two parked callers") { $0.queued == 2 }
            try fleet[.poolKeeper].kill()
            leaves.close()
            gate.open()
            #expect(try first.readResponse().status == 200)
            try fleet.waitCounter("leases-served", atLeast: 1)
            try fleet.launch(.poolKeeper)
            #expect(try stays.readResponse().status == 200)
            #expect(worker.names == ["/first", "/stays"])
        }
    }

    @Test func theWatchersDeathIsNoticedByNobody() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveHTTP { _, _ in Reply.ok("one") }
            try fleet[.watcher].kill()
            for _ in 0..<5 { #expect(try fleet.fetch().text == "one") }
            // Even a new keeper and a new dispatcher are served by a watcher that knows only what it saved.
            let other = fleet.own(try TestWorker(http: { _, _ in Reply.ok("two") }))
            try fleet.publish([Pod("other", at: other.address)])
            try fleet.launch(.watcher)
            try fleet[.poolKeeper].wait("the change that was made meanwhile") { try fleet.endpoints().map(\.uid) == ["other"] }
            #expect(try fleet.fetch().text == "two")
            #expect(worker.violations == 0)
        }
    }

    @Test func aWatcherThatCannotReadItsDirectoryServesWhatItSaved() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            // Saves are at least 5 s apart: the first may be from before the endpoint.
            try fleet[.watcher].wait("the endpoint to be saved") {
                FileManager.default.contents(atPath: "\(fleet.stateDirectory)/watcher/endpoints")?.range(of: Data("worker".utf8)) != nil
            }
            try fleet[.watcher].kill()
            try fleet[.poolKeeper].kill()
            #expect(rename(fleet.endpointsDirectory, fleet.endpointsDirectory + ".away") == 0)
            try fleet.launch(.watcher)
            try fleet.launch(.poolKeeper)
            try fleet[.poolKeeper].waitForNotification("READY=1")
            #expect(try fleet.fetch().status == 200)
            struct Source: Decodable { var state: String }
            #expect(try fleet.show("source", of: .watcher, as: Source.self).state == "stale")
            // Unknown is never empty: when the directory is back, it is read.
            #expect(rename(fleet.endpointsDirectory + ".away", fleet.endpointsDirectory) == 0)
            try fleet[.watcher].wait("the source to be live") { try fleet.show("source", of: .watcher, as: Source.self).state == "live" }
            #expect(try fleet.fetch().status == 200)
        }
    }

    @Test func aBrokenManifestLeavesItsLastGoodVersionInForce() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            try fleet.publish("kind: EndpointSlice\napiVersion: [")
            struct Source: Decodable { var problems: [String] }
            try fleet[.watcher].wait("the problem to be shown") {
                try fleet.show("source", of: .watcher, as: Source.self).problems.contains { $0.contains("endpoints.yaml:") }
            }
            #expect(try fleet.fetch().status == 200)
            #expect(try fleet.pool("pods").total == 1)
        }
    }

    /// Its connections, and those who wait, are the next one's: nobody notices, and nobody is given a second job.
    @Test func afterADispatchersDeathItsSuccessorServesEverybodyAndNoWorkerHasTwoJobs() throws {
        try Fleet.run(Setup.http()) { fleet in
            let workers = try fleet.exampleWorkers(3)
            try fleet.serve(workers.map(\.pod))
            for round in 0..<3 {
                let callers = try (0..<6).map { _ in try fleet.call() }
                for caller in callers { try caller.get("/render?ms=150&bytes=10&linger=0") }
                try fleet.waitPool("pods", "all workers at work") { $0.leases == 3 && $0.queued == 3 }
                try fleet.restart(.dispatcher)
                for caller in callers { #expect(try caller.readResponse().status == 200, "round \(round)") }
                let crowd = Crowd(of: 9, at: try fleet.listener()) { _, _ in "GET /render?ms=5&bytes=10 HTTP/1.1\r\nHost: x\r\n\r\n" }
                crowd.start()
                try crowd.finish()
                #expect(crowd.answers.allSatisfy { $0.response.status == 200 })
            }
            #expect(fleet.violations.isEmpty, "\(fleet.violations)")
        }
    }

    /// No byte has gone to its worker, and the next one in the seat knows: the worker does not rest, and nobody loses a place.
    @Test func aGrantThatADispatcherHasNotReadIsGivenBackByItsSuccessor() throws {
        try Seat.run(Setup.http(pool: "abandon: 1h, hold: { timeout: 60s }")) { fleet, seat in
            let callers = try (0..<3).map { _ in try seat.call() }
            for (i, caller) in callers.enumerated() {
                try caller.get("/\(i)")
                try fleet.waitPool("pods", "\(i + 1) parked callers") { $0.queued == i + 1 }
            }
            try fleet[.dispatcher].signal(SIGSTOP)
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request.target) }
            try fleet.waitPool("pods", "a grant") { $0.leases == 1 && $0.queued == 2 }
            try seat.kill()
            for (i, caller) in callers.enumerated() { #expect(try caller.readResponse().text == "/\(i)") }
            #expect(worker.names == ["/0", "/1", "/2"], "in their old order")
            #expect(worker.violations == 0)
        }
    }

    /// The worker goes on with the orphaned job; the pool-keeper, which knows that, is killed too.
    @Test func theWorkerOfAKilledDispatcherIsLeftAloneForAsLongAsItMayGoOn() throws {
        let pool = "quarantine: { first: 50ms, most: 50ms }, hold: { timeout: 60s }, abandon: 8s"
        try Fleet.run(Setup.http(pool: pool, top: "recovery-grace: 0s\nadopt-within: 0s")) { fleet in
            let workers = try fleet.exampleWorkers(2)
            try fleet.serve([workers[0].pod])
            let orphaned = try fleet.call()
            try orphaned.get("/render?ms=2000&bytes=10")
            try fleet.waitPool("pods", "the job") { $0.leases == 1 }
            let parked = try (0..<5).map { _ in try fleet.call() }
            for caller in parked { try caller.get("/render?ms=1&bytes=10") }
            try fleet.waitPool("pods", "the parked callers") { $0.queued == 5 }

            try fleet.restart(.dispatcher)
            for caller in [orphaned] + parked { #expect(try caller.receiveToEnd().bytes.isEmpty) }
            try fleet.waitPool("pods", "its worker to be set aside") { $0.quarantined == 1 && $0.queued == 0 }
            let crowd = Crowd(of: 6, at: try fleet.listener()) { _, _ in "GET /render?ms=5&bytes=10 HTTP/1.1\r\nHost: x\r\n\r\n" }
            crowd.start()
            try fleet.waitPool("pods", "new callers to wait") { $0.queued == 6 }
            // Another worker serves the seat's new dispatcher, at once.
            try fleet.publish(workers.map(\.pod))
            try crowd.finish()

            try fleet.restart(.poolKeeper)
            try fleet.waitPool("pods", "the new pool-keeper to grant") { !$0.waitsForRecovery && $0.total == 2 }
            #expect(try fleet.pool("pods").quarantined == 1, "it was told by the old one")
            #expect(try fleet.fetch("/render?ms=1&bytes=10").status == 200)
            try fleet.waitPool("pods", "the worker to be free again") { $0.free == 2 }
            let last = Crowd(of: 6, at: try fleet.listener()) { _, _ in "GET /render?ms=20&bytes=10 HTTP/1.1\r\nHost: x\r\n\r\n" }
            last.start()
            try last.finish()
            #expect((crowd.answers + last.answers).allSatisfy { $0.response.status == 200 })
            #expect(fleet.violations.isEmpty, "\(fleet.violations)")
        }
    }

    /// Nobody has seen what it held: nothing is granted until its worker must be done.
    @Test func afterADeathThatNobodySawNothingIsGrantedForAsLongAsAWorkerMayGoOn() throws {
        try Fleet.run(Setup.http(pool: "quarantine: { first: 50ms, most: 50ms }, abandon: 2s", top: "recovery-grace: 0s")) { fleet in
            let worker = try #require(try fleet.exampleWorkers(1).first)
            try fleet.serve([worker.pod])
            let orphaned = try fleet.call()
            try orphaned.get("/render?ms=1000&bytes=10")
            try fleet.waitPool("pods", "the job") { $0.leases == 1 }
            try fleet[.poolKeeper].kill()
            try fleet[.dispatcher].kill()
            try fleet.launch(.poolKeeper)
            try fleet.launch(.dispatcher)
            try fleet[.dispatcher].waitForNotification("READY=1")
            #expect(try fleet.fetch("/render?ms=1&bytes=10").status == 200)
            #expect(fleet.violations.isEmpty, "\(fleet.violations)")
        }
    }

    /// With nobody in its seat in time, what it held is cut; its workers are set aside.
    @Test func withoutASuccessorInTimeSessionsAreCutAndTheirWorkersSetAside() throws {
        try Fleet.run(Setup.http(pool: "quarantine: { first: 1h, most: 1h }", top: "adopt-within: 300ms")) { fleet in
            let gate = Gate()
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                visit.begin()
                try gate.wait()
                // Its connection was cut by the pool-keeper: nothing that it still says can reach anybody.
                try visit.waitUntilCut()
                visit.finish()
            }
            let caller = try fleet.call()
            try caller.get("/")
            let parked = try fleet.call()
            try worker.wait("the job") { $0.running == 1 }
            try parked.get("/")
            try fleet.waitPool("pods", "a parked caller") { $0.queued == 1 }
            try fleet[.dispatcher].kill()
            gate.open()
            #expect(try caller.expectEnd() == .reset)
            #expect(try parked.expectEnd() == .reset)
            try worker.wait("the end of the job") { $0.running == 0 }
            try fleet.waitPool("pods", "the worker set aside") { $0.leases == 0 && $0.queued == 0 && $0.quarantined == 1 }
        }
    }

    @Test func aStoppedPoolKeeperDelaysAndLosesNothing() throws {
        try Fleet.run(Setup.http()) { fleet in
            let workers = try fleet.exampleWorkers(4)
            try fleet.serve(workers.map(\.pod))
            let crowd = Crowd(of: 60, rounds: 4, at: try fleet.listener()) { _, _ in "GET /render?ms=2&bytes=50 HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            crowd.start()
            var stops = 0
            while stops < 8, try crowd.wait(forAnswers: stops * 25) {
                try fleet[.poolKeeper].signal(SIGSTOP)
                // Stopped for as long as it takes to stop and wake the watcher.
                try fleet[.watcher].signal(SIGSTOP)
                try fleet[.watcher].signal(SIGCONT)
                try fleet[.poolKeeper].signal(SIGCONT)
                stops += 1
            }
            try crowd.finish()
            #expect(crowd.answers.filter { $0.response.status == 200 }.count == 240)
            #expect(fleet.violations.isEmpty, "\(fleet.violations)")
        }
    }

    /// Only one job is lost with a worker, and it is told the truth.
    @Test func aWorkerKilledInTheMiddleOfAJobLosesThatJobAlone() throws {
        try Fleet.run(Setup.http(pool: "quarantine: { first: 1h, most: 1h }")) { fleet in
            let workers = try fleet.exampleWorkers(4)
            try fleet.serve(workers.map(\.pod))
            let crowd = Crowd(of: 40, rounds: 5, at: try fleet.listener()) { _, _ in "GET /render?ms=3&bytes=50 HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            crowd.start()
            try crowd.wait(forAnswers: 40)
            let victim = try fleet.call()
            try victim.get("/render?crash-before=1&ms=20")
            let response = try victim.readResponse()
            try expectAnswer(response, 502, "worker-lost", error: "connection_terminated")
            let second = try fleet.call()
            try second.get("/render?crash=1&bytes=100000")
            #expect(try second.receiveToEnd().end == .reset)
            try crowd.finish()
            #expect(crowd.answers.count == 200)
            #expect(crowd.answers.allSatisfy { $0.response.status == 200 })
            #expect(fleet.violations.isEmpty, "\(fleet.violations)")
        }
    }
}
