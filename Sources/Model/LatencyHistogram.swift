/// How long something took, counted in fixed buckets from a millisecond to a minute, as Prometheus wants it.
///
/// Memory and cost of an addition are constant.
public struct LatencyHistogram: Hashable, Sendable {
    /// Upper bounds of the buckets; what is longer than the last one is only in ``count``.
    public static let bounds: [Duration] = [
        .milliseconds(1), .microseconds(2500), .milliseconds(5), .milliseconds(10), .milliseconds(25), .milliseconds(50), .milliseconds(100),
        .milliseconds(250), .milliseconds(500), .seconds(1), .milliseconds(2500), .seconds(5), .seconds(10), .seconds(30), .seconds(60),
    ]

    /// How many fell into each bucket and no smaller one.
    public private(set) var counts = [UInt64](repeating: 0, count: bounds.count)
    public private(set) var count: UInt64 = 0
    public private(set) var sum = Duration.zero

    public init() {}

    /// What is negative, because two clocks disagree, counts as nothing.
    public mutating func add(_ duration: Duration) {
        count += 1
        sum += max(.zero, duration)
        if let bucket = Self.bounds.firstIndex(where: { duration <= $0 }) { counts[bucket] += 1 }
    }

    /// The upper bound of the bucket in which a share (0…1) of all has come in; nil beyond the last bucket, or of nothing.
    public func bound(ofShare share: Double) -> Duration? {
        var seen: UInt64 = 0
        for (bound, count) in zip(Self.bounds, counts) {
            seen += count
            if count > 0, Double(seen) >= share * Double(self.count) { return bound }
        }
        return nil
    }
}
