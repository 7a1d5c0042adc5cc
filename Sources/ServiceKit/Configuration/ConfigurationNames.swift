import Model

/// A Service as Kubernetes names it.
public struct ServiceName: Hashable, Sendable, CustomStringConvertible {
    public var namespace: String
    public var name: String

    public init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    /// `namespace/name`.
    public var description: String { "\(namespace)/\(name)" }
}

/// Which port of a Service a pool uses.
public enum ServicePort: Hashable, Sendable {
    /// The Service has one port, named or not.
    case only
    case name(String)
    /// The Service's port, not the pods'.
    case number(UInt16)
}

/// Which `Host` a route takes. In lower case, without port and trailing dot.
public enum HostPattern: Hashable, Sendable, CustomStringConvertible {
    case any
    /// `*.example.org`: one label or more before the suffix, which is stored as `.example.org`.
    case suffix(String)
    case exact(String)

    public var description: String {
        switch self {
        case .any: "*"
        case .suffix(let suffix): "*\(suffix)"
        case .exact(let name): name
        }
    }
}

/// Where a listener binds.
public enum ListenAddress: Hashable, Sendable, CustomStringConvertible {
    case ip(SocketAddress)
    /// An absolute path of at most 107 bytes.
    case unix(String)

    /// `[::]`, the only address that can take both families.
    public var isIPv6Wildcard: Bool {
        switch self {
        case .ip(let address): address.family == .v6 && address.high == 0 && address.low == 0
        case .unix: false
        }
    }

    /// As the configuration file writes it: `127.0.0.1:8080`, `[::]:8080`, `unix:/run/x.sock`.
    public var description: String {
        switch self {
        case .ip(let address): address.description
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// A set of ports as ranges: ascending, apart, none empty.
public struct PortSet: Hashable, Sendable, CustomStringConvertible {
    public private(set) var ranges: [ClosedRange<UInt16>] = []

    public init() {}

    /// Sorts and joins; a port that is named twice is there once.
    public init(_ given: [ClosedRange<UInt16>]) {
        for range in given.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = ranges.last, Int(range.lowerBound) <= Int(last.upperBound) + 1 {
                ranges[ranges.count - 1] = last.lowerBound...Swift.max(last.upperBound, range.upperBound)
            } else {
                ranges.append(range)
            }
        }
    }

    public var count: Int { ranges.reduce(0) { $0 + $1.count } }

    /// Every port, ascending.
    public var ports: [UInt16] { ranges.flatMap { Array($0) } }

    public func contains(_ port: UInt16) -> Bool { ranges.contains { $0.contains(port) } }

    /// The lowest port that both have, or nil.
    public func firstShared(with other: PortSet) -> UInt16? {
        ranges.flatMap { mine in
            other.ranges.filter { $0.overlaps(mine) }.map { Swift.max($0.lowerBound, mine.lowerBound) }
        }.min()
    }

    /// `21000-21063`, or several with commas between.
    public var description: String {
        ranges.map { $0.count == 1 ? String($0.lowerBound) : "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ",")
    }
}
