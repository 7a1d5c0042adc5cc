/// What one ``Reflector`` keeps a copy of: the objects of one kind, in one namespace or all, that fit a selector.
public struct WatchScope: Hashable, Sendable {
    public var resource: Resource
    /// Nil for all namespaces, which needs a ClusterRole rather than a Role.
    public var namespace: String?
    /// As the API's `labelSelector` takes it, unescaped; empty for all.
    public var labelSelector: String
    /// As the API's `fieldSelector` takes it, unescaped; empty for all.
    public var fieldSelector: String

    public init(_ resource: Resource, namespace: String?, labelSelector: String = "", fieldSelector: String = "") {
        self.resource = resource
        self.namespace = namespace
        self.labelSelector = labelSelector
        self.fieldSelector = fieldSelector
    }

    /// The kinds that are read.
    public enum Resource: Hashable, Sendable, Comparable, CaseIterable {
        case endpointSlices
        case services

        /// As RBAC and paths name it.
        public var plural: String {
            switch self {
            case .endpointSlices: "endpointslices"
            case .services: "services"
            }
        }

        /// As RBAC names it; empty for the core group.
        public var group: String {
            switch self {
            case .endpointSlices: "discovery.k8s.io"
            case .services: ""
            }
        }

        /// `apis/GROUP/VERSION`, or `api/VERSION` for the core group.
        var pathPrefix: String {
            switch self {
            case .endpointSlices: "/apis/discovery.k8s.io/v1"
            case .services: "/api/v1"
            }
        }
    }

    /// The path of the collection, without a query.
    public var path: String {
        guard let namespace else { return "\(resource.pathPrefix)/\(resource.plural)" }
        return "\(resource.pathPrefix)/namespaces/\(namespace.percentEncoded)/\(resource.plural)"
    }
}

extension WatchScope: CustomStringConvertible {
    /// For sentences: "endpointslices in namespace shop".
    public var description: String {
        namespace.map { "\(resource.plural) in namespace \($0)" } ?? "\(resource.plural) in all namespaces"
    }
}

extension WatchScope: Comparable {
    public static func < (a: WatchScope, b: WatchScope) -> Bool {
        (a.resource, a.namespace ?? "", a.labelSelector, a.fieldSelector) < (b.resource, b.namespace ?? "", b.labelSelector, b.fieldSelector)
    }
}

extension String {
    /// Everything but RFC 3986's unreserved characters escaped, for a path segment or a query value.
    var percentEncoded: String {
        var out: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                out.append(byte)
            default: out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
