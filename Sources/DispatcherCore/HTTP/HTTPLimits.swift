/// Bounds on what HTTP peers may send.
public enum HTTPLimits {
    /// Most bytes of a head, request or response, with its empty line. The peek buffer must hold as many.
    public static let headBytes = 16 * 1024
    /// Most field lines of a head.
    public static let fields = 128
    /// Most options in the `Connection` fields of a head that are not among the usual ones.
    static let nominations = 32
    /// Longest affinity key that counts; a longer one is no key.
    public static let affinityBytes = 128
    /// Longest body by its Content-Length, and longest chunk: so much that sums of a few never overflow an `Int`.
    public static let bodyBytes: UInt64 = 1 << 60
    /// Most bytes of extensions behind one chunk's size.
    public static let chunkExtensionBytes = 256
    /// Longest trailer line, and all of them together.
    public static let trailerBytes = 8 * 1024
    /// Longest PROXY header.
    public static let proxyHeaderBytes = 4096
}
