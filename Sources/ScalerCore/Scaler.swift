import Model
import Wire

/// The machine of leasehold-scaler: how many worker processes each pool has, on which ports, and which may be stopped.
///
/// One door: ``handle(_:at:into:)``. It starts workers when demand asks for them, announces each once its port accepts,
/// and stops one only after the pool-keeper said that it is drained. The shell starts and signals processes, connects
/// to ports, and keeps the roster file.
public struct Scaler: Sendable {
    /// What happened.
    public enum Input: Hashable, Sendable {
        /// First input: the configuration, and the workers of an earlier scaler that the shell found alive.
        case began([WorkerPool], found: [RosterEntry])
        /// The configuration was read again: every pool with local workers.
        case configured([WorkerPool])
        case poolState(PoolState)
        /// The pool-keeper does not have the pool (any more).
        case poolGone(PoolID)
        /// The *state* edge is down: nothing is known of demand, and the fleet stays as it is.
        case stateLost
        case scalingUp
        case scalingLost
        /// The pool-keeper's answer to `drainIdle` or `drain`: nothing new for this one, and no lease is open.
        case drained(EndpointID)
        case portFree(WorkerPlace)
        /// A process that is not our worker has the port.
        case portHeld(WorkerPlace)
        case started(WorkerPlace, ProcessIdentity)
        /// No process came of the order. `jitter` is 32 random bits.
        case startFailed(WorkerPlace, reason: String, jitter: UInt32)
        /// The port of this process accepts connections.
        case accepts(WorkerPlace, ProcessIdentity)
        case silent(WorkerPlace, ProcessIdentity)
        case exited(WorkerPlace, ProcessIdentity, ExitStatus, jitter: UInt32)
        /// ``nextWake`` has come.
        case woke
    }

    /// What is to be done, in this order.
    public enum Action: Hashable, Sendable {
        /// Say `portFree` or `portHeld`.
        case check(WorkerPlace)
        case start(WorkerPlace)
        /// Connect once; say `accepts` or `silent`.
        case probe(WorkerPlace, ProcessIdentity)
        /// Ask the process to end (SIGTERM).
        case stop(WorkerPlace, ProcessIdentity)
        /// It had its time (SIGKILL).
        case kill(WorkerPlace, ProcessIdentity)
        case announce(PoolID, Endpoint)
        case withdraw(PoolID, EndpointID)
        case drainIdle(PoolID, idleFor: Duration, most: Int)
        case drain(EndpointID)
        case undrain(EndpointID)
        /// Write ``Scaler/roster`` to its file.
        case saveRoster
        case notice(Notice)
    }

    /// How the machine treats time.
    public enum Pace {
        /// Between two looks at a port that does not accept yet.
        public static let probe = Duration.milliseconds(25)
        /// A worker that served this long has its earlier failures forgiven.
        public static let ranWell = Duration.seconds(10)
        /// Between two looks at a port that a foreign process holds.
        public static let heldRetry = Duration.seconds(10)
    }

    var pools: [Pool] = []
    var scalingIsUp = false
    var rosterChanged = false
    let node: String

    public init(node: String = "") { self.node = node }

    public mutating func handle(_ input: Input, at now: Instant, into actions: inout [Action]) {
        switch input {
        case .began(let configured, let found): began(configured, found, now, &actions)
        case .configured(let configured): reconfigure(configured, now, &actions)
        case .poolState(let state): poolState(state, now, &actions)
        case .poolGone(let pool): poolGone(pool, now, &actions)
        case .stateLost: stateLost(now, &actions)
        case .scalingUp: scalingUp(now, &actions)
        case .scalingLost: scalingIsUp = false
        case .drained(let endpoint): drained(endpoint, now, &actions)
        case .portFree(let place): portFree(place, now, &actions)
        case .portHeld(let place): portHeld(place, now, &actions)
        case .started(let place, let process): started(place, process, now, &actions)
        case .startFailed(let place, let reason, let jitter): startFailed(place, reason, jitter, now, &actions)
        case .accepts(let place, let process): accepts(place, process, now, &actions)
        case .silent(let place, let process): silent(place, process, now, &actions)
        case .exited(let place, let process, let status, let jitter): exited(place, process, status, jitter, now, &actions)
        case .woke: for i in pools.indices { reconcile(i, now, &actions) }
        }
        pools.removeAll { $0.isRetired && $0.workers.isEmpty }
        if rosterChanged {
            rosterChanged = false
            actions.append(.saveRoster)
        }
        #if DEBUG
            checkInvariants()
        #endif
    }

    /// When `woke` is due; `.never` while nothing waits for time. O(workers).
    public var nextWake: Instant { pools.reduce(.never) { min($0, nextWake(of: $1)) } }

    // MARK: What others may see

    /// Every worker process, for the roster file.
    public var roster: [RosterEntry] {
        pools.flatMap { pool in
            pool.workers.compactMap { worker in
                worker.rosterState.flatMap { state in
                    worker.process.map {
                        RosterEntry(
                            pool: pool.config.name, port: worker.port, process: $0, fingerprint: worker.fingerprint, state: state)
                    }
                }
            }
        }
    }

    /// The snapshot for the *workers* edge.
    public var endpoints: [(pool: PoolID, endpoint: Endpoint)] {
        pools.flatMap { pool in
            pool.workers.compactMap { worker in
                guard worker.isAnnounced, let process = worker.process else { return nil }
                return (pool.config.id, endpoint(pool, worker.port, process))
            }
        }
    }

    /// One line of `show process`, per pool.
    public struct Summary: Hashable, Sendable {
        public var pool: String
        public var target: Int
        public var ready = 0
        public var starting = 0
        public var draining = 0
        public var stopping = 0
        /// Crashed, and waiting for the next start.
        public var waiting = 0
        /// Ports that foreign processes hold.
        public var held = 0
        /// Nothing is known of demand: the fleet stays as it is.
        public var isBlind: Bool
    }

    public var summaries: [Summary] {
        pools.map { pool in
            var summary = Summary(pool: pool.config.name, target: pool.target, isBlind: pool.state == nil)
            for worker in pool.workers {
                switch worker.state {
                case .vacant: break
                case .held: summary.held += 1
                case .checking, .launching, .starting: summary.starting += 1
                case .ready: summary.ready += 1
                case .draining: summary.draining += 1
                case .stopping: summary.stopping += 1
                case .waiting: summary.waiting += 1
                }
            }
            return summary
        }
    }

    func endpoint(_ pool: Pool, _ port: UInt16, _ process: ProcessIdentity) -> Endpoint {
        WorkerName.endpoint(pool: pool.config.name, port: port, process: process, node: node)
    }

    // MARK: Invariants

    /// Traps when the machine contradicts itself.
    public func checkInvariants() {
        for pool in pools {
            precondition(zip(pool.workers, pool.workers.dropFirst()).allSatisfy { $0.port < $1.port }, "workers out of order in \(pool)")
            precondition(pool.target >= 0 && pool.target <= pool.config.max, "target outside its bounds in \(pool)")
            precondition(!pool.isRetired || pool.target == 0, "a retired pool wants workers: \(pool)")
        }
    }
}
