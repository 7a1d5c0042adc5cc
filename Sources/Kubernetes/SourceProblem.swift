import Model

/// Why something in the source serves no pool. Reported once when it appears, listed for as long as it lasts.
public enum SourceProblem: Hashable, Sendable {
    /// The slice names no Service, so it belongs to no pool.
    case noServiceLabel(slice: ObjectKey)
    /// FQDN slices are skipped: an endpoint is an IP address.
    case addressType(String, slice: ObjectKey)
    case noSuchPort(PortReference, pool: String, slice: ObjectKey, has: String)
    /// The pool names no port, and there are several.
    case whichPort(pool: String, slice: ObjectKey, has: String)
    /// `port: null` means "all ports": there is none to dial.
    case portWithoutNumber(PortReference, pool: String, slice: ObjectKey)
    case notTCP(PortReference, transport: String, pool: String, slice: ObjectKey)
    case emptyAddresses(slice: ObjectKey)
    case notAnAddress(String, slice: ObjectKey)
    /// An IPv6 address in an IPv4 slice, or the other way round.
    case wrongFamily(String, slice: ObjectKey)
    /// A number, and no Service to translate it: taken for the slices' own port number.
    case serviceUnknown(ObjectKey, port: UInt16, pool: String)
    case serviceHasNoPort(ObjectKey, port: PortReference, pool: String, has: String)
    /// A live cluster has a slice for every Service that selects pods, if only an empty one.
    case noSlices(ObjectKey, pool: String)
}

extension SourceProblem {
    /// The slice that it is about, unless it is about a Service.
    var slice: ObjectKey? {
        switch self {
        case .noServiceLabel(let key), .addressType(_, let key): key
        case .noSuchPort(_, _, let key, _), .portWithoutNumber(_, _, let key), .notTCP(_, _, _, let key): key
        case .whichPort(_, let key, _), .emptyAddresses(let key), .notAnAddress(_, let key), .wrongFamily(_, let key): key
        case .serviceUnknown, .serviceHasNoPort, .noSlices: nil
        }
    }

    /// The pool that the slice gives nothing; nil where it concerns every pool alike.
    var pool: String? {
        switch self {
        case .noSuchPort(_, let pool, _, _), .portWithoutNumber(_, let pool, _), .notTCP(_, _, let pool, _): pool
        case .whichPort(let pool, _, _), .serviceUnknown(_, _, let pool), .serviceHasNoPort(_, _, let pool, _), .noSlices(_, let pool): pool
        case .noServiceLabel, .addressType, .emptyAddresses, .notAnAddress, .wrongFamily: nil
        }
    }
}

extension SourceProblem: CustomStringConvertible {
    /// One sentence, with the remedy where there is one.
    public var description: String {
        switch self {
        case .noServiceLabel(let slice):
            "EndpointSlice \(slice) is skipped: it has no label kubernetes.io/service-name"
        case .addressType(let type, let slice):
            "EndpointSlice \(slice) is skipped: addressType \(type) is neither IPv4 nor IPv6"
        case .noSuchPort(let port, let pool, let slice, let has):
            "EndpointSlice \(slice) gives pool \(pool) nothing: it has no port \(port) (it has \(has))"
        case .whichPort(let pool, let slice, let has):
            "EndpointSlice \(slice) gives pool \(pool) nothing: it has several ports (\(has)) and the pool names none; say port: NAME"
        case .portWithoutNumber(let port, let pool, let slice):
            "EndpointSlice \(slice) gives pool \(pool) nothing: its port \(port) has no number"
        case .notTCP(let port, let transport, let pool, let slice):
            "EndpointSlice \(slice) gives pool \(pool) nothing: its port \(port) is \(transport), not TCP"
        case .emptyAddresses(let slice):
            "EndpointSlice \(slice) has endpoints without an address; they are skipped"
        case .notAnAddress(let text, let slice):
            "EndpointSlice \(slice) has endpoints that are skipped: \"\(text)\" is not an IP address"
        case .wrongFamily(let text, let slice):
            "EndpointSlice \(slice) has endpoints that are skipped: \(text) does not fit its addressType"
        case .serviceUnknown(let service, let port, let pool):
            "Pool \(pool) takes port \(port) for the number in the EndpointSlices: no Service \(service) says which port it stands for"
        case .noSlices(let service, let pool):
            "Pool \(pool) gets nothing: there is no EndpointSlice of Service \(service); check its namespace and name"
        case .serviceHasNoPort(let service, let port, let pool, let has):
            switch port {
            case .only: "Pool \(pool) gets nothing: Service \(service) does not have exactly one TCP port (it has \(has)); say port: NAME"
            case .name, .number: "Pool \(pool) gets nothing: Service \(service) has no TCP port \(port) (it has \(has))"
            }
        }
    }
}
