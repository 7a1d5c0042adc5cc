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
        /// What has not been sent yet.
        public var body: [UInt8]
        /// For a watch, the version up to which ``body`` tells; nil for an answer that ends with its body.
        fileprivate var position: Int?
        public var isWatch: Bool { position != nil }
        /// Whether a streamed list has told its initial events.
        fileprivate var isInitial = false
        public var isDone: Bool { position == nil && body.isEmpty }
    }

    /// What a request is answered, with `lag` versions less than there are where the request allows that.
    public func answer(_ target: String, lag: Int = 0) -> Answer {
        let query = Self.query(target)
        let wanted = query["resourceVersion"].flatMap(Int.init)
        if query["watch"] == "true" {
            if query["sendInitialEvents"] == "true" {
                if refusesWatchList { return failure(422, "Invalid", "sendInitialEvents is forbidden for watch") }
                if let wanted, wanted > version { return tooLarge(wanted) }
                // Without a version it is the newest state that is asked for.
                let at = list(notOlderThan: wanted, lag: wanted == nil ? 0 : lag)
                // Synthetic events come in no order, and the server may be ahead of its bookmark.
                let objects = (states[at] ?? [:]).sorted { $0.key.name.count == $1.key.name.count ? $0.key > $1.key : $0.key < $1.key }
                var text = objects.map { Self.event("ADDED", Self.json($0.value)) }.joined()
                text += Self.bookmark(at, endsInitialEvents: true)
                return Answer(head: ResponseHead(status: 200), body: Array(text.utf8), position: at)
            }
            guard let wanted else { return failure(400, "BadRequest", "a watch needs a version here") }
            if wanted > version { return tooLarge(wanted) }
            if wanted < oldest {
                let status = Self.status(410, "Expired", "too old resource version: \(wanted) (\(oldest))")
                return Answer(head: ResponseHead(status: 200), body: Array(Self.event("ERROR", status).utf8), position: version)
            }
            return Answer(head: ResponseHead(status: 200), body: [], position: wanted)
        }
        if let token = query["continue"] {
            let parts = token.split(separator: "_", maxSplits: 1)
            guard parts.count == 2, let at = Int(parts[0]), let state = states[at] else {
                return failure(410, "Expired", "The provided continue parameter is too old")
            }
            return page(state, at, after: String(parts[1]), limit: mostInPage)
        }
        if let wanted, wanted > version { return tooLarge(wanted) }
        let at = list(notOlderThan: wanted, lag: query["resourceVersion"] == nil ? 0 : lag)
        return page(states[at] ?? [:], at, after: "", limit: query["limit"] == nil ? .max : mostInPage)
    }

    /// The state that a list is answered from.
    private func list(notOlderThan wanted: Int?, lag: Int) -> Int {
        let least = max(oldest, wanted ?? (lag > 0 ? oldest : version))
        return max(least, min(version, version - lag))
    }

    private func page(_ state: [ObjectKey: EndpointSlice], _ at: Int, after: String, limit: Int) -> Answer {
        let rest = state.values.filter { $0.key.name > after }.sorted { $0.key < $1.key }
        let page = rest.prefix(limit)
        let next = page.count < rest.count ? "\(at)_\(page.last?.key.name ?? "")" : ""
        let items = page.map(Self.json).joined(separator: ",")
        let text = #"{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"\#(at)","continue":"\#(next)"},"items":[\#(items)]}"#
        return Answer(head: ResponseHead(status: 200), body: Array(text.utf8), position: nil)
    }

    public func failure(_ code: Int, _ reason: String, _ message: String, retryAfter: Duration? = nil) -> Answer {
        Answer(
            head: ResponseHead(status: code, retryAfter: retryAfter), body: Array(Self.status(code, reason, message).utf8), position: nil)
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
        var text = ""
        for event in events where event.version > position { text += Self.event(event.type, Self.json(event.slice)) }
        answer.position = version
        if text.isEmpty, withBookmark, sendsBookmarks { text = Self.bookmark(version, endsInitialEvents: false) }
        answer.body += Array(text.utf8)
    }

    /// An error in the middle of a watch.
    public func interrupt(_ answer: inout Answer, _ code: Int, _ reason: String) {
        answer.body += Array(Self.event("ERROR", Self.status(code, reason, "\(reason), says the model")).utf8)
    }

    // MARK: Text

    private static func query(_ target: String) -> [String: String] {
        var values: [String: String] = [:]
        for pair in target.split(separator: "?").last?.split(separator: "&") ?? [] {
            let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
            values[parts[0]] = parts.count > 1 ? parts[1] : ""
        }
        return values
    }

    private static func event(_ type: String, _ object: String) -> String { #"{"type":"\#(type)","object":\#(object)}"# + "\n" }

    private static func bookmark(_ version: Int, endsInitialEvents: Bool) -> String {
        let annotations = endsInitialEvents ? #","annotations":{"k8s.io/initial-events-end":"true"}"# : ""
        return event("BOOKMARK", #"{"kind":"EndpointSlice","metadata":{"resourceVersion":"\#(version)"\#(annotations)},"endpoints":null}"#)
    }

    private static func status(_ code: Int, _ reason: String, _ message: String) -> String {
        #"{"kind":"Status","status":"Failure","message":"\#(message)","reason":"\#(reason)","code":\#(code)}"#
    }

    /// A slice as the API server writes it, with things in it that nobody should keep.
    public static func json(_ slice: EndpointSlice) -> String {
        let addressType =
            switch slice.addressType {
            case .ipv4: "IPv4"
            case .ipv6: "IPv6"
            case .other(let type): type
            }
        let endpoints = slice.endpoints.map { endpoint in
            let conditions = endpoint.conditions
            let uid = endpoint.uid.isEmpty ? "" : #""targetRef":{"kind":"Pod","name":"\#(endpoint.name)","uid":"\#(endpoint.uid)"},"#
            return
                #"{"addresses":[\#(endpoint.address.map { "\"\($0)\"" } ?? "")],\#(uid)"conditions":{"ready":\#(conditions.contains(.ready)),"serving":\#(conditions.contains(.serving)),"terminating":\#(conditions.contains(.terminating))},"nodeName":"\#(endpoint.node)","zone":"\#(endpoint.zone)"}"#
        }
        let ports = slice.ports.map { port in
            #"{"name":"\#(port.name)","protocol":"TCP","port":\#(port.number.map { "\($0)" } ?? "null")}"#
        }
        let label = slice.metadata.serviceName.map { #""kubernetes.io/service-name":"\#($0)""# } ?? ""
        let trigger = slice.metadata.lastChangeTriggerTime.map {
            #","annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"\#($0)"}"#
        }
        return
            #"{"metadata":{"name":"\#(slice.key.name)","namespace":"\#(slice.key.namespace)","resourceVersion":"\#(slice.metadata.resourceVersion ?? "")","labels":{\#(label)}\#(trigger ?? ""),"managedFields":[{"fieldsV1":{"f:x":{"k:{\"uid\":\"]}\"}":{}}}}]},"addressType":"\#(addressType)","endpoints":[\#(endpoints.joined(separator: ","))],"ports":[\#(ports.joined(separator: ","))]}"#
    }
}
