/// A point on the monotonic clock (`CLOCK_MONOTONIC`), in nanoseconds since an arbitrary start.
///
/// Machines receive it as an argument; they never read a clock. Never sent between processes: ages are.
public struct Instant: Hashable, Comparable, Sendable {
    public var nanoseconds: Int64

    @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// Later than everything: the deadline of what has none.
    @inlinable public static var never: Instant { Instant(nanoseconds: .max) }
    @inlinable public static var zero: Instant { Instant(nanoseconds: 0) }

    @inlinable public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }

    /// Saturates at ``never``, so that a huge configured duration cannot overflow.
    @inlinable public static func + (a: Instant, d: Duration) -> Instant {
        let (sum, overflow) = a.nanoseconds.addingReportingOverflow(d.nanoseconds)
        return overflow ? .never : Instant(nanoseconds: sum)
    }

    @inlinable public static func - (a: Instant, d: Duration) -> Instant {
        let (difference, overflow) = a.nanoseconds.subtractingReportingOverflow(d.nanoseconds)
        return overflow ? Instant(nanoseconds: .min) : Instant(nanoseconds: difference)
    }

    /// The time from `b` to `a`; negative when `a` is earlier.
    @inlinable public static func - (a: Instant, b: Instant) -> Duration {
        // The same as Duration.nanoseconds, without its calls into the library's own 128-bit arithmetic.
        Duration(attoseconds: Int128(a.nanoseconds &- b.nanoseconds) &* 1_000_000_000)
    }
}

extension Duration {
    /// Whole nanoseconds, saturated to what an `Int64` holds (292 years).
    @inlinable public var nanoseconds: Int64 {
        Int64(clamping: attoseconds / 1_000_000_000)
    }

    /// Whole milliseconds, rounded down.
    @inlinable public var milliseconds: Int64 { nanoseconds / 1_000_000 }

    /// Whole microseconds, rounded down.
    @inlinable public var microseconds: Int64 { nanoseconds / 1_000 }
}
