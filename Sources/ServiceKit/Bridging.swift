import CLinux
import Linux
import Model

extension Loop {
    /// The start of this turn as the machines know it.
    public var instant: Instant { Instant(nanoseconds: now) }
}

extension LoopTimer {
    /// Sets the timer to a machine's wish; `.never` turns it off.
    public func set(_ instant: Instant) { deadline = instant.nanoseconds }
}

extension SocketAddress {
    public var system: lh_address { lh_address(high: high, low: low, port: port, family: family.rawValue) }

    /// Nil when the kernel named no IP address (a Unix socket).
    public init?(system: lh_address) {
        guard let family = Family(rawValue: system.family) else { return nil }
        self.init(family: family, high: system.high, low: system.low, port: system.port)
    }
}
