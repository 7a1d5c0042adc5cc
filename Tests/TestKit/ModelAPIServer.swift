import Kubernetes
import Model

/// The simplest thing that answers like an API server: EndpointSlices of one namespace, versions, history, compaction, watches.
///
/// It is a value that a test moves: it has no sockets and no time, and answers in the bytes that a real one sends. It may be told to
/// fail, to lag behind itself, to refuse streamed lists, and to cut what it says anywhere.
public struct ModelAPIServer {
    public private(set) var version = 100
    /// What is true now.
    public private(set) var slices: [ObjectKey: EndpointSlice] = [:]
    /// Every state that is remembered, by version: a list may be answered from any of them.
    private var states: [Int: [ObjectKey: EndpointSlice]] = [100: [:]]
    private var events: [Event] = []
    /// What is older than this is forgotten: watches and pages that begin before it are refused with 410.
    private var oldest = 100

    /// 1.27 to 1.31 and a feature gate: streamed lists are refused.
    public var refusesWatchList = false
    public var sendsBookmarks = true
    public var speaksProtobuf = true
    /// Objects in a page, whatever was asked for.
    public var mostInPage = 3

    private struct Event {
        var version: Int
        var type: String
        var slice: EndpointSlice
    }

    public init() {}

    // MARK: The world

    /// Creates or changes a slice.
    public mutating func put(_ slice: EndpointSlice) {
        version += 1
        var slice = slice
        slice.metadata.resourceVersion = "\(version)"
        let type = slices.updateValue(slice, forKey: slice.key) == nil ? "ADDED" : "MODIFIED"
        note(Event(version: version, type: type, slice: slice))
    }

    public mutating func remove(_ key: ObjectKey) {
        guard var slice = slices.removeValue(forKey: key) else { return }
        version += 1
        slice.metadata.resourceVersion = "\(version)"
        note(Event(version: version, type: "DELETED", slice: slice))
    }

    private mutating func note(_ event: Event) {
        events.append(event)
        states[version] = slices
    }

    /// Something else in the cluster changed.
    public mutating func advance() {
        version += 1
        states[version] = slices
    }

    /// Forgets what happened before now.
    public mutating func compact() {
        oldest = version
        events.removeAll { $0.version <= version }
        states = states.filter { $0.key >= version }
    }

    // MARK: Answers

    /// An answer that is being sent.
    public struct Answer {
        public var head: ResponseHead
        fileprivate var encoding: KubernetesEncoding
        /// What has not been sent yet.
        public var body: [UInt8]
        /// For a watch, the version up to which ``body`` tells; nil for an answer that ends with its body.
        fileprivate var position: Int?
        public var isWatch: Bool { position != nil }
        public var isDone: Bool { position == nil && body.isEmpty }
    }

    /// What a request is answered, with `lag` versions less than there are where the request allows that.
    public func answer(_ target: String, accept: String = "application/json", lag: Int = 0) -> Answer {
        let query = Self.query(target)
        let encoding = speaksProtobuf ? KubernetesEncoding(accept: accept) : .json
        let wanted = query["resourceVersion"].flatMap(Int.init)
        if query["watch"] == "true" {
            if query["sendInitialEvents"] == "true" {
                if refusesWatchList { return failure(422, "Invalid", "sendInitialEvents is forbidden for watch") }
                if let wanted, wanted > version { return tooLarge(wanted) }
                // Without a version it is the newest state that is asked for.
                let at = list(notOlderThan: wanted, lag: wanted == nil ? 0 : lag)
                // Synthetic events come in no order, and the server may be ahead of its bookmark.
                let objects = (states[at] ?? [:]).sorted { $0.key.name.count == $1.key.name.count ? $0.key > $1.key : $0.key < $1.key }
                let body = objects.flatMap { encoding.event("ADDED", $0.value) } + encoding.bookmark(at, endsInitialEvents: true)
                return watch(encoding, body, from: at)
            }
            guard let wanted else { return failure(400, "BadRequest", "a watch needs a version here") }
            if wanted > version { return tooLarge(wanted) }
            if wanted < oldest {
                return watch(encoding, encoding.error(410, "Expired", "too old resource version: \(wanted) (\(oldest))"), from: version)
            }
            return watch(encoding, [], from: wanted)
        }
        if let token = query["continue"] {
            let parts = token.split(separator: "_", maxSplits: 1)
            guard parts.count == 2, let at = Int(parts[0]), let state = states[at] else {
                return failure(410, "Expired", "The provided continue parameter is too old")
            }
            return page(encoding, state, at, after: String(parts[1]), limit: mostInPage)
        }
        if let wanted, wanted > version { return tooLarge(wanted) }
        let at = list(notOlderThan: wanted, lag: query["resourceVersion"] == nil ? 0 : lag)
        return page(encoding, states[at] ?? [:], at, after: "", limit: query["limit"] == nil ? .max : mostInPage)
    }

    /// The state that a list is answered from.
    private func list(notOlderThan wanted: Int?, lag: Int) -> Int {
        let least = max(oldest, wanted ?? (lag > 0 ? oldest : version))
        return max(least, min(version, version - lag))
    }

    private func watch(_ encoding: KubernetesEncoding, _ body: [UInt8], from position: Int) -> Answer {
        let head = ResponseHead(status: 200, contentType: encoding.contentType(isWatch: true))
        return Answer(head: head, encoding: encoding, body: body, position: position)
    }

    private func page(
        _ encoding: KubernetesEncoding, _ state: [ObjectKey: EndpointSlice], _ at: Int, after: String, limit: Int
    ) -> Answer {
        let rest = state.values.filter { $0.key.name > after }.sorted { $0.key < $1.key }
        let page = rest.prefix(limit)
        let next = page.count < rest.count ? "\(at)_\(page.last?.key.name ?? "")" : ""
        let head = ResponseHead(status: 200, contentType: encoding.contentType(isWatch: false))
        return Answer(head: head, encoding: encoding, body: encoding.list(page, version: at, next: next), position: nil)
    }

    public func failure(_ code: Int, _ reason: String, _ message: String, retryAfter: Duration? = nil) -> Answer {
        Answer(
            head: ResponseHead(status: code, retryAfter: retryAfter), encoding: .json,
            body: KubernetesEncoding.json.status(code, reason, message), position: nil)
    }

    private func tooLarge(_ wanted: Int) -> Answer {
        failure(504, "Timeout", "Timeout: Too large resource version: \(wanted), current: \(version)")
    }

    /// Lets a watch tell what has happened since; with a bookmark if there is nothing else.
    public func advance(_ answer: inout Answer, withBookmark: Bool) {
        guard let position = answer.position else { return }
        if position < oldest {
            // It was too slow: what it has missed is forgotten.
            answer.position = version
            return interrupt(&answer, 410, "Expired")
        }
        let news = events.filter { $0.version > position }
        for event in news { answer.body += answer.encoding.event(event.type, event.slice) }
        answer.position = version
        if news.isEmpty, withBookmark, sendsBookmarks { answer.body += answer.encoding.bookmark(version, endsInitialEvents: false) }
    }

    /// An error in the middle of a watch.
    public func interrupt(_ answer: inout Answer, _ code: Int, _ reason: String) {
        answer.body += answer.encoding.error(code, reason, "\(reason), says the model")
    }

    private static func query(_ target: String) -> [String: String] {
        var values: [String: String] = [:]
        for pair in target.split(separator: "?").last?.split(separator: "&") ?? [] {
            let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
            values[parts[0]] = parts.count > 1 ? parts[1] : ""
        }
        return values
    }
}
