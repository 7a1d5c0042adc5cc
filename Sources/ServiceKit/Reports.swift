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
