/// How long something took, counted in fixed buckets from a millisecond to an hour, as Prometheus wants it.
///
/// Memory and cost of an addition are constant.
public struct LatencyHistogram: Hashable, Sendable {
    /// Upper bounds of the buckets; what is longer than the last one is only in ``count``.
    public static let bounds: [Duration] = [
        .milliseconds(1), .microseconds(2500), .milliseconds(5), .milliseconds(10), .milliseconds(25), .milliseconds(50), .milliseconds(100),
        .milliseconds(250), .milliseconds(500), .seconds(1), .milliseconds(2500), .seconds(5), .seconds(10), .seconds(30), .seconds(60), .seconds(120), .seconds(300), .seconds(600), .seconds(1800),
        .seconds(3600),
    ]
    private static let nanoseconds = bounds.map(\.nanoseconds)

    /// How many fell into each bucket and no smaller one.
    public private(set) var counts = [UInt64](repeating: 0, count: bounds.count)
    public private(set) var count: UInt64 = 0
    public private(set) var sum = Duration.zero

    public init() {}

    /// As another process told it: one count for each bucket, and how many there were of all; nil when they contradict each other.
    public init?(counts: [UInt64], count: UInt64, sum: Duration) {
        var total: UInt64 = 0
        for one in counts {
            let (next, overflow) = total.addingReportingOverflow(one)
            guard !overflow else { return nil }
            total = next
        }
        guard counts.count == Self.bounds.count, total <= count else { return nil }
        self.counts = counts
        self.count = count
        self.sum = sum
    }

    /// What is negative, because two clocks disagree, counts as nothing.
    public mutating func add(_ duration: Duration) {
        count += 1
        sum += max(.zero, duration)
        let nanoseconds = duration.nanoseconds
        if let bucket = Self.nanoseconds.firstIndex(where: { nanoseconds <= $0 }) { counts[bucket] += 1 }
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
