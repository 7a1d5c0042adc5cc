import Model
import Wire

/// What the pool-keeper is told of a job.
extension JobMachine {
    /// The ticket of a waiting job, with its age as of now.
    public func ticket(of id: JobID, at now: Instant) -> Ticket {
        let job = jobs[Int(id.slot)]
        return Ticket(
            id: id.ticket, pool: job.request.pool, age: max(.zero, now - job.arrived), budget: job.request.budget,
            urgency: job.request.urgency, tenant: job.request.tenant, affinity: job.request.affinity, bytes: job.request.bytes,
            isRequeued: job.isRequeued)
    }

    /// The assertion of a leased job.
    public func assertion(of id: JobID, at now: Instant) -> AssertedLease {
        let job = jobs[Int(id.slot)]
        return AssertedLease(
            lease: job.lease, pool: job.request.pool, endpoint: job.endpoint, address: job.address, age: max(.zero, now - job.granted),
            isEnding: job.phase == .ending, isProbe: job.isProbe, tenant: TenantID(name: job.request.tenant))
    }
}
