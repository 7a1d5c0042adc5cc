/// What the pool-keeper needs to know of a pool: the part of its configuration that decides.
public struct PoolPolicy: Hashable, Sendable {
    public var id: PoolID
    public var name: String
    /// Jobs that one endpoint may run at once. Where two pools reach one endpoint, the smaller number holds.
    public var slots: Int = 1
    /// How long a ticket may wait from arrival to lease.
    public var holdTimeout: Duration = .seconds(30)
    /// The same for a pool in which no endpoint exists.
    public var noEndpointsTimeout: Duration = .seconds(30)
    /// Most tickets that wait; one more is refused `queue-full`. A requeued ticket is never refused.
    public var maxQueued: Int = 10_000
    public var reuse: Reuse = .immediate
    public var order: Order = .spread
    public var quarantine = Quarantine()
    public var health: Health?
    /// How long a worker may go on with a job that nobody waits for. One whose dispatcher died is set aside for as long: nobody can say when it is done.
    public var abandon: Duration = .seconds(30)
    /// How long after the grant the dispatcher may still dial.
    public var dialBy: Duration = .seconds(2)
    /// Whose jobs share the pool and how: the first is for every job of no other. Never empty, names unique.
    public var tenants: [Tenant] = [.standard]
    /// A waiting ticket rises one urgency each time it has waited for this long; zero is never.
    public var ageAfter: Duration = .seconds(30)
    /// Which ticket goes when the queue is full.
    public var shed = Shed.newest
    /// Most bytes that wait with tickets; nil is no limit.
    public var maxBytes: Int? = 64 << 20
    /// How long a ticket waits for the endpoint that last served its affinity key, before it takes any.
    public var affinityWait: Duration = .seconds(2)
    /// Free endpoints that only tickets of urgency 0 may take.
    public var reserve: Int = 0

    public init(name: String) {
        self.name = name
        self.id = PoolID(name: name)
    }

    /// One tenant's part in a pool.
    public struct Tenant: Hashable, Sendable {
        public var name: String
        /// Its share of the grants beside the other tenants that have tickets of the same urgency; at least 1.
        public var weight: Int = 1
        /// Most leases that it has at once; nil is no limit.
        public var maxLeased: Int?
        /// Most of its tickets that wait; nil is no limit but the pool's.
        public var maxQueued: Int?

        public init(name: String, weight: Int = 1, maxLeased: Int? = nil, maxQueued: Int? = nil) {
            self.name = name
            self.weight = weight
            self.maxLeased = maxLeased
            self.maxQueued = maxQueued
        }

        /// The tenant of every job that names none, or one that is not configured.
        public static let standard = Tenant(name: "default")
    }

    /// Who goes without when the queue is full.
    public enum Shed: UInt8, Hashable, Sendable {
        /// The one that comes.
        case newest
        /// The one that has waited longest among the least urgent, if the one that comes is at least as urgent.
        case oldest
    }

    /// When an endpoint is free again after a lease.
    public enum Reuse: Hashable, Sendable {
        /// At once.
        case immediate
        /// Once seen unready and ready again, or ready for `settle` after the release.
        case whenReady(settle: Duration)
        /// Not at all: single-use workers.
        case never
    }

    /// Which free endpoint is taken first.
    public enum Order: UInt8, Hashable, Sendable {
        /// The least recently used.
        case spread
        /// The most recently used, so that scale-in finds idle workers.
        case pack
    }

    /// How long a failing endpoint is set aside: `first`, doubling to `most` on repeats.
    public struct Quarantine: Hashable, Sendable {
        public var first: Duration = .seconds(2)
        public var most: Duration = .seconds(30)
        public init(first: Duration = .seconds(2), most: Duration = .seconds(30)) {
            self.first = first
            self.most = most
        }
    }

    /// Probes of free endpoints; a probe holds a slot.
    public struct Health: Hashable, Sendable {
        public var path: String
        public var interval: Duration
        public var timeout: Duration
        public init(path: String, interval: Duration, timeout: Duration) {
            self.path = path
            self.interval = interval
            self.timeout = timeout
        }
    }
}
