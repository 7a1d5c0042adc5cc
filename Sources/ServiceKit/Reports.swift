import Model
import Wire

// What processes answer to `show`, as JSON. Times are whole milliseconds; what is not known is empty or absent.

/// One pool as `show pools` prints it and as the status page names it.
public struct PoolReport: Codable, Hashable, Sendable {
    public var pool: String
    /// Endpoints, in whatever state.
    public var total: Int
    /// Those that their source calls ready.
    public var ready: Int
    public var free: Int
    public var leased: Int
    public var ending: Int
    public var recovering: Int
    public var quarantined: Int
    public var draining: Int
    public var unready: Int
    /// Jobs that have an endpoint, those that are ending included. With slots, more than ``leased`` endpoints.
    public var leases: Int
    /// Jobs that wait.
    public var queued: Int
    /// ``leases`` and ``queued``: the number to scale on.
    public var demand: Int
    public var oldestWaitMs: Int
    public var paused: Bool
    /// The pool-keeper grants nothing yet after its start.
    public var waitsForRecovery: Bool

    public init(pool: String, state: PoolState) {
        self.pool = pool
        total = Int(state.total)
        ready = Int(state.total) - Int(state.unready)
        free = Int(state.free)
        leased = Int(state.leased)
        ending = Int(state.ending)
        recovering = Int(state.recovering)
        quarantined = Int(state.quarantined)
        draining = Int(state.draining)
        unready = Int(state.unready)
        leases = Int(state.leases)
        queued = Int(state.queued)
        demand = Int(state.demand)
        oldestWaitMs = Int(state.oldestWait.milliseconds)
        paused = state.isPaused
        waitsForRecovery = state.isRecovering
    }
}

/// One endpoint in one pool, for `show endpoints`.
public struct EndpointReport: Codable, Hashable, Sendable {
    public var pool: String
    public var uid: String
    /// The pod's name; empty when unknown.
    public var name: String
    /// The one that is dialled first leads.
    public var addresses: [String]
    public var node: String
    public var zone: String
    /// ``EndpointState/name``.
    public var state: String
    public var slots: Int
    /// Open leases, in all pools that reach it.
    public var leases: Int
    /// Started by this node's scaler.
    public var local: Bool
    /// Its source names it no more; it stays for its leases.
    public var gone: Bool
    /// Until a quarantine or settling ends.
    public var remainingMs: Int?
    /// Others are preferred, because dials to its node time out.
    public var nodeAvoided: Bool

    public init(
        pool: String, endpoint: Endpoint, state: EndpointState, slots: Int, leases: Int, gone: Bool, remaining: Duration?, nodeAvoided: Bool
    ) {
        self.pool = pool
        uid = endpoint.uid
        name = endpoint.name
        addresses = endpoint.addresses.map(\.description)
        node = endpoint.node
        zone = endpoint.zone
        self.state = state.name
        self.slots = slots
        self.leases = leases
        local = endpoint.isLocal
        self.gone = gone
        remainingMs = remaining.map { Int($0.milliseconds) }
        self.nodeAvoided = nodeAvoided
    }
}

/// One open lease, for `show leases`.
public struct LeaseReport: Codable, Hashable, Sendable {
    /// Epoch and counter; with the pool's name in front it is what the worker sees in `Leasehold-Lease`.
    public var lease: String
    public var pool: String
    /// The endpoint's UID.
    public var endpoint: String
    /// Where it was dialled; empty when the endpoint has left the pool.
    public var address: String
    /// The dispatcher's seat.
    public var seat: String
    public var ageMs: Int
    /// Its caller is gone and the worker still works.
    public var ending: Bool
    /// A health probe of ours.
    public var probe: Bool
    /// Its connections are in escrow: it outlives its dispatcher.
    public var escrowed: Bool

    public init(
        lease: LeaseID, pool: String, endpoint: String, address: SocketAddress?, seat: String, age: Duration, ending: Bool, probe: Bool,
        escrowed: Bool
    ) {
        self.lease = lease.description
        self.pool = pool
        self.endpoint = endpoint
        self.address = address?.description ?? ""
        self.seat = seat
        ageMs = Int(age.milliseconds)
        self.ending = ending
        self.probe = probe
        self.escrowed = escrowed
    }
}

/// One waiting job, for `show queue`; a pool's jobs in the order of their places.
public struct TicketReport: Codable, Hashable, Sendable {
    public var pool: String
    /// From 1, in its pool.
    public var place: Int
    public var ticket: UInt64
    /// The dispatcher's seat.
    public var seat: String
    public var ageMs: Int
    /// Until it is refused; absent while its dispatcher is away.
    public var remainingMs: Int?
    /// RFC 9218: 0 is the most urgent.
    public var urgency: Int
    /// What it has risen to by waiting.
    public var level: Int
    public var tenant: String
    /// It waits for the endpoint that served its affinity key last.
    public var waitsForEndpoint: Bool
    /// Request head and body bytes that wait with it.
    public var bytes: Int
    /// Back in its place after an endpoint proved stale.
    public var requeued: Bool

    public init(
        pool: String, place: Int, ticket: TicketID, seat: String, age: Duration, remaining: Duration?, urgency: Urgency, level: Int? = nil,
        tenant: String = "default", waitsForEndpoint: Bool = false, bytes: Int, requeued: Bool
    ) {
        self.pool = pool
        self.place = place
        self.ticket = ticket.rawValue
        self.seat = seat
        ageMs = Int(age.milliseconds)
        remainingMs = remaining.map { Int($0.milliseconds) }
        self.urgency = Int(urgency.rawValue)
        self.level = level ?? Int(urgency.rawValue)
        self.tenant = tenant
        self.waitsForEndpoint = waitsForEndpoint
        self.bytes = bytes
        self.requeued = requeued
    }
}

/// One listener as `show listeners` prints it.
public struct ListenerReport: Codable, Hashable, Sendable {
    public var name: String
    /// Where it is really bound, also when the configuration said port 0.
    public var address: String
    public var transport: String
    public var pools: [String]

    public init(name: String, address: String, transport: String, pools: [String]) {
        self.name = name
        self.address = address
        self.transport = transport
        self.pools = pools
    }
}

/// One local worker as `show workers` prints it.
public struct WorkerReport: Codable, Hashable, Sendable {
    public var pool: String
    public var port: UInt16
    public var pid: Int32
    /// `starting`, `ready`, `draining` or `stopping`.
    public var state: String

    public init(pool: String, port: UInt16, pid: Int32, state: String) {
        self.pool = pool
        self.port = port
        self.pid = pid
        self.state = state
    }
}

/// What the watcher knows and how much it is worth, for `show source`.
public struct SourceReport: Codable, Hashable, Sendable {
    /// `directory`, `kubernetes`, or `none`.
    public var kind: String
    /// The directory, the kubeconfig or `in-cluster`; empty without a source.
    public var location: String
    /// `live`, `stale` or `unknown`.
    public var state: String
    /// Since the state was last known to be in step with the source.
    public var ageMs: Int
    /// One line for people.
    public var detail: String
    public var generation: UInt64
    public var files: Int
    /// Distinct endpoints over all pools, local workers included.
    public var endpoints: Int
    public var localWorkers: Int
    /// One sentence each, with file and line where there is one.
    public var problems: [String]
    /// Absent with another kind of source.
    public var kubernetes: KubernetesReport?

    public init(
        kind: String, location: String, state: String, age: Duration, detail: String, generation: UInt64, files: Int, endpoints: Int,
        localWorkers: Int, problems: [String], kubernetes: KubernetesReport? = nil
    ) {
        self.kind = kind
        self.location = location
        self.state = state
        ageMs = Int(age.milliseconds)
        self.detail = detail
        self.generation = generation
        self.files = files
        self.endpoints = endpoints
        self.localWorkers = localWorkers
        self.problems = problems
        self.kubernetes = kubernetes
    }
}
