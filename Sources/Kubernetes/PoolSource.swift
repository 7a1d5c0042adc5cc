import Model

/// Where the endpoints of one pool come from: one port of one Service.
public struct PoolSource: Hashable, Sendable {
    public var pool: PoolID
    /// The pool's configured name, for sentences.
    public var name: String
    public var service: ObjectKey
    public var port: PortReference

    public init(name: String, service: ObjectKey, port: PortReference) {
        pool = PoolID(name: name)
        self.name = name
        self.service = service
        self.port = port
    }
}

/// A Service port as configuration names it.
public enum PortReference: Hashable, Sendable, CustomStringConvertible {
    /// The only TCP port there is, named or not.
    case only
    /// The port's name, which slices repeat; empty for the only port of a Service that names none.
    case name(String)
    /// The Service's port number, which slices do not know: the Service translates it to a name.
    case number(UInt16)

    public var description: String {
        switch self {
        case .only: "(the only one)"
        case .name(let name): name.isEmpty ? "without a name" : name
        case .number(let number): "\(number)"
        }
    }
}

/// One step of a pool's endpoints from one complete state to the next.
public struct EndpointChange: Hashable, Sendable {
    public var pool: PoolID
    public var kind: Kind

    public init(pool: PoolID, kind: Kind) {
        self.pool = pool
        self.kind = kind
    }

    public enum Kind: Hashable, Sendable {
        /// New, or different from before.
        case upsert(Endpoint)
        case remove(EndpointID)
    }
}
