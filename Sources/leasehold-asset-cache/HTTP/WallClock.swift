import AssetCore
import CLinux

/// Now, by the wall clock.
func wallClock() -> Timestamp { Timestamp(milliseconds: lh_realtime() / 1_000_000) }
