import Model

/// What the asset cache serves, to whom, and how much of it.
public struct AssetCacheConfiguration: Hashable, Sendable {
    public var address = ListenAddress.ip(.loopback(port: 9900))
    /// Blobs and the index. Absolute.
    public var directory = "/var/cache/leasehold"
    /// Bytes of objects and parts on disk.
    public var size = 20 << 30
    /// Host names that are ours, beside the address itself; in lower case.
    public var names = ["localhost"]
    /// Access keys are unique.
    public var keys: [AccessKeyConfiguration] = []
    /// What callers from loopback may do without a key.
    public var anonymous = BucketRight.none
    /// Buckets whose objects are never evicted.
    public var pinned: [String] = []
    /// Every read compares each blob with its SHA-256 before the first byte goes out.
    public var verifyReads = false
    /// From the end of a scrub to the next; nil is never.
    public var scrub: Duration? = .seconds(86_400)
    /// From SIGTERM to the end of what still runs.
    public var drain = Duration.seconds(30)
    /// Nil: neither a proxy nor /fetch.
    public var fetch: FetchConfiguration?
    /// Addresses at which one origin each is cached.
    public var reverse: [ReverseConfiguration] = []
    /// How responses are kept, whichever way they were asked for.
    public var caching = CachingConfiguration()
    public var profiles = ProfilesConfiguration()
    /// The store that many nodes share; nil: this disk is all there is.
    public var backing: BackingConfiguration?

    public init() {}
}

/// What a key, or an anonymous caller, may do in a bucket.
public enum BucketRight: CaseIterable, Hashable, Sendable {
    case none
    case read
    case write
    case readWrite

    public var canRead: Bool { self == .read || self == .readWrite }
    public var canWrite: Bool { self == .write || self == .readWrite }
}

/// One S3 key and its rights.
public struct AccessKeyConfiguration: Hashable, Sendable {
    public var accessKey = ""
    /// Given in the file itself, or nil.
    public var secret: String?
    /// Absolute; its content without the line break at its end is the secret.
    public var secretFile: String?
    public var buckets: [BucketGrant] = []
    /// Tenants whose profiles the key may read or write, by name or the beginning of one.
    public var tenants: [BucketGrant] = []

    public init() {}

    /// What the key may do with a tenant's profiles.
    public func right(ofTenant tenant: String) -> BucketRight { Self.right(in: tenant, of: tenants) }

    /// That of the most specific pattern that matches: the whole name, then the longest beginning. O(grants).
    public func right(in bucket: String) -> BucketRight { Self.right(in: bucket, of: buckets) }

    private static func right(in bucket: String, of buckets: [BucketGrant]) -> BucketRight {
        var best: (length: Int, right: BucketRight) = (-1, .none)
        for grant in buckets {
            let length: Int
            if grant.pattern.hasSuffix("*") {
                guard bucket.hasPrefix(grant.pattern.dropLast()) else { continue }
                length = grant.pattern.utf8.count - 1
            } else {
                guard grant.pattern == bucket else { continue }
                length = Int.max
            }
            if length > best.length { best = (length, grant.right) }
        }
        return best.right
    }
}

/// What may be done in the buckets whose name matches.
public struct BucketGrant: Hashable, Sendable {
    /// A bucket's name, or the beginning of one and a `*`.
    public var pattern: String
    public var right: BucketRight

    public init(pattern: String, right: BucketRight) {
        self.pattern = pattern
        self.right = right
    }
}

/// The forward proxy and /fetch.
public struct FetchConfiguration: Hashable, Sendable {
    /// `*`, a host's name, or `*.` and the end of one.
    public var allowHosts = ["*"]
    /// Private addresses that may be asked, each with its port.
    public var allowPrivate: [SocketAddress] = []
    /// Ports that CONNECT may lead to.
    public var connectPorts = [443]
    /// More certificates that are believed, PEM. Absolute.
    public var trustFile: String?

    public init() {}
}

/// One origin behind one address.
public struct ReverseConfiguration: Hashable, Sendable {
    public var address = ListenAddress.ip(.loopback(port: 9901))
    /// `http://HOST:PORT` or `https://…`, without a path.
    public var origin = ""

    public init() {}
}

/// How responses are kept.
public struct CachingConfiguration: Hashable, Sendable {
    /// Bytes of the largest response that is kept.
    public var largest = 256 << 20
    /// Bytes of small responses that are kept in memory, too.
    public var memory = 64 << 20
    /// For how long errors are fresh of which the origin says nothing; zero: not kept.
    public var negative = Duration.seconds(5)
    /// Responses with Set-Cookie are kept, without it.
    public var storeSetCookie = false
    public var connect = Duration.seconds(5)
    /// From the end of a request to the head of its response.
    public var firstByte = Duration.seconds(30)
    /// Between two pieces of a body.
    public var idle = Duration.seconds(30)

    public init() {}
}

/// Browser profiles.
public struct ProfilesConfiguration: Hashable, Sendable {
    /// Versions of each that are kept.
    public var versions = 3
    /// Bytes of the largest.
    public var largest = 1 << 30
    /// Whether writes name a lease that the pool-keeper knows. Without, only a key with rights for the tenant serves.
    public var leases = false

    public init() {}
}

/// An S3 behind this store.
public struct BackingConfiguration: Hashable, Sendable {
    /// `http://HOST:PORT` or `https://…`, without a path.
    public var endpoint = ""
    public var bucket = ""
    public var region = "us-east-1"
    public var accessKey = ""
    /// Given in the file itself, or nil.
    public var secret: String?
    /// Absolute; its content without the line break at its end is the secret.
    public var secretFile: String?
    /// Before every key.
    public var prefix = ""
    public var mode = Mode.readThrough
    /// Names that wait to be sent, at most.
    public var queue = 10_000
    /// For how long a copy is served without asking whether it still holds.
    public var checkAfter = Duration.seconds(60)
    /// More certificates that are believed, PEM. Absolute.
    public var trustFile: String?
    public var connect = Duration.seconds(5)
    /// From the end of a request to the head of its response.
    public var firstByte = Duration.seconds(30)
    /// Between two pieces of a body, in either direction.
    public var idle = Duration.seconds(30)

    public enum Mode: CaseIterable, Hashable, Sendable {
        case readThrough
        case writeThrough
        case writeBack
    }

    public init() {}
}
