import CSystemd
import Linux

/// What a process tells its manager (sd_notify(3)). Without NOTIFY_SOCKET every call is a no-op.
public enum Notify {
    public static func ready(status: String) { send("READY=1\nSTATUS=\(oneLine(status))") }
    public static func status(_ text: String) { send("STATUS=\(oneLine(text))") }
    public static func stopping() { send("STOPPING=1\nSTATUS=Draining") }
    public static func watchdog() { send("WATCHDOG=1") }

    /// `RELOADING=1` with the monotonic time that systemd ≥ 253 wants for Type=notify-reload.
    public static func reloading() { send("RELOADING=1\nMONOTONIC_USEC=\(monotonicNow() / 1000)") }

    /// Half of WATCHDOG_USEC in nanoseconds, the advised rhythm; nil when the manager watches nothing.
    public static func watchdogInterval() -> Int64? {
        var micros: UInt64 = 0
        guard sd_watchdog_enabled(0, &micros) > 0 else { return nil }
        return Int64(clamping: micros) / 2 * 1000
    }

    private static func send(_ state: String) {
        // A manager that cannot be told is no reason to stop working; it will notice by its watchdog.
        _ = sd_notify(0, state)
    }

    private static func oneLine(_ text: String) -> String { text.replacing("\n", with: " ") }
}

extension String {
    fileprivate func replacing(_ character: Character, with other: String) -> String {
        split(separator: character, omittingEmptySubsequences: false).joined(separator: other)
    }
}
