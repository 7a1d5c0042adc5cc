import Kubernetes
import Model
import Wire

/// What consumers and operators are told: the whole feed, how much it is worth, and what is wrong with the source.
extension WatcherMachine {
    /// Gives everything that a new consumer is told: health, then the whole state, or while that is unknown the local workers.
    public func greet(at now: Instant, _ emit: (EndpointsMessage) -> Void) {
        emit(.source(health(at: now)))
        if isKnown { emit(.snapshotBegin(generation: generation)) }
        for pool in published.keys.sorted() {
            for (_, endpoint) in (published[pool] ?? [:]).sorted(by: { $0.key < $1.key }) { emit(.upsert(pool: pool, endpoint)) }
        }
        if isKnown { emit(.snapshotEnd(generation: generation)) }
    }

    /// How much what is served is worth, as consumers were told last.
    public func health(at now: Instant) -> SourceHealth {
        var health = toldHealth
        health.age = age(at: now)
        return health
    }

    /// The same as it should be told now, without its age, which grows by itself.
    var presentHealth: SourceHealth {
        let unreadable = unreadable ?? kubernetes?.problem?.asOneLine
        if !isKnown { return SourceHealth(state: .unknown, detail: unreadable ?? "the source has not been read yet") }
        if isInStep { return SourceHealth(state: .live) }
        if let unreadable { return SourceHealth(state: .stale, detail: unreadable) }
        if !doubts.isEmpty {
            return SourceHealth(state: .stale, detail: "a complete list lacks \(doubts.count) endpoints, which are kept for a while")
        }
        let broken = directory.broken
        guard let first = broken.first else {
            return SourceHealth(state: .stale, detail: "serving the saved state until the source is read")
        }
        return SourceHealth(
            state: .stale, detail: broken.count == 1 ? first.problem : "\(first.problem) (and \(broken.count - 1) more)")
    }

    private var isInStep: Bool {
        isComplete && unreadable == nil && !directory.hasBroken && kubernetes?.problem == nil && doubts.isEmpty
    }

    private func age(at now: Instant) -> Duration { outOfStepSince.map { max(.zero, now - $0) } ?? .zero }

    /// The state to save.
    public func savedState(at now: Instant) -> SavedState {
        SavedState(generation: generation, age: age(at: now), endpoints: published)
    }

    /// What about the source is not as it should be, in sentences; at most some hundred. O(slices).
    public var problems: [String] {
        let away = unreadable ?? kubernetes?.problem?.asOneLine
        let all = (away.map { [$0] } ?? []) + directory.broken.map(\.problem) + merge.problems.map(\.description.asOneLine)
        let listed = Self.mostProblems * 5
        return all.count <= listed ? all : all.prefix(listed) + ["and \(all.count - listed) more"]
    }

    /// Notes whether we are in step with the source, and tells consumers when that has changed.
    mutating func tellHealth(_ now: Instant, _ actions: inout [WatcherAction], since: Instant? = nil) {
        if !isInStep, outOfStepSince == nil { outOfStepSince = min(since ?? now, now) }
        if isInStep, outOfStepSince != nil {
            outOfStepSince = nil
            // What is on disk may say that it is old.
            saveSoon(now)
        }
        let health = presentHealth
        guard health != toldHealth else { return }
        toldHealth = health
        actions.append(.send(.source(self.health(at: now))))
    }
}
