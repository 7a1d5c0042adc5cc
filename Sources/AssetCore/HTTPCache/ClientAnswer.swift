/// Status, fields and bytes of an answer from what is stored (RFC 9111 §4, RFC 9110 §13, §14).
public struct ClientAnswer: Sendable {
    public var status: Int
    /// Names in lower case; with Age and Cache-Status, without Content-Length where the length is not known.
    public var fields: Fields
    /// Of the whole body; nil when there is none to send.
    public var body: Range<Int64>?

    /// - Parameters:
    ///   - total: bytes of the whole body; nil while it is still coming and nobody knows.
    ///   - age: nil for a response that has just come from the origin: its own age is told then.
    public init(
        _ stored: StoredResponse, request: Fields, isHead: Bool, total: Int64?, age: Int64?, cacheStatus: CacheStatus, at now: Timestamp
    ) {
        fields = stored.fields
        status = stored.status
        fields.set("age", String(age ?? stored.freshness.initialAge))
        fields.append("cache-status", cacheStatus.text)
        if stored.status == 200, Self.isNotModified(stored, request, now) {
            status = 304
            for name in ["content-type", "content-encoding", "content-language", "accept-ranges"] { fields.remove(name) }
            return
        }
        guard let total else {
            if !isHead { body = 0..<Int64.max }
            return
        }
        var range = 0..<total
        if stored.status == 200, !isHead, stored.rangeHolds(request, now: now) {
            switch ByteRange(request["range"], size: total) {
            case .whole: break
            case .part(let part):
                status = 206
                range = part
                fields.append("content-range", "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(total)")
            case .unsatisfiable:
                status = 416
                for name in ["content-type", "content-encoding", "content-language"] { fields.remove(name) }
                fields.append("content-range", "bytes */\(total)")
                fields.append("content-length", "0")
                return
            }
        }
        if status != 204 { fields.append("content-length", String(range.count)) }
        if !isHead, !range.isEmpty { body = range }
    }

    /// The caller's own conditions (RFC 9110 §13.2.2), judged on what would be served.
    static func isNotModified(_ stored: StoredResponse, _ request: Fields, _ now: Timestamp) -> Bool {
        let tags = request.values("if-none-match")
        if !tags.isEmpty {
            if tags.contains("*") { return true }
            guard let etag = stored.etag else { return false }
            return tags.flatMap { $0.split(separator: ",") }.contains { Verdict.isSame(trimmed($0), etag) }
        }
        guard let since = request["if-modified-since"].flatMap({ Timestamp(httpDate: $0, now: now) }),
            let modified = stored.fields["last-modified"].flatMap({ Timestamp(httpDate: $0, now: now) })
        else { return false }
        return modified <= since
    }
}

/// What this cache did with a request: `Cache-Status` (RFC 9211).
public struct CacheStatus: Hashable, Sendable {
    public var isHit: Bool
    public var forward: CachePlan.Forward?
    /// What the origin answered.
    public var status: Int?
    public var isStored = false
    public var isCollapsed = false
    /// Seconds that it is still fresh; negative: since when it is not.
    public var timeToLive: Int64?
    /// A reason, one word.
    public var detail: String?

    public static func hit(timeToLive: Int64) -> CacheStatus { CacheStatus(isHit: true, timeToLive: timeToLive) }

    public static func forwarded(_ why: CachePlan.Forward, status: Int? = nil) -> CacheStatus {
        CacheStatus(isHit: false, forward: why, status: status)
    }

    init(isHit: Bool, forward: CachePlan.Forward? = nil, status: Int? = nil, timeToLive: Int64? = nil) {
        self.isHit = isHit
        self.forward = forward
        self.status = status
        self.timeToLive = timeToLive
    }

    public var text: String {
        var out = "leasehold"
        if isHit { out += "; hit" }
        if let forward { out += "; fwd=\(forward.rawValue)" }
        if let status { out += "; fwd-status=\(status)" }
        if let timeToLive { out += "; ttl=\(timeToLive)" }
        if isStored { out += "; stored" }
        if isCollapsed { out += "; collapsed" }
        if let detail { out += "; detail=\(detail)" }
        return out
    }
}
