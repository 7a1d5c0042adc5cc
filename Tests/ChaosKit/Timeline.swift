import Linux
import Synchronization
import TestKit

/// What befell the processes and when, so that a long pause can say what it was spent on: an end that took its time, a start, or what is between
/// READY and the next byte.
final class Timeline: Sendable {
    private let events = Mutex<[(at: Int64, what: String)]>([])

    func note(_ process: Fleet.Process, _ what: String) {
        let now = monotonicNow()
        events.withLock { $0.append((now, "\(process.rawValue) \(what)")) }
    }

    /// From shortly before a blow to its pauses' end, in milliseconds since the blow.
    private func around(_ blow: Blow, until end: Int64) -> String {
        let near = events.withLock { $0.filter { $0.at > blow.at - 1_000_000_000 && $0.at < end } }
        return near.map { "\(($0.at - blow.at) / 1_000_000) \($0.what)" }.joined(separator: ", ")
    }

    /// The blows under which somebody paused for longer than `limit` nanoseconds though no process stood still, one line each; the worst first.
    func slow(_ blows: [Blow], over limit: Int64, most: Int = 5) -> [String] {
        let slow = blows.enumerated().map { (number: $0 + 1, blow: $1, worst: $1.pauses.values.max() ?? 0) }
            .filter { $0.worst > limit && !$0.blow.isStop }
        return slow.sorted { $0.worst > $1.worst }.prefix(most).map { number, blow, worst in
            let paused = blow.pauses.values.count { $0 > limit }
            return "blow \(number), \(blow.label): \(paused) of \(blow.live) paused for up to \(worst / 1_000_000) ms: \(around(blow, until: blow.at + worst))"
        }
    }
}
