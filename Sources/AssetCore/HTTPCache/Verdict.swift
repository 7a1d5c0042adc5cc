/// What becomes of an origin's answer (RFC 9111 §3, §4.3).
public enum Verdict: Sendable {
    /// Keep it. For a part, `part` says which bytes of the whole it is.
    case store(StoredResponse, part: Range<Int64>?)
    /// Pass it on to the one who asked.
    case relay(Storability.Reason)
    /// The stored response still holds, and says this now.
    case freshened(StoredResponse)
    /// The origin fails: the stored response stands in (RFC 5861 §4).
    case serveStale(age: Int64)
    /// A 304 about something that is not stored: ask without conditions.
    case askAgain

    /// - Parameters:
    ///   - request: as the caller sent it.
    ///   - validated: the stored response that the origin was asked about.
    ///   - length: of the body, where it is known.
    public static func judge(
        request: Fields, validated: StoredResponse?, status: Int, response: Fields, length: Int64?, requestTime: Timestamp,
        responseTime: Timestamp, policy: StoragePolicy
    ) -> Verdict {
        if let validated {
            if status == 304 {
                if let etag = response["etag"], let own = validated.etag, !Self.isSame(etag, own) { return .askAgain }
                return .freshened(
                    validated.freshened(by: response, requestTime: requestTime, responseTime: responseTime, negative: policy.negative))
            }
            if Self.isFailure(status), Reuse.mayServeOnError(validated.freshness, request: request, at: responseTime) {
                return .serveStale(age: validated.freshness.age(at: responseTime))
            }
        }
        let isPart = status == 206
        switch Storability.judge(
            method: "GET", request: request, status: isPart ? 200 : status, response: response, keepsSetCookie: policy.keepsSetCookie)
        {
        case .refuse(let reason): return .relay(reason)
        case .store: break
        }
        guard length ?? 0 <= policy.largest else { return .relay(.size) }
        func draft(_ pieces: Pieces?) -> StoredResponse? {
            StoredResponse(
                status: isPart ? 200 : status, response: response, request: request, requestTime: requestTime, responseTime: responseTime,
                negative: policy.negative, pieces: pieces)
        }
        guard isPart else { return draft(length.map(Pieces.init(whole:))).map { .store($0, part: nil) } ?? .relay(.varyStar) }
        // A part is only good for more if it can be told whether two are of one whole.
        guard request.contains("range"), let (range, total) = contentRange(response["content-range"]),
            length == nil || length == Int64(range.count),
            let part = draft(Pieces(part: range, of: total)), part.isStronglyTagged
        else { return .relay(.status) }
        return .store(part, part: range)
    }

    /// Whether the origin could not be reached and the stored response may stand in.
    public static func onFailure(request: Fields, validated: StoredResponse?, at now: Timestamp) -> Int64? {
        guard let validated, Reuse.mayServeOnError(validated.freshness, request: request, at: now) else { return nil }
        return validated.freshness.age(at: now)
    }

    static func isFailure(_ status: Int) -> Bool { status == 500 || (502...504).contains(status) }

    /// The weak comparison of RFC 9110 §8.8.3.2.
    static func isSame(_ a: String, _ b: String) -> Bool {
        func opaque(_ tag: String) -> Substring { tag.hasPrefix("W/") ? tag.dropFirst(2) : tag[...] }
        return opaque(a) == opaque(b)
    }
}

/// What an unsafe request that succeeded makes untrue (RFC 9111 §4.4).
public enum Invalidation {
    /// URLs whose stored responses go: the target, and Location and Content-Location on the same origin.
    public static func urls(method: String, url: TargetURL, status: Int, response: Fields) -> [TargetURL] {
        guard !safe.contains(method), (200...399).contains(status) else { return [] }
        let named = ["location", "content-location"].compactMap { response[$0].flatMap(url.resolving) }
        return [url] + named.filter { $0.scheme == url.scheme && $0.host == url.host && $0.port == url.port && $0 != url }
    }

    private static let safe: Set<String> = ["GET", "HEAD", "OPTIONS", "TRACE"]
}
