import Model

/// One line of the roster: a worker process that outlives the scaler, and what the next scaler must know of it.
///
/// Text, one worker to a line, fields separated by one space:
/// `worker POOL-NAME PORT PID START-TIME FINGERPRINT STATE`.
public struct RosterEntry: Hashable, Sendable {
    /// How far the worker's life had come.
    public enum State: String, Hashable, Sendable, CaseIterable {
        case starting, ready, draining, stopping
    }

    public var pool: String
    public var port: UInt16
    public var process: ProcessIdentity
    public var fingerprint: UInt64
    public var state: State

    public init(pool: String, port: UInt16, process: ProcessIdentity, fingerprint: UInt64, state: State) {
        self.pool = pool
        self.port = port
        self.process = process
        self.fingerprint = fingerprint
        self.state = state
    }

    public var line: String {
        "worker \(pool) \(port) \(process.pid) \(process.startTime) \(String(fingerprint, radix: 16)) \(state.rawValue)"
    }

    /// Nil for anything that ``line`` did not write: a damaged line costs one worker's memory, not the start.
    public init?(line: some StringProtocol) {
        let fields = line.split(separator: " ", omittingEmptySubsequences: false)
        guard fields.count == 7, fields[0] == "worker", !fields[1].isEmpty, let port = UInt16(fields[2]), port > 0,
            let pid = Int32(fields[3]), pid > 1, let startTime = UInt64(fields[4]), let fingerprint = UInt64(fields[5], radix: 16),
            let state = State(rawValue: String(fields[6]))
        else { return nil }
        self.init(
            pool: String(fields[1]), port: port, process: ProcessIdentity(pid: pid, startTime: startTime), fingerprint: fingerprint,
            state: state)
    }
}
