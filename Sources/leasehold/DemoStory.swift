import CLinux
import Foundation
import Linux
import Model
import ServiceKit

/// The three acts. Runs on a thread of its own beside the loop that supervises the processes, and looks at them from outside only.
struct DemoStory: Sendable {
    let stage: DemoStage
    let ledger: DemoLedger

    private static let callers = 200
    /// What each caller of the crowd asks for.
    private static let job = "/render?ms=40&bytes=2000"
    /// For any one thing to happen. Far more than it takes, far less than a spectator's patience.
    private static let patience = Duration.seconds(15)

    /// Something that should happen did not.
    struct Stuck: Error, CustomStringConvertible {
        var description: String
    }

    func run() throws {
        let address = try waitFor("the dispatcher to listen") { stage.listener() }
        try actOne(address)
        try actTwo(address)
        try actThree()
    }

    // MARK: Act 1

    private func actOne(_ address: SocketAddress) throws {
        ledger.title("Act 1: a request arrives, and no worker exists")
        let before = stage.workers()
        ledger.say("The pool has \(before.count) workers. Callers connect to \(address).")
        let start = monotonicNow()
        let call = DemoCall("/render?ms=50&bytes=10000", to: address)
        let parked = try waitFor("the request to be held") { stage.pool().flatMap { $0.queued + $0.leases > 0 ? $0 : nil } }
        if parked.queued > 0 {
            ledger.say("A request arrived. Nobody can serve it: it is held, and the pool's demand is \(parked.demand).")
        }
        let worker = try waitFor("a worker to start") { stage.workers().first }
        ledger.say("The scaler starts a worker on port \(worker.port), pid \(worker.pid).")
        let answer = try waitFor("the held request to be served") { () -> DemoClient.Answer? in
            switch call.outcome {
            case .waiting, .begun: return nil
            case .answered(let answer): return answer
            case .failed(let why): throw Stuck(description: "the request failed: \(why)")
            }
        }
        let total = Duration.nanoseconds(monotonicNow() - start)
        let hold = answer.holdMs ?? 0
        ledger.say(
            "Served in \(total.milliseconds) ms, of which it was held \(Int(hold)) ms. Lease \(answer.headers["leasehold-lease"] ?? "?").")
        ledger.claim(
            "A request is held while no worker exists", before.isEmpty && answer.isServed && hold > 0,
            "0 workers at its arrival, held \(Int(hold)) ms, then served: \(answer.status)")
        let pid = answer.headers["worker-pid"].flatMap { Int32($0) }
        ledger.claim(
            "It lands on the worker that was started for it", pid == worker.pid && stage.workers().count == 1,
            "worker pid \(worker.pid), served by pid \(pid.map(String.init) ?? "?"), 1 worker started")
    }

    // MARK: Act 2

    private func actTwo(_ address: SocketAddress) throws {
        ledger.title("Act 2: \(Self.callers) callers, \(DemoStage.workers) workers, and everything that goes wrong")
        let crowd = DemoCrowd()
        crowd.start(Self.callers, to: address, path: Self.job)
        ledger.say("\(Self.callers) callers ask for one job after the other.")
        defer { crowd.stop() }
        _ = try waitFor("\(DemoStage.workers) workers") { stage.workers().count { $0.state == "ready" } == DemoStage.workers ? true : nil }
        ledger.say("\(DemoStage.workers) workers are ready.")
        _ = try waitFor("every caller to be served once") { crowd.current.happy.count == Self.callers ? true : nil }
        ledger.say("Every caller was served at least once, \(crowd.served) jobs so far.")

        try staleEndpoint(crowd)
        try lostWorkers(address, crowd)
        try lost(.watcher, "The watcher is killed, and nothing is noticed", crowd)
        try lost(.poolKeeper, "The pool-keeper is killed, and every caller stays in line", crowd)
        try lost(.dispatcher, "The dispatcher is killed with every connection in its hands, and no job is lost", crowd)
        try end(crowd)
    }

    private func staleEndpoint(_ crowd: DemoCrowd) throws {
        let before = dispatcherCounters()
        let failures = crowd.failures
        try stage.addStaleEndpoint()
        ledger.say("A manifest names a ninth worker, ready, at port \(stage.stalePort). Nothing listens there.")
        let after = try waitFor("the stale endpoint to be dialled") { () -> (dials: UInt64, requeues: UInt64)? in
            let now = dispatcherCounters()
            return now.dials > before.dials && now.requeues > before.requeues ? now : nil
        }
        let served = crowd.served
        _ = try waitFor("jobs after it") { crowd.served > served + Self.callers ? true : nil }
        let noticed = crowd.failures - failures
        ledger.claim(
            "A stale endpoint is caught, its job requeued invisibly", noticed == 0,
            "\(after.dials - before.dials) dial refused, \(after.requeues - before.requeues) job requeued, \(noticed) callers noticed")
        try stage.removeStaleEndpoint()
    }

    private func dispatcherCounters() -> (dials: UInt64, requeues: UInt64) {
        let counters = stage.process(.dispatcher)?.counters ?? [:]
        return (counters["dial-failures-refused"] ?? 0, counters["requeues"] ?? 0)
    }

    private func lostWorkers(_ address: SocketAddress, _ crowd: DemoCrowd) throws {
        let failures = crowd.failures
        // A long job stands out by the age of its lease. On a busy machine a short one may too, but not for long.
        let quiet = DemoCall("/render?ms=10000&bytes=2000", to: address)
        var suspect: (lease: String, seen: Int64)?
        let first = try waitFor("a long job to run") { () -> WorkerReport? in
            let old = stage.leases().filter { $0.ageMs > 1_500 }
            guard old.count == 1, let lease = old.first else {
                suspect = nil
                return nil
            }
            guard let known = suspect, known.lease == lease.lease else {
                suspect = (lease.lease, monotonicNow())
                return nil
            }
            guard monotonicNow() - known.seen > 500_000_000 else { return nil }
            return stage.workers().first { lease.address == "127.0.0.1:\($0.port)" }
        }
        ledger.say("Worker pid \(first.pid) is in the middle of a job. kill -9.")
        _ = lh_kill(first.pid, SIGKILL)
        let before = try waitFor("the caller of the lost job to be told") { finished(quiet) }

        // This one answers its head at once, and names its worker in it.
        let talking = DemoCall("/render?slow=1&ms=8000&bytes=100000", to: address)
        let second = try waitFor("a response to begin") { () -> Int32? in
            guard case .begun(let head) = talking.outcome else { return nil }
            return head.headers["worker-pid"].flatMap { Int32($0) }
        }
        ledger.say("Worker pid \(second) has sent half a response. kill -9.")
        _ = lh_kill(second, SIGKILL)
        let after = try waitFor("the caller of the cut job to see it") { finished(talking) }

        _ = try waitFor("eight workers again") { stage.workers().count { $0.state == "ready" } == DemoStage.workers ? true : nil }
        ledger.say("The scaler has replaced both.")
        let others = crowd.failures - failures
        ledger.claim(
            "A worker killed mid-job loses that one job, honestly",
            isStatus(before, 502, "worker-lost") && isCut(after) && others == 0,
            "before its response: \(before.description); in it: \(after.description); other jobs lost: \(others)")
    }

    private func finished(_ call: DemoCall) -> DemoCall.Outcome? {
        switch call.outcome {
        case .waiting, .begun: nil
        case .answered, .failed: call.outcome
        }
    }

    private func isStatus(_ outcome: DemoCall.Outcome, _ status: Int, _ reason: String) -> Bool {
        guard case .answered(let answer) = outcome else { return false }
        return answer.status == status && answer.headers["leasehold-reason"] == reason
    }

    private func isCut(_ outcome: DemoCall.Outcome) -> Bool {
        guard case .answered(let answer) = outcome else { return false }
        return answer.status == 200 && !answer.isWhole
    }

    /// Kills one process under load, and counts what callers saw of it.
    private func lost(_ name: ProcessName, _ claim: String, _ crowd: DemoCrowd) throws {
        let before = try waitFor("the \(name.rawValue) to answer") { stage.process(name) }
        let failures = crowd.failures
        let served = crowd.served
        let start = monotonicNow()
        ledger.say("The \(name.rawValue), pid \(before.pid), is killed under load. kill -9.")
        _ = lh_kill(before.pid, SIGKILL)
        let again = try waitFor("the \(name.rawValue) to come back") { () -> ProcessReport? in
            stage.process(name).flatMap { $0.pid != before.pid && $0.ready ? $0 : nil }
        }
        let away = Duration.nanoseconds(monotonicNow() - start)
        _ = try waitFor("jobs meanwhile") { crowd.served > served + Self.callers ? true : nil }
        let noticed = crowd.failures - failures
        ledger.claim(
            claim, noticed == 0,
            "back as pid \(again.pid) after \(away.milliseconds) ms, \(crowd.served - served) jobs served meanwhile and after, \(noticed) failed"
        )
    }

    private func end(_ crowd: DemoCrowd) throws {
        ledger.say("The callers finish what they have.")
        crowd.stop()
        _ = try waitFor("the callers to finish") { crowd.isDone ? true : nil }
        let tally = crowd.current
        let holds = tally.holds.sorted()
        func percentile(_ p: Double) -> Int { holds.isEmpty ? 0 : Int(holds[Int(Double(holds.count - 1) * p)]) }
        ledger.claim(
            "\(Self.callers) callers on \(DemoStage.workers) workers are all served",
            tally.failures.isEmpty && tally.happy.count == Self.callers,
            "\(tally.served) jobs, \(tally.failures.count) failed; held p50 \(percentile(0.5)) ms, p99 \(percentile(0.99)) ms")
        for failure in Set(tally.failures).prefix(5) { ledger.say("  a caller saw: \(failure)") }
        try exclusivity()
        try backToZero()
    }

    /// The workers' own word: each counts every second job that reaches it.
    private func exclusivity() throws {
        let workers = stage.workers().filter { $0.state == "ready" }
        var jobs = 0
        var second = 0
        var most = 0
        for worker in workers {
            let client = DemoClient(.loopback(port: worker.port), patience: .seconds(5))
            let stats = try JSONDecoder().decode(WorkerStats.self, from: Data(try client.get("/stats").body))
            jobs += stats.jobs
            second += stats.concurrentSecondJobs
            most = max(most, stats.maxConcurrent)
        }
        let written = stage.violations()
        ledger.claim(
            "No worker ever had a second job", second == 0 && written == 0 && workers.count == DemoStage.workers && most == 1,
            "\(workers.count) workers report \(jobs) jobs, at most \(most) at once, \(second + written) concurrent second jobs")
    }

    private struct WorkerStats: Decodable {
        var jobs: Int
        var concurrentSecondJobs: Int
        var maxConcurrent: Int
    }

    private func backToZero() throws {
        ledger.say("Nobody calls any more. Idle workers are drained, then stopped.")
        let start = monotonicNow()
        _ = try waitFor("the fleet to end") { stage.workers().isEmpty && stage.process(.scaler) != nil ? true : nil }
        ledger.claim(
            "Without demand the fleet goes back to zero", true,
            "\(DemoStage.workers) workers stopped within \(Duration.nanoseconds(monotonicNow() - start).milliseconds) ms, 2 s of them idle")
    }

    // MARK: Waiting

    /// Looks until there is something to see.
    func waitFor<T>(_ what: String, _ look: () throws -> T?) throws -> T {
        let deadline = monotonicNow() + Self.patience.nanoseconds
        while true {
            if let seen = try look() { return seen }
            guard monotonicNow() < deadline else { throw Stuck(description: "waited \(Self.patience.milliseconds / 1000) s for \(what)") }
            _ = poll(nil, 0, 5)
        }
    }
}
