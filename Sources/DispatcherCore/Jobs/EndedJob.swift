import Model
import Wire

/// All that is known of a job when it ends for its caller. Plain bits, but for the request's names.
public struct EndedJob: Sendable {
    public var id: JobID
    public var request: JobRequest
    public var result: JobEnd.Result
    /// Why it was refused or cut.
    public var reason: Reason?
    /// How its lease ended or will end, as far as that is known yet; nil without a lease.
    public var outcome: Outcome?
    public var arrived: Instant
    public var ended: Instant
    /// Nil when it never had a lease, or had to give it back.
    public var lease: Lease?
    /// Bytes that its worker took and sent, heads included.
    public var bytesIn: UInt64 = 0
    public var bytesOut: UInt64 = 0

    /// One that never had a lease, as far as is known.
    public init(id: JobID, request: JobRequest, result: JobEnd.Result, arrived: Instant, ended: Instant) {
        (self.id, self.request, self.result, self.arrived, self.ended) = (id, request, result, arrived, ended)
    }

    public struct Lease: Hashable, Sendable {
        public var id: LeaseID
        public var endpoint: EndpointID
        public var granted: Instant
        /// Nil when the dial had not succeeded.
        public var dialed: Instant?
        public var phase: LeasePhase
    }

    /// From arrival to lease, or to the end of a job that never had one.
    public var hold: Duration { (lease?.granted ?? ended) - arrived }
    /// From lease to connection; nil without one.
    public var dial: Duration? { lease.flatMap { lease in lease.dialed.map { $0 - lease.granted } } }
    /// From arrival to end.
    public var duration: Duration { ended - arrived }

    /// As the publisher is told.
    public func told(trace: TraceContext?) -> JobEnd {
        var end = JobEnd(job: id.ticket, pool: request.pool, result: result, urgency: request.urgency, tenant: request.tenant)
        end.reason = reason
        end.hold = max(.zero, hold)
        end.bytesIn = bytesIn
        end.bytesOut = bytesOut
        end.trace = trace
        guard let lease else { return end }
        end.lease = lease.id
        end.endpoint = lease.endpoint
        end.dial = max(.zero, (lease.dialed ?? ended) - lease.granted)
        end.session = max(.zero, ended - (lease.dialed ?? ended))
        return end
    }
}

extension JobMachine {
    /// The end of a job: asked for before it is told, or right after the machine has ended it itself. Nil for a probe. O(1).
    ///
    /// - Parameters:
    ///   - was: where the job stood, when the machine has ended it already.
    ///   - phase: how far it came with its worker, where it was connected to one.
    public func end(
        of id: JobID, _ result: JobEnd.Result, reason: Reason? = nil, outcome: Outcome? = nil, was: JobPhase? = nil,
        phase: LeasePhase = .connected, at now: Instant
    ) -> EndedJob? {
        guard let job = self[id] ?? justEnded(id), !job.isProbe else { return nil }
        var end = EndedJob(id: id, request: job.request, result: result, arrived: job.arrived, ended: now)
        (end.reason, end.outcome) = (reason, outcome)
        switch was ?? job.phase {
        case .none, .waiting: end.outcome = nil
        case .dialing: end.lease = EndedJob.Lease(id: job.lease, endpoint: job.endpoint, granted: job.granted, phase: .dialing)
        case .serving, .ending:
            end.lease = EndedJob.Lease(id: job.lease, endpoint: job.endpoint, granted: job.granted, dialed: job.dialed, phase: phase)
        }
        return end
    }

    /// The job as it was, until its slot is used again.
    private func justEnded(_ id: JobID) -> Job? {
        let i = Int(id.slot)
        guard i < jobs.count, jobs[i].phase == .none, jobs[i].generation == id.generation &+ 1 else { return nil }
        return jobs[i]
    }
}
