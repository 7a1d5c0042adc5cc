import Model

/// One valid response head: plain numbers and ranges into the bytes that it was parsed from.
public struct ResponseHead: Sendable {
    /// Bytes of the head with its empty line.
    public internal(set) var length = 0
    /// 100 … 599.
    public internal(set) var status: UInt16 = 0
    public internal(set) var version = HTTPVersion.v11
    public internal(set) var framing = BodyFraming.none
    /// Whether the worker's connection can serve another request after this response.
    public internal(set) var keepsAlive = false
    /// 409 or 503 with `Leasehold-Busy: 1`: the worker has a job already and took none of this one.
    public internal(set) var isBusy = false
    /// The protocol of a 101, or what a 426 asks for, where the listener allows it; empty otherwise.
    public internal(set) var upgrade = ByteRange.none
    var reason = ByteRange.none

    init() {}

    /// 1xx but 101: another head follows.
    public var isInterim: Bool { status < 200 && status != 101 }
    /// What follows in both directions is no longer HTTP.
    public var isSwitch: Bool { status == 101 }
    /// 1xx and 204, which may hold no framing fields.
    var isBare: Bool { status < 200 || status == 204 }
}

/// What the bytes at the front of a worker's socket are.
public enum ResponseParse: Sendable {
    case needMore
    /// Not valid HTTP, or too large: ``Reason/badResponse``.
    case refused
    case response(ResponseHead)
}

/// How a response goes on to its caller.
public struct ResponsePlan: Hashable, Sendable, BitwiseCopyable {
    /// Whether the caller's connection stays open afterwards.
    public var keepsCaller: Bool
    /// How a chunked body is passed on; does not matter for others.
    public var chunks: ChunkTreatment
    /// Whether the head is passed on at all: an HTTP/1.0 caller gets no 1xx.
    public var passesHead: Bool
}

extension ResponseHead {
    /// Decides from what is remembered of the request. `mayKeep` is false to end the caller's connection after
    /// this response: while draining, or when the request was not read whole.
    public func plan(for traits: CallerTraits, mayKeep: Bool = true) -> ResponsePlan {
        let isHTTP10 = traits.contains(.isHTTP10)
        let hasEnd: Bool
        switch framing {
        case .none, .length: hasEnd = true
        case .chunked: hasEnd = !isHTTP10
        case .untilClose: hasEnd = false
        }
        return ResponsePlan(
            keepsCaller: hasEnd && mayKeep && traits.contains(.keepsAlive) && !isSwitch,
            chunks: isHTTP10 ? .dataOnly : traits.contains(.takesTrailers) ? .whole : .withoutTrailers,
            passesHead: !(isHTTP10 && isInterim))
    }
}
