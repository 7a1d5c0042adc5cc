/// What is kept of a response beside its bytes.
public struct StoredResponse: Sendable {
    /// 200 for the parts of one, too.
    public let status: Int
    /// End-to-end fields, without Set-Cookie, Age, Content-Range and Content-Length.
    public private(set) var fields: Fields
    public let requestTime: Timestamp
    public let responseTime: Timestamp
    /// What `Vary` named, and what the request said there.
    public let vary: [String]
    public let selection: [String]
    /// Nil until the length is known.
    public var pieces: Pieces?
    public let freshness: Freshness

    public init(
        status: Int, fields: Fields, requestTime: Timestamp, responseTime: Timestamp, vary: [String], selection: [String], pieces: Pieces?,
        initialAge: Int64, negative: Int64
    ) {
        self.status = status
        self.fields = fields
        self.requestTime = requestTime
        self.responseTime = responseTime
        self.vary = vary
        self.selection = selection
        self.pieces = pieces
        var freshness = Freshness(
            status: status, response: fields, requestTime: requestTime, responseTime: responseTime, negative: negative)
        // `Age` is not kept; what it said is.
        freshness.initialAge = initialAge
        self.freshness = freshness
    }

    /// Of a response that came, to a request that was sent. Nil when `Vary` is `*`.
    init?(
        status: Int, response: Fields, request: Fields, requestTime: Timestamp, responseTime: Timestamp, negative: Int64,
        pieces: Pieces? = nil
    ) {
        guard case .names(let names) = Vary(response), let selection = Vary.names(names).selection(request) else { return nil }
        let fresh = Freshness(status: status, response: response, requestTime: requestTime, responseTime: responseTime, negative: negative)
        var kept = response.endToEnd
        for name in Self.notKept { kept.remove(name) }
        if !kept.contains("date") { kept.append("date", responseTime.httpDate) }
        self.init(
            status: status, fields: kept, requestTime: requestTime, responseTime: responseTime, vary: names, selection: selection,
            pieces: pieces, initialAge: fresh.initialAge, negative: negative)
    }

    private static let notKept = ["set-cookie", "set-cookie2", "age", "content-range", "content-length", "cdn-loop"]

    /// Whether it was chosen by what this request says, too.
    public func answers(_ request: Fields) -> Bool { Vary.names(vary).selection(request) == selection }

    /// With quotes, and `W/` where it is weak.
    public var etag: String? { fields["etag"] }

    public var isStronglyTagged: Bool { etag.map { $0.hasPrefix("\"") } ?? false }

    public var canBeValidated: Bool { etag != nil || fields.contains("last-modified") }

    /// The same with what a 304 says anew (RFC 9111 §3.2, §4.3.4). Its bytes and what it varies on stay.
    func freshened(by update: Fields, requestTime: Timestamp, responseTime: Timestamp, negative: Int64) -> StoredResponse {
        let new = update.endToEnd
        var merged = fields
        for name in Set(new.all.map(\.name)) where !Self.notUpdated.contains(name) {
            merged.remove(name)
            for value in new.values(name) { merged.append(name, value) }
        }
        if !new.contains("date") { merged.set("date", responseTime.httpDate) }
        var whole = merged
        for value in new.values("age") { whole.append("age", value) }
        let fresh = Freshness(status: status, response: whole, requestTime: requestTime, responseTime: responseTime, negative: negative)
        return StoredResponse(
            status: status, fields: merged, requestTime: requestTime, responseTime: responseTime, vary: vary, selection: selection,
            pieces: pieces, initialAge: fresh.initialAge, negative: negative)
    }

    /// What describes the bytes that are kept (RFC 9111 §3.2), and what is never kept.
    private static let notUpdated: Set<String> = [
        "content-encoding", "content-type", "content-range", "content-length", "set-cookie", "set-cookie2", "age", "vary",
    ]
}

/// What the operator says about storing.
public struct StoragePolicy: Hashable, Sendable {
    /// Responses with `Set-Cookie` may be shared (without it).
    public var keepsSetCookie: Bool
    /// Seconds that errors of which nothing is said are fresh.
    public var negative: Int64
    /// Bytes of the largest body that is kept.
    public var largest: Int64

    public init(keepsSetCookie: Bool = false, negative: Int64 = 0, largest: Int64 = .max) {
        self.keepsSetCookie = keepsSetCookie
        self.negative = negative
        self.largest = largest
    }
}
