import Model

/// `discovery.k8s.io/v1` EndpointSlice: a part of the endpoints of one Service, all of one address family.
public struct EndpointSlice: Hashable, Sendable {
    public var metadata: ObjectMetadata
    public var addressType: AddressType
    public var ports: [Port]
    public var endpoints: [Endpoint]

    public init(metadata: ObjectMetadata, addressType: AddressType, ports: [Port], endpoints: [Endpoint]) {
        self.metadata = metadata
        self.addressType = addressType
        self.ports = ports
        self.endpoints = endpoints
    }

    public var key: ObjectKey { metadata.key }

    /// The Service that it belongs to; nil for a slice without the label.
    public var service: ObjectKey? {
        guard let name = metadata.serviceName, !name.isEmpty else { return nil }
        return ObjectKey(namespace: metadata.key.namespace, name: name)
    }

    public enum AddressType: Hashable, Sendable {
        case ipv4
        case ipv6
        /// `FQDN`, or a type that did not exist when this was written.
        case other(String)
    }

    /// One of `ports`, with the API's defaults: no name is the empty name, no protocol is TCP.
    public struct Port: Hashable, Sendable {
        public var name: String
        /// Nil means "all ports" in the API: nothing that can be dialled.
        public var number: UInt16?
        public var transport: Transport

        public init(name: String = "", number: UInt16?, transport: Transport = .tcp) {
            self.name = name
            self.number = number
            self.transport = transport
        }
    }

    /// One of `endpoints`. Of its addresses only the first is used, as kube-proxy does: the API calls them interchangeable.
    public struct Endpoint: Hashable, Sendable {
        /// As written; nil where the list is empty.
        public var address: String?
        /// With the API's defaults: ready and serving are true when absent, terminating is false.
        public var conditions: Model.Endpoint.Conditions
        /// `targetRef.uid`, or empty.
        public var uid: String
        /// `targetRef.name`, or empty.
        public var name: String
        public var node: String
        public var zone: String

        public init(
            address: String?, conditions: Model.Endpoint.Conditions = [.ready, .serving], uid: String = "", name: String = "",
            node: String = "", zone: String = ""
        ) {
            self.address = address
            self.conditions = conditions
            self.uid = uid
            self.name = name
            self.node = node
            self.zone = zone
        }
    }
}

/// The protocol of a port.
public enum Transport: Hashable, Sendable {
    case tcp
    case other(String)

    init(_ text: String?) { self = text.map { $0 == "TCP" ? .tcp : .other($0) } ?? .tcp }
}

extension EndpointSlice: Decodable {
    private enum Field: String, CodingKey {
        case metadata, addressType, ports, endpoints
    }

    /// `ports: null` and `endpoints: null` are empty lists: the API server writes them so.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Field.self)
        metadata = try fields.decode(ObjectMetadata.self, forKey: .metadata)
        switch try fields.decode(String.self, forKey: .addressType) {
        case "IPv4": addressType = .ipv4
        case "IPv6": addressType = .ipv6
        case let text: addressType = .other(text)
        }
        ports = try fields.decodeIfPresent([Port].self, forKey: .ports) ?? []
        endpoints = try fields.decodeIfPresent([Endpoint].self, forKey: .endpoints) ?? []
    }
}

extension EndpointSlice.Port: Decodable {
    private enum Field: String, CodingKey {
        case name, port
        case transport = "protocol"
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Field.self)
        name = try fields.decodeIfPresent(String.self, forKey: .name) ?? ""
        number = try fields.portNumber(forKey: .port)
        transport = Transport(try fields.decodeIfPresent(String.self, forKey: .transport))
    }
}

extension EndpointSlice.Endpoint: Decodable {
    private enum Field: String, CodingKey {
        case addresses, conditions, targetRef, nodeName, zone
    }

    private enum Condition: String, CodingKey {
        case ready, serving, terminating
    }

    private enum Reference: String, CodingKey {
        case name, uid
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Field.self)
        address = nil
        if fields.contains(.addresses), try !fields.decodeNil(forKey: .addresses) {
            var addresses = try fields.nestedUnkeyedContainer(forKey: .addresses)
            if !addresses.isAtEnd { address = try addresses.decode(String.self) }
        }
        conditions = [.ready, .serving]
        if let given = try fields.nested(Condition.self, forKey: .conditions) {
            if try given.decodeIfPresent(Bool.self, forKey: .ready) == false { conditions.remove(.ready) }
            if try given.decodeIfPresent(Bool.self, forKey: .serving) == false { conditions.remove(.serving) }
            if try given.decodeIfPresent(Bool.self, forKey: .terminating) == true { conditions.insert(.terminating) }
        }
        let reference = try fields.nested(Reference.self, forKey: .targetRef)
        uid = try reference?.shortText(forKey: .uid) ?? ""
        name = try reference?.shortText(forKey: .name) ?? ""
        node = try fields.shortText(forKey: .nodeName) ?? ""
        zone = try fields.shortText(forKey: .zone) ?? ""
    }
}

extension KeyedDecodingContainer {
    /// A port number, or nil when it is absent or null. Throws for a number that no port has.
    func portNumber(forKey key: Key) throws -> UInt16? {
        guard let wide = try decodeIfPresent(Int.self, forKey: key) else { return nil }
        guard let number = UInt16(exactly: wide), number != 0 else {
            throw DecodingError.dataCorruptedError(forKey: key, in: self, debugDescription: "\(wide) is not a port (1…65535)")
        }
        return number
    }
}

extension KeyedDecodingContainer {
    /// Text that is a name, or nil when it is absent or null. Kubernetes' own names have at most 253 bytes; a longer one could not travel.
    fileprivate func shortText(forKey key: Key) throws -> String? {
        guard let text = try decodeIfPresent(String.self, forKey: key) else { return nil }
        guard text.utf8.count <= 1024 else {
            throw DecodingError.dataCorruptedError(forKey: key, in: self, debugDescription: "is longer than 1024 bytes")
        }
        return text
    }
}
