import KeeperCore
import Model
import ServiceKit

/// Whose decisions are asked for: all, a job, a lease, or a caller.
private enum Subject {
    case everything
    case job(UInt64)
    case lease(LeaseID)
    case caller(String)

    /// Empty is everything. `JOB`, `POOL/EPOCH.COUNTER` or `EPOCH.COUNTER`, `SLOT:GENERATION`.
    init?(_ text: String) {
        if text.isEmpty {
            self = .everything
        } else if let number = UInt64(text) {
            self = .job(number)
        } else if text.contains(":") {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, UInt32(parts[0]) != nil, UInt32(parts[1]) != nil else { return nil }
            self = .caller(text)
        } else {
            guard let last = text.split(separator: "/").last, let token = LeaseID(String(last)) else { return nil }
            self = .lease(token)
        }
    }

    /// Whether a decision names it; not whether it is about it, for which ``Shell/decisions(_:about:)`` looks at the job.
    func isNamed(in decision: Decision) -> Bool {
        switch self {
        case .everything: return true
        case .job(let job): return decision.ticket.rawValue == job
        case .caller(let caller): return text(decision.caller) == caller
        case .lease(let lease):
            switch decision.event {
            case .granted(let token, _, _), .ended(let token, _, _, _): return token == lease
            case .waits, .refused, .gone: return false
            }
        }
    }
}

private func text(_ caller: ConnectionID) -> String { caller == .none ? "" : "\(caller.slot):\(caller.generation)" }

private func milliseconds(_ nanoseconds: Int64) -> Int { Int(nanoseconds / 1_000_000) }

extension Shell {
    private typealias Numbered = (number: UInt64, decision: Decision)

    /// `explain EPOCH.NUMBER SUBJECT`: what was decided about a job after that number of that pool-keeper's life, oldest first, and where it
    /// stands if it still waits. O(n) in what is remembered.
    func explanation(_ words: Substring) -> ControlAnswer {
        let parts = words.split(separator: " ", maxSplits: 1)
        guard let seen = parts.first.flatMap({ LeaseID(String($0)) }), let subject = Subject(parts.count > 1 ? String(parts[1]) : "") else {
            return .failed(status: 64, "write a job's number, a lease like browsers/1700000000.7, or a caller like 12:3")
        }
        let now = service.loop.instant
        // What an earlier pool-keeper counted up to means nothing here.
        let since = seen.epoch == keeper.epoch ? seen.counter : 0
        let all = keeper.decisions()
        if case .everything = subject { return .json(all.filter { $0.number > since }.map { report($0, at: now) }) }
        let chosen = decisions(all, about: subject)
        var reports = chosen.filter { $0.number > since }.map { report($0, at: now, overtaken: overtaken($0, all, among: chosen)) }
        if since == 0, let waiting = waiting(subject, all, chosen, at: now) { reports.append(waiting) }
        if since == 0, reports.isEmpty {
            return .failed(
                status: 69, "nothing is remembered of it: the pool-keeper keeps the newest \(all.count) decisions since its start; the journal has more")
        }
        return .json(reports)
    }

    /// All about the jobs that the subject names, whichever of their decisions names it.
    private func decisions(_ all: [Numbered], about subject: Subject) -> [Numbered] {
        struct Job: Hashable {
            var seat: UInt16
            var ticket: TicketID
        }
        var jobs: Set<Job> = []
        // Of a lease that an earlier pool-keeper granted the job is not known, and all of these are not one job.
        for (_, decision) in all where decision.ticket.rawValue != 0 && subject.isNamed(in: decision) {
            jobs.insert(Job(seat: decision.seat, ticket: decision.ticket))
        }
        return all.filter { subject.isNamed(in: $0.decision) || jobs.contains(Job(seat: $0.decision.seat, ticket: $0.decision.ticket)) }
    }

    /// Who came later than a job that waited, and went first.
    private func overtaken(_ entry: Numbered, _ all: [Numbered], among chosen: [Numbered]) -> Overtaking? {
        let held: Int64
        switch entry.decision.event {
        case .granted(_, _, let nanoseconds), .refused(_, let nanoseconds, _, _), .gone(let nanoseconds): held = nanoseconds
        case .waits, .ended: return nil
        }
        return overtaken(entry, arrival: Instant(nanoseconds: entry.decision.at.nanoseconds - held), all, among: chosen)
    }

    private func overtaken(_ last: Numbered, arrival: Instant, _ all: [Numbered], among chosen: [Numbered]) -> Overtaking? {
        let isSame = { (entry: Numbered) in entry.decision.ticket == last.decision.ticket && entry.decision.seat == last.decision.seat }
        guard let first = chosen.first(where: isSame), case .waits = first.decision.event else { return nil }
        let between = all.lazy.filter { $0.number > first.number && $0.number < last.number }.map(\.decision)
        return Overtaking(between, over: last.decision, arrival: arrival)
    }

    /// Where the job stands now, if it waits; also one that waits since before our start, of which no decision tells.
    private func waiting(_ subject: Subject, _ all: [Numbered], _ chosen: [Numbered], at now: Instant) -> DecisionReport? {
        let last = chosen.last?.decision
        let ticket: TicketID
        if let last {
            ticket = last.ticket
        } else {
            guard case .job(let number) = subject else { return nil }
            ticket = TicketID(rawValue: number)
        }
        for policy in keeper.configuredPools where last == nil || last?.pool == policy.id {
            let line = keeper.ticketReports(of: policy.id, at: now)
            guard let place = line.firstIndex(where: { $0.ticket == ticket && (last == nil || $0.seat == keeper.seatName(last?.seat ?? .max)) }) else {
                continue
            }
            let found = line[place]
            var report = DecisionReport(
                epoch: keeper.epoch, number: all.last?.number ?? 0, agoMs: 0, pool: policy.name, job: ticket.rawValue, seat: found.seat,
                caller: text(last?.caller ?? .none), tenant: found.tenant, urgency: Int(found.urgency.rawValue), event: "waiting")
            (report.ms, report.position, report.queued) = (Int(found.age.milliseconds), place + 1, line.count)
            if let last {
                report.overtaken = overtaken(((all.last?.number ?? 0) + 1, last), arrival: now - found.age, all, among: chosen).map(Self.told)
            }
            return report
        }
        return nil
    }

    private static func told(_ overtaking: Overtaking) -> DecisionReport.Overtaken {
        DecisionReport.Overtaken(
            moreUrgent: Int(overtaking.moreUrgent), otherTenants: Int(overtaking.otherTenants), others: Int(overtaking.others))
    }

    private func report(_ entry: Numbered, at now: Instant, overtaken: Overtaking? = nil) -> DecisionReport {
        let decision = entry.decision
        func name(_ id: EndpointID) -> String { keeper.endpointName(id) ?? id.description }
        var report = DecisionReport(
            epoch: keeper.epoch, number: entry.number, agoMs: Int((now - decision.at).milliseconds),
            pool: service.configuration.pool(decision.pool)?.name ?? "", job: decision.ticket.rawValue, seat: keeper.seatName(decision.seat),
            caller: text(decision.caller), tenant: keeper.tenantName(decision.tenant, in: decision.pool), urgency: Int(decision.urgency.rawValue),
            event: "")
        report.overtaken = overtaken.map(Self.told)
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
        case .refused(let reason, let held, let position, let queued):
            (report.event, report.reason, report.ms) = ("refused", reason.token, milliseconds(held))
            (report.position, report.queued) = (Int(position), Int(queued))
        case .gone(let held): (report.event, report.ms) = ("gone", milliseconds(held))
        case .ended(let lease, let endpoint, let end, let lasted):
            (report.event, report.lease, report.endpoint, report.ms) = ("ended", lease.description, name(endpoint), milliseconds(lasted))
            report.reason = end.name
        }
        return report
    }
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
