/// What to do with a request, given what is stored for its URL (RFC 9111 §4).
public enum CachePlan: Hashable, Sendable {
    /// The stored response with this number, as it is.
    case serve(Int, age: Int64)
    /// The same, and ask the origin meanwhile (RFC 5861 §3).
    case serveAndValidate(Int, age: Int64)
    /// Ask the origin whether the stored response with this number still holds.
    case validate(Int, Forward)
    /// Ask the origin; others who ask for the same may wait for the same answer.
    case fetch(Forward)
    /// The part that was asked for, only.
    case fetchPart(Forward)
    /// For this caller alone, and its conditions go with it.
    case pass(Forward)
    /// 504: the caller wants nothing from the origin (§5.2.1.7).
    case unsatisfiable

    /// Why the origin is asked (RFC 9211 §2.2).
    public enum Forward: String, Hashable, Sendable, CaseIterable {
        case bypass
        case method
        case uriMiss = "uri-miss"
        case varyMiss = "vary-miss"
        case request
        case stale
        case partial
    }

    /// - Parameter stored: all variants of the URL, in any order.
    public static func make(method: String, request: Fields, stored: [StoredResponse], at now: Timestamp) -> CachePlan {
        guard method == "GET" || method == "HEAD" else { return .pass(.method) }
        let control = CacheControl(request, isRequest: true)
        let isOnlyCached = control.flags.contains(.onlyIfCached)
        // Preconditions on a state that only the origin knows.
        if request.contains("if-match") || request.contains("if-unmodified-since") {
            return isOnlyCached ? .unsatisfiable : .pass(.request)
        }
        let matching = stored.indices.filter { stored[$0].answers(request) }
        // Of several the newest (§4).
        guard let best = matching.max(by: { stored[$0].responseTime < stored[$1].responseTime }) else {
            return missed(stored.isEmpty ? .uriMiss : .varyMiss, method, request, control)
        }
        let wanted = stored[best].covers(request, isHead: method == "HEAD", now: now)
        guard wanted else { return missed(.partial, method, request, control) }
        switch Reuse.judge(stored[best].freshness, request: request, at: now) {
        case .serve(let age): return .serve(best, age: age)
        case .serveAndValidate(let age): return .serveAndValidate(best, age: age)
        case .unsatisfiable: return .unsatisfiable
        case .validate:
            let isFresh = stored[best].freshness.age(at: now) < stored[best].freshness.lifetime
            let reason: Forward = isFresh && !stored[best].freshness.control.flags.contains(.noCache) ? .request : .stale
            guard stored[best].canBeValidated else { return missed(reason, method, request, control) }
            return .validate(best, reason)
        }
    }

    private static func missed(_ why: Forward, _ method: String, _ request: Fields, _ control: CacheControl) -> CachePlan {
        if control.flags.contains(.onlyIfCached) { return .unsatisfiable }
        // Nothing of it may be kept, so nobody else can use it.
        if control.flags.contains(.noStore) { return .pass(.request) }
        if method == "HEAD" { return .pass(why) }
        return request.contains("range") && !asksForAll(request) ? .fetchPart(why) : .fetch(why)
    }

    /// `bytes=0-` is how a player asks for everything.
    private static func asksForAll(_ request: Fields) -> Bool { request["range"].map { trimmed($0) == "bytes=0-" } ?? true }

    /// The fields that go to the origin, without this hop's own.
    public func originFields(_ request: Fields, stored: [StoredResponse]) -> Fields {
        var fields = request.endToEnd
        fields.remove("host")
        switch self {
        case .pass: return fields
        case .serve, .serveAndValidate, .validate, .fetch, .fetchPart, .unsatisfiable: break
        }
        // What is kept is kept whole: the caller's own conditions are judged here.
        for name in ["if-none-match", "if-modified-since", "if-range"] { fields.remove(name) }
        if case .fetchPart = self {} else { fields.remove("range") }
        if let index = validated, stored.indices.contains(index) {
            if let etag = stored[index].etag { fields.append("if-none-match", etag) }
            if let modified = stored[index].fields["last-modified"] { fields.append("if-modified-since", modified) }
        }
        return fields
    }

    /// The stored response that the origin is asked about.
    public var validated: Int? {
        switch self {
        case .validate(let index, _), .serveAndValidate(let index, _): index
        case .serve, .fetch, .fetchPart, .pass, .unsatisfiable: nil
        }
    }

    /// Why the origin is asked, if it is.
    public var forward: Forward? {
        switch self {
        case .validate(_, let why), .fetch(let why), .fetchPart(let why), .pass(let why): why
        case .serveAndValidate: .stale
        case .serve, .unsatisfiable: nil
        }
    }
}

extension StoredResponse {
    /// Whether the bytes that a request is for are here.
    func covers(_ request: Fields, isHead: Bool, now: Timestamp) -> Bool {
        guard let pieces, !isHead, !pieces.isComplete else { return true }
        guard rangeHolds(request, now: now) else { return false }
        switch ByteRange(request["range"], size: pieces.total) {
        case .whole: return false
        case .part(let range): return pieces.slices(of: range) != nil
        case .unsatisfiable: return true
        }
    }

    /// `If-Range` (RFC 9110 §13.1.5): a strong validator that is the stored one's, or none at all.
    func rangeHolds(_ request: Fields, now: Timestamp) -> Bool {
        guard let condition = request["if-range"] else { return true }
        if let date = Timestamp(httpDate: condition, now: now) {
            return fields["last-modified"].flatMap { Timestamp(httpDate: $0, now: now) } == date
        }
        return isStronglyTagged && condition == etag
    }
}
