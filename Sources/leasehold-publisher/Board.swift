import Foundation
import Linux
import Model
import PublisherCore
import ServiceKit
import Synchronization

/// What the loop has heard, for those who answer on other threads: a copy, replaced at the end of each turn that changed something.
final class Board: Sendable {
    private let state: Mutex<State>

    private struct State {
        var publication: Publication
        var own = Exposition.Own()
        /// For one pool: how many jobs may wait.
        var mostQueued: [String: Int]
        var isDraining = false
        /// Jobs refused, over all pools, at the end of each tenth of ``Board/recent``.
        var refusals: [(at: Int64, count: Double)] = []
    }

    /// What "recently" is in /pressure.
    private static let recent: Int64 = 300_000_000_000

    init(_ publication: Publication, mostQueued: [String: Int]) { state = Mutex(State(publication: publication, mostQueued: mostQueued)) }

    var publication: Publication { state.withLock { $0.publication } }
    var own: Exposition.Own { state.withLock { $0.own } }
    var isDraining: Bool { state.withLock { $0.isDraining } }

    func replace(_ publication: Publication, at now: Int64) {
        state.withLock { state in
            state.publication = publication
            if let last = state.refusals.last, now - last.at < Self.recent / 10 { return }
            state.refusals.append((now, publication.refusals))
            state.refusals.removeAll { now - $0.at > Self.recent }
        }
    }

    func replace(mostQueued: [String: Int]) { state.withLock { $0.mostQueued = mostQueued } }
    func drain() { state.withLock { $0.isDraining = true } }

    func scraped(_ format: Exposition.Format, took: Duration) {
        state.withLock {
            $0.own.scrapes[format, default: 0] += 1
            $0.own.lastScrape = took
        }
    }

    func spans(sent: Int, dropped: Int) {
        state.withLock {
            $0.own.spansSent += UInt64(sent)
            $0.own.spansDropped += UInt64(dropped)
        }
    }

    /// Questions to the External Metrics API are counted from now on.
    func opensExternalMetrics() { state.withLock { $0.own.externalMetrics = [:] } }

    func asked(_ result: ExternalMetricsAPI.Result) { state.withLock { $0.own.externalMetrics?[result, default: 0] += 1 } }
    func kedaCalled(_ method: String, _ outcome: String) {
        state.withLock { $0.own.kedaCalls[.init(method: method, outcome: outcome), default: 0] += 1 }
    }

    func kedaStreams(_ count: Int) { state.withLock { $0.own.kedaStreams = count } }

    /// One more who looks at the page; false when there are too many.
    func enter(most: Int) -> Bool {
        state.withLock { state in
            guard state.own.viewers < most, !state.isDraining else { return false }
            state.own.viewers += 1
            return true
        }
    }

    func leave() { state.withLock { $0.own.viewers -= 1 } }

    var viewers: Int { state.withLock { $0.own.viewers } }

    /// How many more jobs were refused than some minutes ago; a dispatcher that began anew counts from 0.
    var recentlyRefused: UInt64 {
        state.withLock { state in
            let now = state.publication.refusals
            let before = state.refusals.first?.count ?? 0
            return UInt64(max(0, now >= before ? now - before : now))
        }
    }

    func mostQueued(_ pool: String) -> Int { state.withLock { $0.mostQueued[pool] ?? 0 } }

    /// Now, on both clocks.
    static func now() -> (instant: Instant, wall: Double) { (Instant(nanoseconds: monotonicNow()), Date().timeIntervalSince1970) }
}
