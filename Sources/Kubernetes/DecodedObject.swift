import Model

/// What a body of the API server says, one thing after the other.
enum Decoded: Sendable {
    /// A list's own version, and where its next page begins.
    case listMetadata(ListMetadata)
    /// One of a list's items.
    case item(WatchedObject)
    /// Of a watch.
    case event(EventType, WatchedObject)
    case bookmark(resourceVersion: String, endsInitialEvents: Bool)
    case error(APIStatus)
    /// An event of a type that did not exist when this was written.
    case unknownEvent(String)
    /// An object that is not as it should be, and which one if that could be read.
    case unreadable(ObjectKey?, DecodingProblem)

    enum EventType: Sendable {
        case added
        case modified
        case deleted
    }
}

/// `metav1.ListMeta`, as far as it matters.
struct ListMetadata: Hashable, Sendable {
    var resourceVersion = ""
    /// Empty on the last page.
    var continuation = ""
}

/// `metav1.Status`: what the server says of a failure.
struct APIStatus: Hashable, Sendable {
    var code = 0
    var reason = ""
    var message = ""
    var retryAfter: Duration?
    /// The reasons of its causes.
    var causes: [String] = []

    /// The server has not reached the version that was asked for.
    var isTooLargeResourceVersion: Bool {
        causes.contains("ResourceVersionTooLarge") || reason == "Timeout" && message.contains("Too large resource version")
    }

    /// The version or the continue token is too old.
    var isExpired: Bool { code == 410 || reason == "Expired" || reason == "Gone" }
}

/// An object's metadata before it is known whether it has to have a name: that of a bookmark has none.
struct DecodedMetadata {
    var name = ""
    var namespace = ""
    var serviceName: String?
    var lastChangeTriggerTime: String?
    var resourceVersion: String?
    var endsInitialEvents = false

    static let serviceNameLabel: StaticString = "kubernetes.io/service-name"
    static let triggerTimeAnnotation: StaticString = "endpoints.kubernetes.io/last-change-trigger-time"
    static let initialEventsEndAnnotation: StaticString = "k8s.io/initial-events-end"
    /// Kubernetes' own names have at most 253 bytes, versions 20; longer text is cut off here from what is kept for each object.
    static let mostTextBytes = 1024

    /// Nil for an object without a name.
    var key: ObjectKey? { name.isEmpty ? nil : ObjectKey(namespace: namespace.isEmpty ? "default" : namespace, name: name) }

    func metadata() throws(DecodingProblem) -> ObjectMetadata {
        guard let key else { throw DecodingProblem("an object without a name") }
        return ObjectMetadata(
            key: key, serviceName: serviceName, lastChangeTriggerTime: lastChangeTriggerTime, resourceVersion: resourceVersion)
    }
}

extension EndpointSlice.AddressType {
    init(_ text: String) {
        switch text {
        case "IPv4": self = .ipv4
        case "IPv6": self = .ipv6
        case _: self = .other(text)
        }
    }
}

extension UInt16 {
    /// A port number from outside.
    init(port wide: Int) throws(DecodingProblem) {
        guard let number = UInt16(exactly: wide), number != 0 else { throw DecodingProblem("\(wide) is not a port (1…65535)") }
        self = number
    }
}
