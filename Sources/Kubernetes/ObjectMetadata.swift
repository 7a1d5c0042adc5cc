/// The name of an object inside its cluster, for one kind.
public struct ObjectKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    public var namespace: String
    public var name: String

    public init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    public var description: String { "\(namespace)/\(name)" }

    public static func < (a: ObjectKey, b: ObjectKey) -> Bool {
        a.namespace != b.namespace ? a.namespace < b.namespace : a.name < b.name
    }
}

/// The few facts of `metadata` that matter here; the rest, managedFields above all, is never kept.
public struct ObjectMetadata: Hashable, Sendable {
    public var key: ObjectKey
    /// The label `kubernetes.io/service-name`: which Service a slice belongs to.
    public var serviceName: String?
    /// The annotation `endpoints.kubernetes.io/last-change-trigger-time`, as written.
    public var lastChangeTriggerTime: String?
    public var resourceVersion: String?

    public init(key: ObjectKey, serviceName: String? = nil, lastChangeTriggerTime: String? = nil, resourceVersion: String? = nil) {
        self.key = key
        self.serviceName = serviceName
        self.lastChangeTriggerTime = lastChangeTriggerTime
        self.resourceVersion = resourceVersion
    }
}

extension ObjectMetadata: Decodable {
    private enum Field: String, CodingKey {
        case name, namespace, labels, annotations, resourceVersion
    }

    private enum Label: String, CodingKey {
        case serviceName = "kubernetes.io/service-name"
    }

    private enum Annotation: String, CodingKey {
        case lastChangeTriggerTime = "endpoints.kubernetes.io/last-change-trigger-time"
    }

    /// An object without a namespace is in `default`, as `kubectl apply` puts it.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Field.self)
        let name = try fields.decode(String.self, forKey: .name)
        guard !name.isEmpty else {
            throw DecodingError.dataCorruptedError(forKey: .name, in: fields, debugDescription: "is empty")
        }
        let namespace = try fields.decodeIfPresent(String.self, forKey: .namespace) ?? ""
        key = ObjectKey(namespace: namespace.isEmpty ? "default" : namespace, name: name)
        serviceName = try fields.nested(Label.self, forKey: .labels)?.decodeIfPresent(String.self, forKey: .serviceName)
        lastChangeTriggerTime = try fields.nested(Annotation.self, forKey: .annotations)?
            .decodeIfPresent(String.self, forKey: .lastChangeTriggerTime)
        resourceVersion = try fields.decodeIfPresent(String.self, forKey: .resourceVersion)
    }
}

extension KeyedDecodingContainer {
    /// The mapping under `key`; nil when it is absent or null, which Kubernetes writes for "empty".
    func nested<Nested: CodingKey>(_ type: Nested.Type, forKey key: Key) throws -> KeyedDecodingContainer<Nested>? {
        guard contains(key), try !decodeNil(forKey: key) else { return nil }
        return try nestedContainer(keyedBy: type, forKey: key)
    }
}
