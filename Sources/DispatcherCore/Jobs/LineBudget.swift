import Model

/// How many lines may be written in a second, with a burst, and how many were left out.
public struct LineBudget: Sendable {
    /// Below what journald takes of a service by default (10,000 lines in 30 s), so that nothing is left out uncounted.
    public static let burst: Int64 = 1000
    public static let perSecond: Int64 = 200

    private let nanosecondsPerLine: Int64
    /// When the whole burst is there again.
    private var full = Instant.zero
    /// Since they were last taken.
    public private(set) var leftOut: UInt64 = 0

    /// - Parameter sharers: how many share these lines, evenly; at least 1.
    public init(sharers: Int = 1) { nanosecondsPerLine = 1_000_000_000 / Self.perSecond * Int64(min(max(1, sharers), 1024)) }

    /// Whether one more line may be written now; if not it is counted. O(1).
    public mutating func take(at now: Instant) -> Bool {
        let next = max(full, now) + .nanoseconds(nanosecondsPerLine)
        guard next - now <= .nanoseconds(1_000_000_000 / Self.perSecond * Self.burst) else {
            leftOut += 1
            return false
        }
        full = next
        return true
    }

    public mutating func takeLeftOut() -> UInt64 {
        defer { leftOut = 0 }
        return leftOut
    }
}
