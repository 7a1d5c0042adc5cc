/// What must be remembered of a request to relay its response: one byte per session.
public struct CallerTraits: OptionSet, Hashable, Sendable, BitwiseCopyable {
    public var rawValue: UInt8
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// A HEAD request: its response has no body.
    public static let isHead = CallerTraits(rawValue: 1)
    /// The caller speaks HTTP/1.0: no chunks, no 1xx.
    public static let isHTTP10 = CallerTraits(rawValue: 2)
    /// The caller wants to send another request on its connection.
    public static let keepsAlive = CallerTraits(rawValue: 4)
    /// `Expect: 100-continue` with a body that the caller holds back.
    public static let expectsContinue = CallerTraits(rawValue: 8)
    /// An upgrade was asked for and is allowed: 101 may come.
    public static let upgrades = CallerTraits(rawValue: 16)
    /// `TE: trailers`.
    public static let takesTrailers = CallerTraits(rawValue: 32)
}
