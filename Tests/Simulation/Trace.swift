import Foundation
import Model

/// What happened in a run, in lines that a person can read. Costs nothing while nobody listens.
final class Trace {
    private let listen: ((String) -> Void)?
    var now: () -> Instant = { .zero }

    /// Keeps nothing without a listener.
    init(_ listen: ((String) -> Void)? = nil) { self.listen = listen }

    /// Straight to standard error, so that a trap cuts nothing off.
    static var loud: Trace { Trace { FileHandle.standardError.write(Data(($0 + "\n").utf8)) } }

    func note(_ who: String, _ text: () -> String) {
        guard let listen else { return }
        let microseconds = (now().nanoseconds - 1_000_000_000_000) / 1000
        let time = String(microseconds / 1000) + "." + String(String(1000 + microseconds % 1000).dropFirst())
        listen(String(repeating: " ", count: max(0, 10 - time.count)) + time + "  " + who.padding(toLength: 13, withPad: " ", startingAt: 0) + text())
    }
}
