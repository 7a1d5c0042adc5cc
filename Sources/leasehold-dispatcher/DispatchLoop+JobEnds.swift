import DispatcherCore
import Linux
import Logging
import Model
import ServiceKit
import Systemd
import Wire

/// Where a job ends for its caller: it is counted, kept and told in this one place.
extension DispatchLoop {
    /// Once for each job, before the machine is told of its end (or right after the machine has ended it itself: `was`), and before the
    /// caller's record says so: a process that is killed in between has a successor, who ends the job again and finds the mark of the first time.
    ///
    /// - Parameter slot: its worker's connection, where there is one.
    func jobEnded(
        _ id: JobID, _ result: JobEnd.Result, reason: Reason? = nil, outcome: Outcome? = nil, was: JobPhase? = nil, worker slot: Int32 = -1
    ) {
        let phase = slot >= 0 ? self.phase(ofWorker: slot) : .connected
        guard var end = machine.end(of: id, result, reason: reason, outcome: outcome, was: was, phase: phase, at: now) else { return }
        let owner = id.slot < UInt32(owners.count) ? owners[Int(id.slot)] : -1
        let pool: UInt16
        if slot >= 0 {
            let worker = workers[slot]
            pool = worker.pointee.pool
            end.bytesIn = worker.pointee.socket.given &- (worker.pointee.ackedBefore &- 1)
            end.bytesOut = worker.pointee.socket.taken &- worker.pointee.takenBefore &+ UInt64(worker.pointee.consumeLater)
        } else {
            pool = owner >= 0 ? callers[owner].pointee.pool : UInt16(rules.pools.firstIndex { $0.id == end.request.pool } ?? 0)
        }
        if owner >= 0, isEndNoted(owner) { return }
        account(end, pool, owner >= 0 ? callers[owner].pointee.trace?.context : nil)
        guard owner >= 0 else { return }
        note(ended: owner)
        callers[owner].pointee.trace = nil
    }

    /// The end of a predecessor's job that nobody can go on with: its caller left meanwhile, or was lost.
    func jobEnded(_ record: CallerRecord, _ result: JobEnd.Result) {
        guard let pool = rules.pools.firstIndex(where: { $0.id == record.pool }) else { return }
        let request = JobRequest(pool: record.pool, urgency: record.urgency, tenant: rules.pools[pool].tenants.name(of: record.tenant))
        account(EndedJob(id: record.job, request: request, result: result, arrived: record.arrived, ended: now), UInt16(pool), nil)
    }

    /// The line first, which takes longest: what is killed in it has not counted either.
    private func account(_ end: EndedJob, _ pool: UInt16, _ trace: TraceContext?) {
        if isLogged(end) { log(end, rules.pools[Int(pool)].configuration.name) }
        tellPublisher(end, trace)
        vitals[pool].count(end)
    }

    func phase(ofWorker slot: Int32) -> LeasePhase {
        let worker = workers[slot]
        if worker.pointee.state == .dialing { return .dialing }
        switch worker.pointee.exchange {
        case .requestHead: return .connected
        case .responseHead: return .headersSent
        case .responseBody, .tunnel: return .streaming
        }
    }

    /// What an answer of our own tells of a job that has a lease, as far as its listener shows leases.
    func facts(ofWorker slot: Int32) -> AnswerFacts {
        let worker = workers[slot]
        var facts = AnswerFacts(job: worker.pointee.job.ticket, phase: phase(ofWorker: slot))
        guard rules.listeners[Int(worker.pointee.listener)].http.expose.contains(.lease), let job = machine[worker.pointee.job] else { return facts }
        facts.lease = job.lease
        facts.pool = rules.pools[Int(worker.pointee.pool)].nameBytes
        return facts
    }

    /// Every job that was not served, and those whose trace is kept; while nobody listens this costs one load.
    private func tellPublisher(_ end: EndedJob, _ trace: TraceContext?) {
        // Which of the served jobs without a caller's trace are told was drawn when they arrived, so that their workers know it too.
        if end.result == .served, trace?.isSampled != true { return }
        guard ends.wants(end.result, trace) else { return }
        ends.add(end.told(trace: trace), at: end.ended.nanoseconds)
    }

    // MARK: The journal

    private func isLogged(_ end: EndedJob) -> Bool {
        switch rules.logJobs {
        case .all: return true
        case .errors: return end.result != .served
        case .sample(let n):
            guard end.result == .served else { return true }
            servedSinceLine += 1
            guard servedSinceLine >= n else { return false }
            servedSinceLine = 0
            return true
        }
    }

    private func log(_ end: EndedJob, _ pool: String) {
        guard jobLines.take(at: now) else {
            leftOutTimer?.deadline = min(leftOutTimer?.deadline ?? .max, loop.now + Self.leftOutRhythm)
            return
        }
        let outcome = end.outcome?.name ?? ""
        var facts: Logger.Metadata = [
            LogKey.job: "\(end.id.ticket.rawValue)", LogKey.pool: "\(pool)",
            LogKey.tenant: "\(end.request.tenant.isEmpty ? PoolPolicy.Tenant.standard.name : end.request.tenant)",
            LogKey.reason: "\(end.reason?.token ?? (outcome.isEmpty ? end.result.name : outcome))", "result": "\(end.result.name)",
            "urgency": "\(end.request.urgency.rawValue)", "hold-ms": "\(Self.text(end.hold))", "duration-ms": "\(Self.text(end.duration))",
            LogKey.messageID: "\(MessageID.jobEnded)",
        ]
        if let lease = end.lease {
            facts[LogKey.lease] = "\(lease.id)"
            facts[LogKey.endpoint] = "\(lease.endpoint)"
            facts["outcome"] = "\(outcome)"
            facts["phase"] = "\(lease.phase.name)"
            if let dial = end.dial { facts["dial-ms"] = "\(Self.text(dial))" }
            facts["bytes-in"] = "\(end.bytesIn)"
            facts["bytes-out"] = "\(end.bytesOut)"
        }
        logger.info("A job ended", metadata: facts)
    }

    /// Milliseconds with three decimals.
    private static func text(_ duration: Duration) -> String {
        let microseconds = max(0, duration.microseconds)
        let fraction = String(microseconds % 1000)
        return "\(microseconds / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
    }

    private static var leftOutRhythm: Int64 { 10_000_000_000 }

    /// Ten seconds after the first line that was left out, and at the end.
    func tellLeftOut() {
        leftOutTimer?.deadline = .max
        let count = jobLines.takeLeftOut()
        guard count > 0 else { return }
        logger.notice(
            "Jobs ended without a line of their own",
            metadata: ["count": "\(count)", LogKey.messageID: "\(MessageID.jobLinesLeftOut)"])
    }
}
