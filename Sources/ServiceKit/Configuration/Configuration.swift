import Model

/// What the one configuration file says, with defaults applied: the same value in every process.
///
/// Properties' initial values are the defaults; ``schema`` binds each to its key and its sentence.
public struct Configuration: Hashable, Sendable {
    /// Where the sockets of every edge live. Absolute.
    public var runtimeDirectory = "/run/leasehold"
    /// What must outlive a process: the keeper's epoch and roster, the watcher's last complete state. Absolute.
    public var stateDirectory = "/var/lib/leasehold"
    /// Where endpoints come from; nil when every pool has only local workers.
    public var source: SourceConfiguration?
    /// At least one, unless the file is for an asset cache alone; names and ids are unique.
    public var pools: [PoolConfiguration] = []
    /// Names are unique, addresses do not clash.
    public var listeners: [ListenerConfiguration] = []
    public var publisher: PublisherConfiguration?
    public var assetCache: AssetCacheConfiguration?
    /// After a start of the pool-keeper: how long it waits for the leases of dispatchers that are gone.
    public var recoveryGrace = Duration.seconds(2)
    /// How long a dead dispatcher's leases wait for its successor in the seat.
    public var adoptWithin = Duration.seconds(10)
    /// Which jobs get a line in the journal.
    public var logJobs = LogJobs.errors
    public var dispatcher = DispatcherConfiguration()

    public init() {}

    /// The pool of that name, or nil. O(pools).
    public func pool(named name: String) -> PoolConfiguration? { pools.first { $0.name == name } }

    /// The pool with that id, or nil. O(pools).
    public func pool(_ id: PoolID) -> PoolConfiguration? { pools.first { $0.id == id } }
}

/// Where endpoints come from: one of the two is given.
public struct SourceConfiguration: Hashable, Sendable {
    /// EndpointSlice and Service manifests, YAML or JSON, watched. Absolute.
    public var directory: String?
    /// An API server.
    public var kubernetes: KubernetesConfiguration?

    public init(directory: String? = nil, kubernetes: KubernetesConfiguration? = nil) {
        self.directory = directory
        self.kubernetes = kubernetes
    }
}

/// How an API server is reached, and how far it is believed.
public struct KubernetesConfiguration: Hashable, Sendable {
    /// Absolute; nil is the service account of the pod that this runs in.
    public var kubeconfig: String?
    /// Of the kubeconfig; nil is its current-context.
    public var context: String?
    /// Where the pod's `token`, `ca.crt` and `namespace` are. Absolute.
    public var serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"
    /// The share of a pool, in percent, whose disappearance without a word about each is doubted.
    public var doubt = 50
    /// How long such a disappearance is held back; zero believes at once.
    public var doubtFor = Duration.seconds(10)

    public init() {}
}

/// What holds for every dispatcher, whatever the listener.
public struct DispatcherConfiguration: Hashable, Sendable {
    /// Event loops, each with its own epoll set; the listeners are shared.
    public var threads = 1

    public init() {}
}

/// Which jobs get a line in the journal when they end.
public enum LogJobs: Hashable, Sendable {
    case all
    /// Those that were not served.
    case errors
    /// Those that were not served, and one of every `n` that were; n is at least 1.
    case sample(Int)
}
