/// The limits of every link. A peer that exceeds one is closed with a reason; nothing is buffered beyond them.
public enum Bounds {
    /// The version of all edges together; both sides of a link must speak the same one.
    public static let version: UInt16 = 3
    /// The largest packet that is ever sent or accepted (a SOCK_SEQPACKET message may have 212,960 B at default buffers).
    public static let packetBytes = 64 * 1024
    /// The longest string inside a message.
    public static let stringBytes = 4 * 1024
    /// Most addresses of one endpoint.
    public static let addresses = 8
    /// Most packets that wait for a slow reader before its link is closed.
    public static let queuedPackets = 4096
    /// Most descriptors of one packet (SCM_MAX_FD, unix(7)).
    public static let packetDescriptors = 253
    /// Indices of a dispatcher's pipes are below this.
    public static let pipes = 1 << 16
    /// Slots of a dispatcher's callers are below this to be taken into escrow.
    public static let callers = 1 << 20
    /// Most numbers and histograms of one round of vitals; what comes after is counted, and not told.
    public static let vitalsSeries = 50_000
    /// The longest value of a metric's label.
    public static let labelBytes = 128
    /// Most facts of one event.
    public static let eventFacts = 16
    /// Most endpoints of a pool that are told one by one.
    public static let cells = 20_000
    /// Most tenants of a pool that its state names; the others are summed as one more.
    public static let stateTenants = 64
    /// How long a link may take from connect to hello.
    public static let helloSeconds = 1
}
