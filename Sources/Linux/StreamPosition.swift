import CLinux

/// Where a TCP connection stands, as the kernel counts it: what a process needs to go on where another one was killed.
///
/// The counters outlive the process that moved the bytes, and belong to the connection whatever duplicates of its descriptor exist
/// (tcp(7), linux/tcp.h).
public struct StreamPosition: Hashable, Sendable {
    /// `tcpi_state`.
    public enum State: UInt8, Sendable {
        case established = 1
        case synSent
        case synReceived
        case finWait1
        case finWait2
        case timeWait
        case close
        case closeWait
        case lastAck
        case listen
        case closing
    }

    public var state: State
    /// Bytes that came and were read; one more once the peer's FIN has come.
    public var taken: UInt64
    /// Bytes that were sent, acknowledged or not; one more for the SYN of a connection that was made from here, and for our own FIN.
    public var given: UInt64
    /// Bytes that came and were not read.
    public var unread: Int32
    /// A failure is there that nobody has read (poll(2), which leaves it there).
    public var hasError = false

    public init(state: State, taken: UInt64, given: UInt64, unread: Int32) {
        self.state = state
        self.taken = taken
        self.given = given
        self.unread = unread
    }

    /// Reads the counters again until they belong together: two system calls' worth of looks at least, four in all.
    /// EOPNOTSUPP for what is no TCP socket.
    public init(of descriptor: Int32) throws(SystemError) {
        var raw = lh_stream_position()
        _ = try check(lh_stream_position(descriptor, &raw), "getsockopt", "TCP_INFO")
        guard let state = State(rawValue: raw.state) else { throw SystemError(EPROTO, "getsockopt", "tcpi_state \(raw.state)") }
        self.state = state
        taken = raw.received &- UInt64(max(0, raw.unread))
        given = raw.acked &+ UInt64(max(0, raw.unsent))
        unread = raw.unread
        hasError = lh_poll_now(descriptor) & POLLERR != 0
    }
}
