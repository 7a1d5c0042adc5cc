import KeeperCore
import Model
import ServiceKit

/// Whose decisions are asked for: all, a job, a lease, or a caller.
private struct Subject {
    var job: UInt64?
    var lease: LeaseID?
    var caller: String?

    /// Empty is everything. `JOB`, `POOL/EPOCH.COUNTER` or `EPOCH.COUNTER`, `SLOT:GENERATION`.
    init?(_ text: String) {
        if text.isEmpty { return }
        if let number = UInt64(text) {
            job = number
        } else if text.contains(":") {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, UInt32(parts[0]) != nil, UInt32(parts[1]) != nil else { return nil }
            caller = text
        } else {
            guard let last = text.split(separator: "/").last, let token = LeaseID(String(last)) else { return nil }
            lease = token
        }
    }
}

extension Shell {
    /// `explain SINCE SUBJECT`: what was decided about a job, oldest first, and where it stands if it still waits. O(n) in what is remembered.
    func explanation(_ words: Substring) -> ControlAnswer {
        let parts = words.split(separator: " ", maxSplits: 1)
        guard var since = parts.first.flatMap({ UInt64($0) }), let subject = Subject(parts.count > 1 ? String(parts[1]) : "") else {
            return .failed(status: 64, "write a job's number, a lease like browsers/1700000000.7, or a caller like 12:3")
        }
        let now = service.loop.instant
        let all = keeper.decisions()
        let chosen = decisions(all, about: subject)
        // What an earlier pool-keeper counted up to means nothing here.
        if since > all.last?.number ?? 0 { since = 0 }
        let uids = Dictionary(
            keeper.configuredPools.flatMap { keeper.endpointReports(of: $0.id, at: now).map { ($0.endpoint.id, $0.endpoint) } }, uniquingKeysWith: { $1 })
        var reports = chosen.filter { $0.number > since }.map { report($0.number, $0.decision, uids, at: now) }
        if since == 0, let last = chosen.last?.decision, subject.job != nil || subject.caller != nil || subject.lease != nil {
            if let waiting = standing(last, number: all.last?.number ?? 0, at: now) { reports.append(waiting) }
        }
        if since == 0, chosen.isEmpty, subject.job != nil || subject.caller != nil || subject.lease != nil {
            return .failed(
                status: 69, "nothing is remembered of it: the pool-keeper keeps the newest \(all.count) decisions since its start; the journal has more")
        }
        return .json(reports)
    }

    /// All about the jobs that the subject names, whichever of their decisions names it.
    private func decisions(
        _ all: [(number: UInt64, decision: Decision)], about subject: Subject
    ) -> [(number: UInt64, decision: Decision)] {
        struct Job: Hashable {
            var instance: InstanceID
            var ticket: TicketID
        }
        var jobs: Set<Job> = []
        for (_, decision) in all where isMeant(decision, subject) { jobs.insert(Job(instance: decision.instance, ticket: decision.ticket)) }
        return all.filter { isMeant($0.decision, subject) || jobs.contains(Job(instance: $0.decision.instance, ticket: $0.decision.ticket)) }
    }

    private func isMeant(_ decision: Decision, _ subject: Subject) -> Bool {
        if let job = subject.job { return decision.ticket.rawValue == job }
        if let caller = subject.caller { return text(decision.caller) == caller }
        guard let lease = subject.lease else { return true }
        switch decision.event {
        case .granted(let token, _, _), .ended(let token, _, _, _): return token == lease
        case .waits, .refused, .gone: return false
        }
    }

    private func text(_ caller: ConnectionID) -> String { caller == .none ? "" : "\(caller.slot):\(caller.generation)" }

    private func report(
        _ number: UInt64, _ decision: Decision, _ endpoints: [EndpointID: Endpoint], at now: Instant
    ) -> DecisionReport {
        func name(_ id: EndpointID) -> String { endpoints[id].map { $0.name.isEmpty ? $0.uid : $0.name } ?? id.description }
        func milliseconds(_ nanoseconds: Int64) -> Int { Int(nanoseconds / 1_000_000) }
        var report = DecisionReport(
            number: number, agoMs: Int((now - decision.at).milliseconds), pool: service.configuration.pool(decision.pool)?.name ?? "",
            job: decision.ticket.rawValue, seat: seat(of: decision.instance), caller: text(decision.caller),
            tenant: keeper.tenantName(decision.tenant, in: decision.pool), urgency: Int(decision.urgency.rawValue), event: "")
        switch decision.event {
        case .waits(let obstacle, let passed, let queued, let isRequeued):
            report.event = "waits"
            report.reason = (isRequeued ? "back after a failed dial; " : "") + obstacle.sentence
            report.queued = Int(queued)
            report.passed = DecisionReport.PassedOver(
                free: Int(passed.free), leased: Int(passed.leased), ending: Int(passed.ending), recovering: Int(passed.recovering),
                quarantined: Int(passed.quarantined), soonestMs: passed.soonestNanoseconds < 0 ? nil : milliseconds(passed.soonestNanoseconds),
                unready: Int(passed.unready), draining: Int(passed.draining))
        case .granted(let lease, let endpoint, let held):
            (report.event, report.lease, report.endpoint, report.ms) = ("granted", lease.description, name(endpoint), milliseconds(held))
        case .refused(let reason, let held): (report.event, report.reason, report.ms) = ("refused", reason.token, milliseconds(held))
        case .gone(let held): (report.event, report.ms) = ("gone", milliseconds(held))
        case .ended(let lease, let endpoint, let end, let lasted):
            (report.event, report.lease, report.endpoint, report.ms) = ("ended", lease.description, name(endpoint), milliseconds(lasted))
            report.reason = end.name
        }
        return report
    }

    /// Where the job stands now, if it waits.
    private func standing(_ decision: Decision, number: UInt64, at now: Instant) -> DecisionReport? {
        let line = keeper.ticketReports(of: decision.pool, at: now)
        let seat = seat(of: decision.instance)
        guard let place = line.firstIndex(where: { $0.ticket == decision.ticket && $0.seat == seat }) else { return nil }
        var report = report(number, decision, [:], at: now)
        (report.event, report.lease, report.endpoint, report.reason, report.passed) = ("waiting", "", "", "", nil)
        (report.agoMs, report.ms, report.position, report.queued) = (0, Int(line[place].age.milliseconds), place + 1, line.count)
        return report
    }

    private func seat(of instance: InstanceID) -> String { keeper.roster.first { $0.instance == instance }?.seat ?? "" }
}

extension Notice.LeaseEnd {
    /// As the journal and counters name it.
    var name: String {
        switch self {
        case .released(let outcome): outcome.name
        case .dialFailed(let failure): "dial-\(failure.name)"
        case .holderDied: "holder-died"
        case .unaccounted: "unaccounted"
        }
    }
}
