/// What every process says of itself on its control edge (`show process`).
public struct ProcessReport: Codable, Hashable, Sendable {
    public var process: String
    public var seat: String
    public var pid: Int32
    public var version: String
    public var instance: String
    public var ready: Bool
    /// The STATUS line that the service manager shows.
    public var status: String
    public var uptimeSeconds: Double
    /// Counters since the process started, by name.
    public var counters: [String: UInt64]

    public init(
        process: String, seat: String, pid: Int32, version: String, instance: String, ready: Bool, status: String, uptimeSeconds: Double,
        counters: [String: UInt64]
    ) {
        self.process = process
        self.seat = seat
        self.pid = pid
        self.version = version
        self.instance = instance
        self.ready = ready
        self.status = status
        self.uptimeSeconds = uptimeSeconds
        self.counters = counters
    }
}
