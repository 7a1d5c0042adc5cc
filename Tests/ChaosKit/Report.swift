import Foundation
import TestKit

/// What many runs came to, as a table for people and as JSON.
package struct Report {
    let outcomes: [Run.Outcome]

    package init(_ outcomes: [Run.Outcome]) { self.outcomes = outcomes }

    private struct Sum {
        var began = 0, complete = 0, left = 0, drained = 0, unescrowed = 0, lost = 0, corrupt = 0
        var pauses: [Int64] = [], waits: [Int64] = []
    }

    private static func ms(_ nanoseconds: Int64) -> String { "\((nanoseconds + 500_000) / 1_000_000)" }

    private static func at(_ share: Double, of sorted: [Int64]) -> Int64 {
        sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }

    private static func three(_ sorted: [Int64]) -> String {
        [0.5, 0.99, 1].map { ms(at($0, of: sorted)) }.joined(separator: " / ")
    }

    private var kinds: [(kind: Kind, sum: Sum)] {
        Kind.allCases.map { kind in
            var sum = Sum()
            for line in outcomes.compactMap({ $0.single.lines[kind] }) {
                sum.began += line.began
                sum.complete += line.complete
                sum.left += line.left
                sum.drained += line.drained
                sum.unescrowed += line.unescrowed
                sum.lost += line.lost
                sum.corrupt += line.corrupt
                sum.pauses += line.pauses
                sum.waits += line.waits
            }
            sum.pauses.sort()
            sum.waits.sort()
            return (kind, sum)
        }
    }

    private struct BlowSum {
        var count = 0, live = 0, lost = 0, parkedLost = 0, unescrowed = 0
        var pauses: [Int64] = [], waits: [Int64] = []
    }

    private var blows: [(label: String, sum: BlowSum)] {
        var all: [String: BlowSum] = [:]
        for blow in outcomes.flatMap(\.tally.blows) {
            var sum = all[blow.label] ?? BlowSum()
            sum.count += 1
            sum.live += blow.live
            sum.unescrowed += blow.unescrowed
            for (kind, count) in blow.lost {
                if kind.isParked { sum.parkedLost += count } else { sum.lost += count }
            }
            // Whoever noticed nothing paused for no time.
            sum.pauses += blow.pauses.values
            sum.pauses += [Int64](repeating: 0, count: max(0, blow.live - blow.pauses.count))
            sum.waits += blow.waits.values
            all[blow.label] = sum
        }
        return all.map { label, sum in
            var sum = sum
            sum.pauses.sort()
            sum.waits.sort()
            return (label, sum)
        }.sorted { $0.label < $1.label }
    }

    /// The pauses of all sessions at work, by what the promise tells apart: a process that ended, and one that stood still for seconds.
    private func pauses(stopped: Bool) -> [Int64] {
        let chosen = outcomes.flatMap(\.single.blows).filter { $0.isStop == stopped }
        return chosen.flatMap { Array($0.pauses.values) + [Int64](repeating: 0, count: max(0, $0.live - $0.pauses.count)) }.sorted()
    }

    /// Markdown.
    package var table: String {
        var out = "| session | began | ended well | left | told of a drain | not yet in escrow | lost | wrong bytes | pause p50 / p99 / max, ms | wait for a worker |\n"
        out += "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        for (kind, sum) in kinds {
            let pauses = "\(Self.three(sum.pauses)) | \(Self.three(sum.waits))"
            out += "| \(kind.rawValue) | \(sum.began) | \(sum.complete) | \(sum.left) | \(sum.drained) | \(sum.unescrowed) | \(sum.lost) | "
            out += "\(sum.corrupt) | \(pauses) |\n"
        }
        out += "\n| blow | times | sessions at work | lost | parked callers lost | not yet in escrow | pause p50 / p99 / max, ms | wait for a worker |\n"
        out += "|---|---:|---:|---:|---:|---:|---:|---:|\n"
        for (label, sum) in blows {
            let pauses = "\(Self.three(sum.pauses)) | \(Self.three(sum.waits))"
            out += "| \(label) | \(sum.count) | \(sum.live) | \(sum.lost) | \(sum.parkedLost) | \(sum.unescrowed) | \(pauses) |\n"
        }
        let tallies = outcomes.map(\.single)
        func sum(_ of: (Tally) -> Int) -> Int { tallies.map(of).reduce(0, +) }
        out += """

            \(outcomes.count) seeds, \(sum(\.blows.count)) blows, \(sum(\.bytes) >> 20) MiB compared. Bytes lost \(sum(\.bytesLost)), doubled \
            \(sum(\.bytesDoubled)), altered \(sum(\.bytesAltered)). Second concurrent jobs \(outcomes.map(\.tally.violations.count).reduce(0, +)); \
            jobs begun twice \(sum(\.doubledJobs)). Of \(outcomes.map(\.order.count).reduce(0, +)) parked callers \
            \(outcomes.map(\.order.overtaken).reduce(0, +)) saw a later one go first, \
            and \(outcomes.map(\.order.overtakenInBlow).reduce(0, +)) while a grant was lost with a dispatcher (at most \
            \(outcomes.map(\.order.most).max() ?? 0) before one). \
            Pause p50 / p99 / max where a process ended: \(Self.three(pauses(stopped: false))) ms (promised: p99 500, max 2000); where one stood \
            still: \(Self.three(pauses(stopped: true))) ms (promised: WatchdogSec and 1 s). \
            Longest recovery \(Self.ms(outcomes.map(\.longestRecovery).max() ?? 0)) ms; the harness itself stood still for at most \
            \(Self.ms(outcomes.map(\.longestTurn).max() ?? 0)) ms.

            """
        return out
    }

    var counters: [String: UInt64] {
        outcomes.reduce(into: [:]) { all, outcome in all.merge(outcome.counters, uniquingKeysWith: +) }
    }

    /// What the product counts of escrow and adoption.
    package var escrowCounters: String {
        let words = ["escrow", "adopt", "fence", "inherit", "late"]
        let rows = counters.filter { name, _ in words.contains { name.contains($0) } }.sorted { $0.key < $1.key }
        return rows.map { "\($0.key): \($0.value)" }.joined(separator: "\n")
    }

    package var json: String {
        struct Pauses: Encodable { var p50: Int64, p99: Int64, max: Int64 }
        struct Row: Encodable { var name: String, counts: [String: Int], pauseMicroseconds: Pauses, waitMicroseconds: Pauses }
        struct All: Encodable { var seeds: [UInt64], sessions: [Row], blows: [Row], totals: [String: Int], counters: [String: UInt64] }
        func pauses(_ sorted: [Int64]) -> Pauses {
            Pauses(p50: Self.at(0.5, of: sorted) / 1000, p99: Self.at(0.99, of: sorted) / 1000, max: (sorted.last ?? 0) / 1000)
        }
        let tallies = outcomes.map(\.single)
        func sum(_ of: (Tally) -> Int) -> Int { tallies.map(of).reduce(0, +) }
        let all = All(
            seeds: outcomes.map(\.seed),
            sessions: kinds.map { kind, sum in
                Row(
                    name: kind.rawValue,
                    counts: [
                        "began": sum.began, "complete": sum.complete, "left": sum.left, "drained": sum.drained, "unescrowed": sum.unescrowed,
                        "lost": sum.lost, "corrupt": sum.corrupt,
                    ], pauseMicroseconds: pauses(sum.pauses), waitMicroseconds: pauses(sum.waits))
            },
            blows: blows.map { label, sum in
                Row(
                    name: label,
                    counts: [
                        "times": sum.count, "live": sum.live, "lost": sum.lost, "parkedLost": sum.parkedLost, "unescrowed": sum.unescrowed,
                    ], pauseMicroseconds: pauses(sum.pauses), waitMicroseconds: pauses(sum.waits))
            },
            totals: [
                "blows": sum(\.blows.count), "bytes": sum(\.bytes), "bytesLost": sum(\.bytesLost), "bytesDoubled": sum(\.bytesDoubled),
                "bytesAltered": sum(\.bytesAltered), "violations": outcomes.map(\.tally.violations.count).reduce(0, +),
                "doubledJobs": sum(\.doubledJobs), "overtaken": outcomes.map(\.order.overtaken).reduce(0, +),
            ], counters: counters)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return (try? encoder.encode(all)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
