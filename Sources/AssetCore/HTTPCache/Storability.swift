/// Whether a shared cache may keep a response (RFC 9111 §3), and if not, why.
public enum Storability: Hashable, Sendable {
    case store
    case refuse(Reason)

    public enum Reason: String, Hashable, Sendable, CaseIterable {
        case method
        case status
        case requestNoStore = "request-no-store"
        case noStore = "no-store"
        case isPrivate = "private"
        case authorization
        case cookie
        case setCookie = "set-cookie"
        case varyStar = "vary-star"
        case noFreshness = "no-freshness"
        /// Larger than the operator wants to keep.
        case size
    }

    /// Statuses whose meaning this cache knows. 206 and 304 are answers to questions that it asks itself, and never kept as they are.
    static let understood: Set<Int> = [
        200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 451, 500, 501, 502, 503, 504,
    ]
    /// Those that may be kept though nothing is said of their freshness (RFC 9110 §15.1).
    static let heuristic: Set<Int> = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]

    /// - Parameter keepsSetCookie: the operator's word that responses with `Set-Cookie` may be shared.
    public static func judge(
        method: String, request: Fields, status: Int, response: Fields, keepsSetCookie: Bool = false
    ) -> Storability {
        guard method == "GET" else { return .refuse(.method) }
        let control = CacheControl(response)
        guard understood.contains(status) else { return .refuse(.status) }
        if CacheControl(request, isRequest: true).flags.contains(.noStore) { return .refuse(.requestNoStore) }
        // must-understand overrides no-store for those who understand (§5.2.2.3).
        if control.flags.contains(.noStore), !control.flags.contains(.mustUnderstand) { return .refuse(.noStore) }
        if control.flags.contains(.isPrivate) { return .refuse(.isPrivate) }
        let isShared = control.flags.contains(.isPublic) || control.sMaxage != nil
        if request.contains("authorization"), !isShared, !control.flags.contains(.mustRevalidate) { return .refuse(.authorization) }
        if request.contains("cookie"), !isShared, !control.flags.contains(.immutable) { return .refuse(.cookie) }
        if response.contains("set-cookie"), !keepsSetCookie { return .refuse(.setCookie) }
        if Vary(response) == .everything { return .refuse(.varyStar) }
        let isExplicit =
            control.sMaxage != nil || control.maxAge != nil || response.contains("expires") || control.flags.contains(.isPublic)
        guard isExplicit || heuristic.contains(status) else { return .refuse(.noFreshness) }
        return .store
    }
}

/// What of a request chose the response (RFC 9111 §4.1).
public enum Vary: Hashable, Sendable {
    case everything
    /// Names in lower case, sorted, each once; empty when there is no Vary.
    case names([String])

    public init(_ response: Fields) {
        let names = response.values("vary").flatMap { $0.split(separator: ",") }.map { trimmed($0).lowercased() }.filter { !$0.isEmpty }
        self = names.contains("*") ? .everything : .names(Set(names).sorted())
    }

    /// What the named fields of a request say: two requests with the same are answered by the same response. Nil: by none but its own.
    public func selection(_ request: Fields) -> [String]? {
        switch self {
        case .everything: nil
        case .names(let names):
            names.map { name in
                // White space around commas means nothing; an absent field is not an empty one.
                guard request.contains(name) else { return "-" }
                return "=" + request.values(name).flatMap { $0.split(separator: ",") }.map { trimmed($0) }.joined(separator: ",")
            }
        }
    }
}
