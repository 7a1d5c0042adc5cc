/// How long a response is fresh, and how old it is (RFC 9111 §4.2), for a shared cache. Seconds.
public struct Freshness: Hashable, Sendable {
    public var lifetime: Int64
    public var source: Source
    /// When the response had come, as old as it was then.
    public var initialAge: Int64
    public var responseTime: Timestamp
    /// The directives of the response.
    public var control: CacheControl

    public enum Source: Hashable, Sendable {
        case sMaxage
        case maxAge
        case expires
        /// A tenth of the time since the last modification, at most a day.
        case heuristic
        /// Errors that are kept for a moment.
        case negative
        /// Nothing is known: never fresh.
        case none
    }

    static let mostHeuristic: Int64 = 86_400

    /// - Parameter negative: how long errors of which nothing is said are fresh.
    public init(status: Int, response: Fields, requestTime: Timestamp, responseTime: Timestamp, negative: Int64 = 0) {
        control = CacheControl(response)
        self.responseTime = responseTime
        let date = response["date"].flatMap { Timestamp(httpDate: $0, now: responseTime) } ?? responseTime
        let apparent = max(0, responseTime.seconds - date.seconds)
        let told = response["age"].flatMap { CacheControl.seconds(trimmed($0.prefix { $0 != "," })) } ?? 0
        let delay = max(0, responseTime.seconds - requestTime.seconds)
        initialAge = max(apparent, told + delay)
        (lifetime, source) = Self.lifetime(status, response, control, date: date, now: responseTime, negative: negative)
    }

    private static func lifetime(
        _ status: Int, _ response: Fields, _ control: CacheControl, date: Timestamp, now: Timestamp, negative: Int64
    ) -> (Int64, Source) {
        if let seconds = control.sMaxage { return (seconds, .sMaxage) }
        if let seconds = control.maxAge { return (seconds, .maxAge) }
        let expires = response.values("expires")
        if let text = expires.first {
            // A date that is none, `0` above all, is in the past (§5.3); two dates are unclear.
            guard expires.count == 1, let time = Timestamp(httpDate: text, now: now) else { return (0, .expires) }
            return (max(0, time.seconds - date.seconds), .expires)
        }
        if status >= 400, negative > 0 { return (negative, .negative) }
        guard Storability.heuristic.contains(status) || control.flags.contains(.isPublic),
            let modified = response["last-modified"].flatMap({ Timestamp(httpDate: $0, now: now) }), modified < date
        else { return (0, .none) }
        return (min(mostHeuristic, (date.seconds - modified.seconds) / 10), .heuristic)
    }

    public func age(at now: Timestamp) -> Int64 { initialAge + max(0, now.seconds - responseTime.seconds) }
}

/// What to do with a stored response for a request (RFC 9111 §4).
public enum Reuse: Hashable, Sendable {
    /// Serve it, with this `Age`.
    case serve(age: Int64)
    /// Serve it at once and validate it in the background (RFC 5861 §3).
    case serveAndValidate(age: Int64)
    /// Ask the origin first.
    case validate
    /// 504: the caller wants nothing from the origin (§5.2.1.7).
    case unsatisfiable

    public static func judge(_ stored: Freshness, request fields: Fields, at now: Timestamp) -> Reuse {
        let request = CacheControl(fields, isRequest: true)
        let age = stored.age(at: now)
        let otherwise: Reuse = request.flags.contains(.onlyIfCached) ? .unsatisfiable : .validate
        guard !stored.control.flags.contains(.noCache), !request.flags.contains(.noCache) else { return otherwise }
        let isFresh = age < stored.lifetime
        // What never changes is not asked for again because a page is reloaded (RFC 8246 §2).
        if isFresh, stored.control.flags.contains(.immutable) { return .serve(age: age) }
        if let most = request.maxAge, age > most { return otherwise }
        if let least = request.minFresh, stored.lifetime - age < least { return otherwise }
        if isFresh { return .serve(age: age) }
        guard stored.allowsStale else { return otherwise }
        let staleness = age - stored.lifetime
        switch request.maxStale {
        case .any: return .serve(age: age)
        case .seconds(let most) where staleness <= most: return .serve(age: age)
        case .seconds, nil: break
        }
        if let most = stored.control.staleWhileRevalidate, staleness <= most, !request.flags.contains(.onlyIfCached) {
            return .serveAndValidate(age: age)
        }
        return otherwise
    }

    /// The origin cannot be reached, or answers 500, 502, 503 or 504: whether the stored response may be served instead (RFC 5861 §4).
    public static func mayServeOnError(_ stored: Freshness, request fields: Fields, at now: Timestamp) -> Bool {
        let request = CacheControl(fields, isRequest: true)
        guard stored.allowsStale, !stored.control.flags.contains(.noCache), !request.flags.contains(.noCache) else { return false }
        guard let most = request.staleIfError ?? stored.control.staleIfError else { return false }
        return stored.age(at: now) - stored.lifetime <= most
    }
}

extension Freshness {
    /// must-revalidate, proxy-revalidate and s-maxage forbid it to a shared cache (§4.2.4, §5.2.2.10).
    var allowsStale: Bool { control.flags.isDisjoint(with: [.mustRevalidate, .proxyRevalidate]) && control.sMaxage == nil }
}
