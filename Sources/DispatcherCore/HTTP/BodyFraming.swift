/// How the end of a message's body is found (RFC 9112 §6.3).
public enum BodyFraming: Hashable, Sendable, BitwiseCopyable {
    /// There is no body, whatever the fields say.
    case none
    /// Exactly this many bytes, at most ``HTTPLimits/bodyBytes``.
    case length(UInt64)
    /// See ``ChunkScanner``.
    case chunked
    /// A response that ends with its connection.
    case untilClose
}
