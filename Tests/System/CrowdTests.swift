import Model
import TestKit
import Testing

/// 200 callers on 8 workers, whatever happens meanwhile. The workers are processes that count every second concurrent job.
@Suite(.ownThread) struct CrowdTests {
    private static let callers = 200
    private static let workers = 8

    /// Checks what must hold however rough it was: everybody served once, nobody ever given a second job.
    private func check(_ crowd: Crowd, rounds: Int, _ workers: [ExampleWorker], _ fleet: Fleet) throws {
        try crowd.finish()
        let answers = crowd.answers
        #expect(answers.count == Self.callers * rounds)
        let refused = answers.filter { $0.response.status != 200 }
        #expect(refused.isEmpty, "\(refused.count) were not served, the first: \(refused.first.map { "\($0)" } ?? "")")
        for answer in answers { #expect(answer.response["Worker-Lease"] == answer.response["Leasehold-Lease"]) }
        #expect(Set(answers.map { $0.response["Worker-Lease"] ?? "" }).count == answers.count, "every job had a lease of its own")
        #expect(fleet.violations.isEmpty, "\(fleet.violations)")
        var jobs = 0
        for worker in workers {
            let stats = try worker.stats()
            #expect(stats.concurrentSecondJobs == 0)
            #expect(stats.maxConcurrent <= 1)
            jobs += stats.jobs
        }
        #expect(jobs == answers.count)
    }

    private func token(_ response: HTTPMessage) -> LeaseID? {
        response["Leasehold-Lease"].flatMap { LeaseID(String($0.split(separator: "/").last ?? "")) }
    }

    @Test func allAreServedInOrderOfArrivalAndNoWorkerEverHasTwoJobs() throws {
        try Fleet.run(Setup.http()) { fleet in
            let workers = try fleet.exampleWorkers(Self.workers)
            let crowd = Crowd(of: Self.callers, at: try fleet.listener()) { caller, _ in
                "GET /render?ms=5&bytes=100 HTTP/1.1\r\nHost: \(caller)\r\n\r\n"
            }
            crowd.start()
            try crowd.sentFirst.wait()
            try fleet.waitPool("pods", "all of them in the queue") { $0.queued == Self.callers }
            try fleet.publish(workers.map(\.pod))
            try check(crowd, rounds: 1, workers, fleet)
            // Tokens are counted in the order of the grants.
            let tokens = crowd.answers.sorted { $0.caller < $1.caller }.map { token($0.response) }
            #expect(!tokens.contains(nil))
            #expect(zip(tokens, tokens.dropFirst()).allSatisfy { $0! < $1! }, "granted in order of arrival")
        }
    }

    @Test func allAreServedWhileEndpointsBlinkAndTurnStale() throws {
        try Fleet.run(Setup.http(pool: "quarantine: { first: 20ms, most: 50ms }")) { fleet in
            let workers = try fleet.exampleWorkers(Self.workers)
            let closed = try (0..<4).map { _ in try ClosedPort() }
            let stale = closed.enumerated().map { Pod("stale\($0)", at: $1.address) }
            try fleet.publish(workers.map(\.pod) + stale)
            let crowd = Crowd(of: Self.callers, rounds: 5, at: try fleet.listener()) { _, _ in
                "GET /render?ms=3&bytes=100 HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            crowd.start()
            var random = SeededGenerator(seed: 7)
            var step = 0
            while try crowd.wait(forAnswers: step * 25) {
                step += 1
                // A third of the workers is unready, some are not even named, and the stale ones come and go.
                var pods: [Pod] = []
                for worker in workers {
                    switch UInt8.random(in: 0..<6, using: &random) {
                    case 0: break
                    case 1, 2: pods.append(Pod(worker.uid, at: worker.address, ready: false))
                    default: pods.append(worker.pod)
                    }
                }
                try fleet.publish(step.isMultiple(of: 5) ? workers.map(\.pod) : pods + stale.filter { _ in Bool.random(using: &random) })
            }
            try fleet.publish(workers.map(\.pod))
            try check(crowd, rounds: 5, workers, fleet)
            #expect(try fleet.counter("requeues") > 0, "some met a stale endpoint")
        }
    }

    @Test(arguments: [[Fleet.Process.poolKeeper], [.watcher], [.poolKeeper, .watcher]])
    func allAreServedWhileProcessesAreKilledAndRestarted(_ victims: [Fleet.Process]) throws {
        try Fleet.run(Setup.http()) { fleet in
            let workers = try fleet.exampleWorkers(Self.workers)
            try fleet.serve(workers.map(\.pod))
            let crowd = Crowd(of: Self.callers, rounds: 4, at: try fleet.listener()) { _, _ in
                "GET /render?ms=3&bytes=100 HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            crowd.start()
            var kills = 0
            while kills < 6, try crowd.wait(forAnswers: 20 + kills * 100) {
                for victim in victims { try fleet[victim].kill() }
                for victim in victims { try fleet.launch(victim) }
                for victim in victims { try fleet[victim].waitForNotification("READY=1") }
                kills += 1
            }
            #expect(kills > 2)
            try check(crowd, rounds: 4, workers, fleet)
        }
    }

    /// Callers that come and go, at every stage of their jobs, beside others who stay.
    @Test func workersNeverHaveTwoJobsWhileCallersLeaveInTheirMiddle() throws {
        try Fleet.run(Setup.http(pool: "close-grace: 5ms")) { fleet in
            let workers = try fleet.exampleWorkers(4)
            try fleet.serve(workers.map(\.pod))
            let crowd = Crowd(of: 40, rounds: 5, at: try fleet.listener()) { _, _ in
                "GET /render?ms=5&bytes=2000 HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            crowd.start()
            var random = SeededGenerator(seed: 11)
            var left = 0
            while try crowd.wait(forAnswers: left) {
                left += 1
                let rude = try fleet.call()
                // The work goes on when its caller is gone.
                try rude.get("/render?ms=15&bytes=4000&linger=1")
                switch UInt8.random(in: 0..<4, using: &random) {
                case 0: rude.close()
                case 1: rude.reset()
                case 2:
                    _ = try rude.receive(through: " ")
                    rude.reset()
                default:
                    _ = try rude.receive(through: "\r\n\r\n")
                    rude.close()
                }
            }
            try crowd.finish()
            #expect(crowd.answers.filter { $0.response.status == 200 }.count == 200)
            #expect(fleet.violations.isEmpty, "\(fleet.violations)")
            for worker in workers { #expect(try worker.stats().concurrentSecondJobs == 0) }
            #expect(left > 20)
        }
    }
}
