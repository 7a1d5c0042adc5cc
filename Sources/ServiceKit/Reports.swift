/// One listener as `show listeners` prints it.
public struct ListenerReport: Codable, Hashable, Sendable {
    public var name: String
    /// Where it is really bound, also when the configuration said port 0.
    public var address: String
    public var transport: String
    public var pools: [String]

    public init(name: String, address: String, transport: String, pools: [String]) {
        self.name = name
        self.address = address
        self.transport = transport
        self.pools = pools
    }
}

/// One local worker as `show workers` prints it.
public struct WorkerReport: Codable, Hashable, Sendable {
    public var pool: String
    public var port: UInt16
    public var pid: Int32
    /// `starting`, `ready`, `draining` or `stopping`.
    public var state: String

    public init(pool: String, port: UInt16, pid: Int32, state: String) {
        self.pool = pool
        self.port = port
        self.pid = pid
        self.state = state
    }
}
