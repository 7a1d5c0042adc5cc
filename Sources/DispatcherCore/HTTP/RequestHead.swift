import Model

/// One valid request head: plain numbers and ranges into the bytes that it was parsed from.
public struct RequestHead: Sendable {
    /// Bytes of the head with its empty line, and one empty line before it if there was one.
    public internal(set) var length = 0
    public internal(set) var method = HTTPMethod.other
    public internal(set) var version = HTTPVersion.v11
    public internal(set) var form = TargetForm.origin
    public internal(set) var framing = BodyFraming.none
    public internal(set) var traits: CallerTraits = []
    /// What was asked for and is believed of the caller.
    public internal(set) var urgency = Urgency.standard
    /// `Prefer: wait`, in seconds; nil when not asked for.
    public internal(set) var preferWait: UInt32?
    public internal(set) var methodRange = ByteRange.none
    public internal(set) var target = ByteRange.none
    /// The path without the query. Empty means `/` (absolute-form without a path).
    public internal(set) var path = ByteRange.none
    /// The host, with its port if it has one, from Host or the absolute-form target; empty when there is none (HTTP/1.0 only).
    public internal(set) var host = ByteRange.none
    /// The upgrade token that is allowed and was asked for; empty when there is none.
    public internal(set) var upgrade = ByteRange.none
    /// Empty when not sent or not believed.
    public internal(set) var tenant = ByteRange.none
    /// Empty when not sent, not believed, or longer than ``HTTPLimits/affinityBytes``.
    public internal(set) var affinity = ByteRange.none
    /// The value of `traceparent`; empty when not sent or sent twice.
    public internal(set) var traceparent = ByteRange.none

    init() {}
}

/// The form of a request target (RFC 9112 §3.2). Authority-form belongs to CONNECT, which is refused.
public enum TargetForm: UInt8, Sendable, BitwiseCopyable {
    case origin
    case absolute
    /// `OPTIONS *`, which is about us and answered by us.
    case asterisk
}

/// What the bytes at the front of a caller's socket are.
public enum RequestParse: Sendable {
    /// Valid so far: more bytes are needed.
    case needMore
    /// Answer with this and close: what follows cannot be told apart from the request.
    case refused(HeadRefusal)
    case request(RequestHead)
}

/// Why a head was refused, and what its answer must look like.
public struct HeadRefusal: Hashable, Sendable {
    public var reason: Reason
    /// ``CallerTraits/isHead`` and ``CallerTraits/isHTTP10`` as far as the head got.
    public var traits: CallerTraits

    public init(_ reason: Reason, _ traits: CallerTraits = []) {
        self.reason = reason
        self.traits = traits
    }
}
