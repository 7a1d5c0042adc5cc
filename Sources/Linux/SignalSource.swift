import CLinux

/// Signals as events of a loop. Must be made before any other thread starts, since those inherit the blocked set.
public final class SignalSource {
    private let descriptor: Descriptor

    /// Blocks `signals` for this thread and calls `action` with each one's number.
    public init(_ signals: [Int32], on loop: Loop, _ action: @escaping (Int32) -> Void) throws(SystemError) {
        let raw = Int32(try check(lh_signalfd(signals, Int32(signals.count)), "signalfd"))
        descriptor = Descriptor(owning: raw)
        try loop.watch(raw, LH_EPOLLIN) { _ in
            while true {
                let signal = lh_signalfd_read(raw)
                guard signal > 0 else { return }
                action(Int32(signal))
            }
        }
    }
}
