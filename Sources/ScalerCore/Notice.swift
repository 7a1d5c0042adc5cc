import Model

/// What an operator is told, once per event. The shell gives it words, a level and journal fields.
public enum Notice: Hashable, Sendable {
    /// The target changed.
    case target(pool: String, from: Int, to: Int, demand: Int)
    /// An endpoint from now on; `after` its start.
    case ready(pool: String, port: UInt16, pid: Int32, after: Duration)
    case foundAgain(pool: String, port: UInt16, pid: Int32)
    /// Not accepting for too long after its start: it is stopped.
    case slow(pool: String, port: UInt16, pid: Int32, after: Duration)
    case crashed(pool: String, port: UInt16, status: ExitStatus, restartIn: Duration)
    case startFailed(pool: String, port: UInt16, reason: String, retryIn: Duration)
    /// Ended because it was told to, or of itself after its work.
    case ended(pool: String, port: UInt16, status: ExitStatus)
    /// Did not end when told to.
    case killed(pool: String, port: UInt16, pid: Int32)
    /// Somebody else listens there: the port is left out.
    case portHeld(pool: String, port: UInt16, retryIn: Duration)
    case portFree(pool: String, port: UInt16)
    /// Fewer usable ports than wanted workers.
    case outOfPorts(pool: String, wanted: Int, running: Int)
}
