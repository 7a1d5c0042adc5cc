import CLinux
import Linux
import Synchronization

/// What the demo says while it runs, and what it has proved at the end.
final class DemoLedger: Sendable {
    struct Claim: Sendable {
        var text: String
        var measured: String
        var holds: Bool
    }

    private let claims = Mutex<[Claim]>([])
    private let start = monotonicNow()
    private let colour = isatty(1) == 1 && getenv("NO_COLOR") == nil

    var all: [Claim] { claims.withLock { $0 } }

    func title(_ text: String) { put("\n\(tinted("1", text))\n") }

    /// With the time since the start in front.
    func say(_ text: String) {
        let tenths = (monotonicNow() - start) / 100_000_000
        let time = "\(tenths / 10).\(tenths % 10)s"
        put("\(tinted("2", String(repeating: " ", count: max(0, 6 - time.count)) + time))  \(text)\n")
    }

    func claim(_ text: String, _ holds: Bool, _ measured: String) {
        claims.withLock { $0.append(Claim(text: text, measured: measured, holds: holds)) }
        say("\(mark(holds)) \(measured)")
    }

    /// The table of everything claimed; true when there is something and all of it holds.
    func conclude() -> Bool {
        let all = self.all
        let width = all.map(\.text.count).max() ?? 0
        title("What was proved")
        for claim in all {
            put("  \(mark(claim.holds)) \(claim.text)\(String(repeating: " ", count: width - claim.text.count))   \(claim.measured)\n")
        }
        put("\n")
        return !all.isEmpty && all.allSatisfy(\.holds)
    }

    func put(_ text: String) {
        let bytes = Array(text.utf8)
        // Nobody is left to tell.
        _ = lh_write(1, bytes, bytes.count)
    }

    private func mark(_ holds: Bool) -> String { holds ? tinted("32", "✓") : tinted("31", "✗") }
    private func tinted(_ code: String, _ text: String) -> String { colour ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text }
}
