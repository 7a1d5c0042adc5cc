import Model

/// A job as its dispatcher names it: slot and generation, so that a stale name is noticed.
public struct JobID: Hashable, Sendable, BitwiseCopyable {
    public var slot: UInt32
    public var generation: UInt32

    @inlinable public init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// The job's ticket: the same bits, so that the pool-keeper's answer finds the job without a table.
    @inlinable public var ticket: TicketID { TicketID(rawValue: UInt64(generation) << 32 | UInt64(slot)) }

    @inlinable public init(_ ticket: TicketID) {
        slot = UInt32(truncatingIfNeeded: ticket.rawValue)
        generation = UInt32(truncatingIfNeeded: ticket.rawValue >> 32)
    }
}

/// What a job asks for when it arrives.
public struct JobRequest: Hashable, Sendable {
    public var pool: PoolID
    /// The caller's own hold budget (`Prefer: wait`), already capped; nil takes the pool's.
    public var budget: Duration?
    public var urgency: Urgency
    /// Bytes that wait with the job.
    public var bytes: UInt32
    /// Nil for the default tenant without affinity, which is almost every job: a copy then counts no references.
    private var names: Names?

    /// Immutable, shared by copies and by jobs.
    public final class Names: Hashable, Sendable {
        public let tenant: String
        public let affinity: String
        public init(tenant: String, affinity: String = "") {
            self.tenant = tenant
            self.affinity = affinity
        }
        public static func == (a: Names, b: Names) -> Bool { a.tenant == b.tenant && a.affinity == b.affinity }
        public func hash(into hasher: inout Hasher) {
            hasher.combine(tenant)
            hasher.combine(affinity)
        }
    }

    public init(
        pool: PoolID, budget: Duration? = nil, urgency: Urgency = .standard, tenant: String = "", affinity: String = "", bytes: UInt32 = 0
    ) {
        self.pool = pool
        self.budget = budget
        self.urgency = urgency
        self.bytes = bytes
        if !tenant.isEmpty || !affinity.isEmpty { names = Names(tenant: tenant, affinity: affinity) }
    }

    /// The same with names that are there already.
    public init(pool: PoolID, budget: Duration?, urgency: Urgency, names: Names?, bytes: UInt32) {
        self.pool = pool
        self.budget = budget
        self.urgency = urgency
        self.bytes = bytes
        self.names = names
    }

    /// Empty is the default tenant.
    public var tenant: String { names?.tenant ?? "" }
    /// Empty is none.
    public var affinity: String { names?.affinity ?? "" }
}

/// Where a job stands.
public enum JobPhase: UInt8, Sendable, Hashable {
    /// The slot is unused. Leaves to waiting (arrived), or serving (a probe).
    case none
    /// Its ticket waits at the pool-keeper, or will once there is a link. Leaves to dialing, or none.
    case waiting
    /// It has a lease and its worker is being dialled. Leaves to serving, waiting (requeued), or none.
    case dialing
    /// Bytes may have reached the worker. Leaves to ending, waiting (requeued), or none.
    case serving
    /// The caller is gone and the worker still works. Leaves to none.
    case ending
}

/// One job's state: plain bits, but for names that are almost always absent.
public struct Job: Sendable {
    public internal(set) var request: JobRequest
    public internal(set) var phase = JobPhase.none
    public internal(set) var isRequeued = false
    public internal(set) var isProbe = false
    public internal(set) var generation: UInt32 = 0
    var nextFree: UInt32 = 0
    public internal(set) var arrived = Instant.zero
    /// Valid from dialing on.
    public internal(set) var lease = LeaseID(epoch: 0, counter: 0)
    public internal(set) var endpoint = EndpointID(high: 0, low: 0)
    public internal(set) var address = SocketAddress(v4: 0, port: 0)
    public internal(set) var alternate: SocketAddress?
    public internal(set) var granted = Instant.zero
    /// When the dial succeeded.
    public internal(set) var dialed = Instant.zero
}
