/// Hits and requests of the hosts that are asked most: a bounded table ("Space-Saving", Metwally et al. 2005).
///
/// A host that enters a full table takes the place of the least asked one and begins with its number of requests, so that what is shown can
/// be too many by that, never too few; its hits begin at zero.
public struct TopHosts: Sendable {
    public struct Row: Hashable, Sendable {
        public var host: String
        public var requests: UInt64
        public var hits: UInt64
        /// At most so many of `requests` are others'.
        public var error: UInt64
    }

    public static let most = 32

    private var rows: [String: Row] = [:]

    public init() {}

    /// O(1) for a host that is here, O(table) for another.
    public mutating func count(_ host: String, isHit: Bool) {
        if rows[host] == nil {
            var start: UInt64 = 0
            if rows.count >= Self.most, let least = rows.values.min(by: { $0.requests < $1.requests }) {
                rows[least.host] = nil
                start = least.requests
            }
            rows[host] = Row(host: host, requests: start, hits: 0, error: start)
        }
        rows[host]?.requests += 1
        if isHit { rows[host]?.hits += 1 }
    }

    /// Most asked first.
    public var all: [Row] { rows.values.sorted { ($1.requests, $0.host) < ($0.requests, $1.host) } }
}
