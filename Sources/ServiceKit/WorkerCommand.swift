/// What a local worker is started with, however it is started.
public struct WorkerCommand: Hashable, Sendable {
    /// The first one is the program.
    public var arguments: [String]
    /// `NAME=value`, on top of the environment.
    public var environment: [String]

    /// `{port}` replaced in every argument; LEASEHOLD_PORT and LEASEHOLD_POOL for programs that would rather look there.
    public init(_ command: [String], pool: String, port: UInt16) {
        arguments = command.map { $0.split(separator: "{port}", omittingEmptySubsequences: false).joined(separator: "\(port)") }
        environment = ["LEASEHOLD_PORT=\(port)", "LEASEHOLD_POOL=\(pool)"]
    }

    /// What a worker must not inherit: a manager's wishes to us.
    public static let withheld: Set<String> = [
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LEASEHOLD_WORKERS",
        "LEASEHOLD_SEAT",
    ]
}
