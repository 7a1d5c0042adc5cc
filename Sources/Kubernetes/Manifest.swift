/// What one document says: an object, or a list of them, flattened.
///
/// `EndpointSlice`, `Service`, `EndpointSliceList`, `ServiceList` and `List` are read, in the versions
/// `discovery.k8s.io/v1` and `v1`; every other kind is named in ``ignored`` and left alone.
public struct Manifest: Hashable, Sendable {
    public var slices: [EndpointSlice] = []
    public var services: [Service] = []
    public var ignored: [Ignored] = []

    public init(slices: [EndpointSlice] = [], services: [Service] = [], ignored: [Ignored] = []) {
        self.slices = slices
        self.services = services
        self.ignored = ignored
    }

    /// An object that is not ours to read.
    public struct Ignored: Hashable, Sendable, CustomStringConvertible {
        public var apiVersion: String
        public var kind: String

        public init(apiVersion: String, kind: String) {
            self.apiVersion = apiVersion
            self.kind = kind
        }

        public var description: String { "\(apiVersion) \(kind)" }
    }

    public mutating func append(_ other: Manifest) {
        slices += other.slices
        services += other.services
        ignored += other.ignored
    }
}

extension Manifest: Decodable {
    fileprivate enum Field: String, CodingKey {
        case kind, apiVersion, items
    }

    /// Throws `DecodingError`; ``ManifestError`` turns that into a path and a sentence.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Field.self)
        let kind = try fields.decode(String.self, forKey: .kind)
        let apiVersion = try fields.decode(String.self, forKey: .apiVersion)
        switch (apiVersion, kind) {
        case ("discovery.k8s.io/v1", "EndpointSlice"): slices = [try EndpointSlice(from: decoder)]
        case ("v1", "Service"): services = [try Service(from: decoder)]
        // The members of a typed list do not repeat its kind.
        case ("discovery.k8s.io/v1", "EndpointSliceList"): slices = try fields.items(of: EndpointSlice.self)
        case ("v1", "ServiceList"): services = try fields.items(of: Service.self)
        case ("v1", "List"):
            for item in try fields.items(of: Item.self) { append(item.manifest) }
        case ("discovery.k8s.io/v1beta1", "EndpointSlice"), ("discovery.k8s.io/v1beta1", "EndpointSliceList"):
            throw DecodingError.dataCorruptedError(
                forKey: .apiVersion, in: fields,
                debugDescription: "discovery.k8s.io/v1beta1 left Kubernetes in 1.25; write discovery.k8s.io/v1")
        case (_, _): ignored = [Ignored(apiVersion: apiVersion, kind: kind)]
        }
    }

    /// A member of a `List`: anything but another list, so that nesting cannot be deep.
    private struct Item: Decodable {
        var manifest: Manifest

        init(from decoder: any Decoder) throws {
            let fields = try decoder.container(keyedBy: Field.self)
            if try fields.decode(String.self, forKey: .kind) == "List" {
                throw DecodingError.dataCorruptedError(forKey: .kind, in: fields, debugDescription: "is a List inside a List; flatten it")
            }
            manifest = try Manifest(from: decoder)
        }
    }
}

extension KeyedDecodingContainer where K == Manifest.Field {
    /// `items`, which has to be there; null is an empty list, as the API server may write it.
    fileprivate func items<T: Decodable>(of type: T.Type) throws -> [T] {
        if contains(.items), try decodeNil(forKey: .items) { return [] }
        return try decode([T].self, forKey: .items)
    }
}
