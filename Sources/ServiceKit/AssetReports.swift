/// What the HTTP cache has done, for `leasehold cache stats`.
public struct AssetStatsReport: Codable, Hashable, Sendable {
    public var counters: [String: UInt64]
    /// Most asked first.
    public var hosts: [Host]
    /// Half of the origins' answers began within so many; nil without any.
    public var originLatencyMilliseconds: Int64?

    public struct Host: Codable, Hashable, Sendable {
        public var host: String
        public var requests: UInt64
        public var hits: UInt64

        public init(host: String, requests: UInt64, hits: UInt64) {
            (self.host, self.requests, self.hits) = (host, requests, hits)
        }
    }

    public init(counters: [String: UInt64], hosts: [Host], originLatencyMilliseconds: Int64?) {
        self.counters = counters
        self.hosts = hosts
        self.originLatencyMilliseconds = originLatencyMilliseconds
    }
}

/// One version of a browser profile, for `leasehold profiles`.
public struct ProfileReport: Codable, Hashable, Sendable {
    public var tenant: String
    public var name: String
    public var version: Int64
    public var etag: String
    public var size: Int64
    /// Milliseconds since 1970.
    public var written: Int64
    public var lease: String?
    public var key: String
}
