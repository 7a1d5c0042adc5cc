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

    public init() {}

    /// That of the most specific pattern that matches: the whole name, then the longest beginning. O(grants).
    public func right(in bucket: String) -> BucketRight {
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
