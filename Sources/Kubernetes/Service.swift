/// `v1` Service, as far as it says which port name a port number stands for.
public struct Service: Hashable, Sendable {
    public var metadata: ObjectMetadata
    public var ports: [Port]

    public init(metadata: ObjectMetadata, ports: [Port]) {
        self.metadata = metadata
        self.ports = ports
    }

    public var key: ObjectKey { metadata.key }

    /// One of `spec.ports`. Slices carry the name, never this number.
    public struct Port: Hashable, Sendable {
        /// Empty for the only port of a Service that names none.
        public var name: String
        public var number: UInt16
        public var transport: Transport

        public init(name: String = "", number: UInt16, transport: Transport = .tcp) {
            self.name = name
            self.number = number
            self.transport = transport
        }
    }
}

extension Service: Decodable {
    private enum Field: String, CodingKey {
        case metadata, spec
    }

    private enum Spec: String, CodingKey {
        case ports
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Field.self)
        metadata = try fields.decode(ObjectMetadata.self, forKey: .metadata)
        ports = try fields.nested(Spec.self, forKey: .spec)?.decodeIfPresent([Port].self, forKey: .ports) ?? []
    }
}

extension Service.Port: Decodable {
    private enum Field: String, CodingKey {
        case name, port
        case transport = "protocol"
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Field.self)
        name = try fields.decodeIfPresent(String.self, forKey: .name) ?? ""
        guard let number = try fields.portNumber(forKey: .port) else {
            throw DecodingError.keyNotFound(Field.port, .init(codingPath: fields.codingPath, debugDescription: ""))
        }
        self.number = number
        transport = Transport(try fields.decodeIfPresent(String.self, forKey: .transport))
    }
}
