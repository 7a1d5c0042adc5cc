import Model

/// The endpoints of one Service port, or local workers, or both, with one policy.
public struct PoolConfiguration: Hashable, Sendable {
    public var name = ""
    /// The Service whose slices make the pool; nil for local workers only.
    public var service: ServiceName?
    public var port = ServicePort.only
    /// How callers get an endpoint. One kind so far.
    public var sharing = Sharing.lease
    /// Jobs that one endpoint may run at once.
    public var slots = 1
    public var hold = Hold()
    public var dial = Dial()
    public var quarantine = Quarantine()
    public var workerConnections = WorkerConnections.fresh
    public var reuse = Reuse.immediate
    /// For `reuse: when-ready`: ready for this long after a release counts as ready again.
    public var settle = Duration.seconds(2)
    public var order = PoolPolicy.Order.spread
    public var health: Health?
    /// From a complete response to the end of the lease, when the worker does not close first.
    public var closeGrace = Duration.milliseconds(100)
    /// How long a worker may go on with a job whose caller is gone; then it is cut and quarantined.
    public var abandon = Duration.seconds(30)
    public var workers: WorkersConfiguration?
    public var tenants = Tenants()
    public var queue = Queue()
    public var affinity = Affinity()
    /// Free endpoints that only jobs of urgency 0 may take.
    public var reserve = 0

    public init() {}

    public var id: PoolID { PoolID(name: name) }

    /// What the pool-keeper needs to know.
    public var policy: PoolPolicy {
        var policy = PoolPolicy(name: name)
        policy.slots = slots
        policy.holdTimeout = hold.timeout
        policy.noEndpointsTimeout = hold.noEndpoints ?? hold.timeout
        policy.maxQueued = hold.maxQueued
        policy.reuse =
            switch reuse {
            case .immediate: .immediate
            case .whenReady: .whenReady(settle: settle)
            case .never: .never
            }
        policy.order = order
        policy.quarantine = PoolPolicy.Quarantine(first: quarantine.first, most: quarantine.most)
        policy.health = health.map { PoolPolicy.Health(path: $0.path, interval: $0.interval, timeout: $0.timeout) }
        policy.dialBy = dial.by
        policy.abandon = abandon
        policy.tenants = [tenants.standard.policy(named: "default")]
        policy.tenants += tenants.named.sorted { $0.key < $1.key }.map { $0.value.policy(named: $0.key) }
        policy.ageAfter = queue.ageAfter
        policy.shed = queue.shed
        policy.maxBytes = queue.maxBytes
        policy.affinityWait = affinity.wait
        policy.reserve = reserve
        return policy
    }

    public enum Sharing: CaseIterable, Hashable, Sendable {
        /// One job per slot, held until one is free.
        case lease
    }

    /// How long and how many callers wait.
    public struct Hold: Hashable, Sendable {
        public var timeout = Duration.seconds(30)
        /// The same while the pool has no endpoint; nil means ``timeout``.
        public var noEndpoints: Duration?
        public var maxQueued = 10_000
    }

    /// Whose jobs share the pool.
    public struct Tenants: Hashable, Sendable {
        /// Most that can be named.
        static let most = 1_000
        public var from = TenantSource.header
        /// For every job of no configured tenant.
        public var standard = TenantLimits()
        public var named: [String: TenantLimits] = [:]
    }

    /// Where a job's tenant comes from.
    public enum TenantSource: CaseIterable, Hashable, Sendable {
        /// The caller's own field, where the caller is trusted in it; else as for ``listener``.
        case header
        /// The listener's or the route's `tenant`; what the caller says counts for nothing.
        case listener
    }

    /// One tenant's share and bounds; nil is no bound.
    public struct TenantLimits: Hashable, Sendable {
        public var weight = 1
        public var maxLeased: Int?
        public var maxQueued: Int?

        func policy(named name: String) -> PoolPolicy.Tenant {
            PoolPolicy.Tenant(name: name, weight: weight, maxLeased: maxLeased, maxQueued: maxQueued)
        }
    }

    /// The order and the size of the queue.
    public struct Queue: Hashable, Sendable {
        /// Zero is off.
        public var ageAfter = Duration.seconds(30)
        public var shed = PoolPolicy.Shed.newest
        /// Bytes of heads that wait; nil is off.
        public var maxBytes: Int? = 64 << 20
    }

    /// Endpoints that a caller has been at before.
    public struct Affinity: Hashable, Sendable {
        public var wait = Duration.seconds(2)
    }

    /// Connecting to an endpoint.
    public struct Dial: Hashable, Sendable {
        public var timeout = Duration.seconds(1)
        /// How long after the grant the dispatcher may still begin to dial.
        public var by = Duration.seconds(2)
    }

    /// How long a failing endpoint is set aside: `first`, doubling to `most` on repeats.
    public struct Quarantine: Hashable, Sendable {
        public var first = Duration.seconds(2)
        public var most = Duration.seconds(30)
    }

    /// Probes of free endpoints.
    public struct Health: Hashable, Sendable {
        public var path = ""
        public var interval = Duration.seconds(10)
        public var timeout = Duration.seconds(1)
    }

    public enum WorkerConnections: CaseIterable, Hashable, Sendable {
        /// One connection per job.
        case fresh
        /// One idle connection per worker is kept for its next job.
        case reuse
    }

    /// When an endpoint is free again after a lease.
    public enum Reuse: CaseIterable, Hashable, Sendable {
        case immediate
        case whenReady
        case never
    }
}

/// Local workers of a pool: which program, on which ports, how many.
public struct WorkersConfiguration: Hashable, Sendable {
    /// Program and arguments; `{port}` in an argument is replaced.
    public var command: [String] = []
    /// One worker each, on loopback. Ascending, unique, never empty.
    public var ports = PortSet()
    /// Kept running without any demand.
    public var min = 0
    /// Never more than this; nil means one for each port.
    public var max: Int?
    /// A worker that had no job for this long is stopped, down to ``min``.
    public var idle = Duration.seconds(30)
    /// A worker whose port does not accept by then is stopped and counts as crashed.
    public var startTimeout = Duration.seconds(60)
    /// From SIGTERM to SIGKILL.
    public var stopTimeout = Duration.seconds(10)
    public var backoff = Backoff()

    public init() {}

    /// ``max``, with its default.
    public var most: Int { max ?? ports.count }

    /// The pause before a crashed worker is started again: `first`, doubling to `most` on repeats.
    public struct Backoff: Hashable, Sendable {
        public var first = Duration.milliseconds(250)
        public var most = Duration.seconds(30)
    }
}
