import Model
import Wire

/// A job that a predecessor had, as its successor in the seat takes it over.
public struct AdoptedJob: Sendable {
    public var request: JobRequest
    public var arrived: Instant
    public var isRequeued: Bool
    /// Nil for a job that waits.
    public var lease: Lease?

    public struct Lease: Sendable {
        public var asserted: AssertedLease
        public var granted: Instant
        /// Nil while its worker is being dialled.
        public var dialed: Instant?

        public init(_ asserted: AssertedLease, granted: Instant, dialed: Instant?) {
            self.asserted = asserted
            self.granted = granted
            self.dialed = dialed
        }
    }

    public init(request: JobRequest, arrived: Instant, isRequeued: Bool = false, lease: Lease? = nil) {
        self.request = request
        self.arrived = arrived
        self.isRequeued = isRequeued
        self.lease = lease
    }
}

extension JobMachine {
    /// A predecessor's job under its old name, before anything else happens. False when the name is taken or out of reason: then the job
    /// gets a new one from ``reserve()``.
    public mutating func adopt(_ id: JobID, _ job: AdoptedJob, at now: Instant) -> Bool {
        guard id.slot < Self.mostAdopted else { return false }
        while jobs.count <= Int(id.slot) {
            jobs.append(Job(request: JobRequest(pool: PoolID(rawValue: 0))))
            jobs[jobs.count - 1].generation = firstGeneration
        }
        guard jobs[Int(id.slot)].phase == .none else { return false }
        jobs[Int(id.slot)].generation = id.generation
        take(Int(id.slot), job)
        return true
    }

    /// The same under a new name, once ``adoptedAll()`` was called.
    public mutating func adopt(_ job: AdoptedJob, at now: Instant) -> JobID {
        let id = reserve()
        take(Int(id.slot), job)
        return id
    }

    /// No slot is beyond this: a record that names one is not believed.
    private static var mostAdopted: UInt32 { 1 << 20 }

    private mutating func take(_ i: Int, _ job: AdoptedJob) {
        jobs[i].request = job.request
        jobs[i].arrived = job.arrived
        jobs[i].isRequeued = job.isRequeued
        jobs[i].isProbe = job.lease?.asserted.isProbe ?? false
        guard let lease = job.lease else { return enter(i, .waiting) }
        jobs[i].lease = lease.asserted.lease
        jobs[i].endpoint = lease.asserted.endpoint
        jobs[i].address = lease.asserted.address
        jobs[i].alternate = nil
        jobs[i].granted = lease.granted
        jobs[i].dialed = lease.dialed ?? .zero
        enter(i, lease.asserted.isEnding ? .ending : lease.dialed == nil ? .dialing : .serving)
    }

    /// A job that was just adopted cannot go on: its lease ends.
    public mutating func adoptCut(_ id: JobID, at now: Instant) {
        guard self[id] != nil else { return }
        remember(id, .cut, now)
        free(Int(id.slot))
    }

    /// A lease that had ended when its holder died, or that nobody could go on with: it is asserted and released when there is a link.
    public mutating func adoptEnded(_ lease: AssertedLease, _ outcome: Outcome, at now: Instant) {
        var lease = lease
        lease.isEnding = true
        remember(lease, outcome, now)
    }
}
