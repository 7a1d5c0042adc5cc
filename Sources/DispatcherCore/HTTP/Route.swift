import Model

/// One row of a listener's `routes`.
public struct Route: Hashable, Sendable {
    /// `*`, a host without port, or `*.` and a host for one label or more in front of it.
    public var host: String
    /// A path prefix of whole segments: `/a` matches `/a` and `/a/b`, not `/ab`.
    public var path: String
    public var pool: PoolID

    public init(host: String = "*", path: String = "/", pool: PoolID) {
        self.host = host
        self.path = path
        self.pool = pool
    }
}

/// Why rows do not make a ``RouteTable``.
public enum RouteError: Error, Hashable, Sendable {
    /// Row with this index: not `*`, a host, or `*.` and a host.
    case invalidHost(Int)
    /// Row with this index: does not begin with `/`, or no request's path could mean it.
    case invalidPath(Int)
    /// The second row says what the first one says.
    case duplicate(Int, Int)
}

/// Where a request goes.
public enum RouteMatch: Hashable, Sendable {
    /// The row with this index.
    case route(Int)
    case noRoute
    /// The path can be read in two ways.
    case badRequest
}
