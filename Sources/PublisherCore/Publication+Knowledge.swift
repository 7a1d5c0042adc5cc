import Model
import Wire

extension Publication {
    /// A pool as it was while the pool-keeper knew it whole.
    public struct Good: Sendable, Hashable {
        public var state: PoolState
        /// When it was told.
        public var heard: Instant
        /// When it ceased to be known whether it still held; nil while it does.
        public var until: Instant?
    }

    /// What can be said of a pool to somebody who acts on it.
    public enum Knowledge: Sendable, Hashable {
        /// True `age` ago; zero is now.
        case known(PoolState, age: Duration)
        /// Nothing that may be taken for a number; why.
        case unknown(String)
    }

    /// The last good word on a pool. A pool-keeper that has just started counts no jobs until the dispatchers have told it of theirs: what it
    /// says till then is not believed, and the word of its predecessor goes on.
    public func knowledge(of pool: Pool, at now: Instant) -> Knowledge {
        guard let good = pool.good else {
            return .unknown(
                pool.state == nil
                    ? "pool \(pool.name): the pool-keeper has not been heard" : "pool \(pool.name): the pool-keeper has just started, and does not know yet which jobs there are")
        }
        guard !pool.isGone else { return .unknown("pool \(pool.name): the pool-keeper does not know it; do both have the same configuration?") }
        var held = good.until ?? now
        if let silent = silentSince(at: now), silent < held { held = silent }
        held = max(held, good.heard)
        var state = good.state
        if state.queued > 0 { state.oldestWait += held - good.heard }
        return .known(state, age: max(.zero, now - held))
    }
}

extension Publication.Pool {
    mutating func told(_ state: PoolState, at now: Instant) {
        if state.isRecovering { ceased(at: now) } else { good = Publication.Good(state: state, heard: now) }
    }

    mutating func ceased(at now: Instant) {
        if good != nil, good?.until == nil { good?.until = now }
    }
}
