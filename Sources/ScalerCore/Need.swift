import Model
import Wire

/// How many local workers a pool needs.
///
/// The sum of: enough slots for every job that has a worker or waits for one; one for each endpoint that cannot take
/// a job now (ending, quarantined, recovering, or a local one that an operator drained); less the endpoints of other
/// sources. An endpoint that is *ending* is already part of demand (its lease is open), so its job is taken out of demand
/// where the endpoint is counted: one caller who leaves early must not start a second worker.
enum Need {
    /// Before `min` and `max` are applied, so it may be negative. `ready` and `draining` are ours.
    static func workers(state: PoolState, slots: Int, ready: Int, draining: Int) -> Int {
        let ending = Int(state.ending)
        let setAside = ending + Int(state.quarantined) + Int(state.recovering)
        // An endpoint that another pool's job occupies has no lease in this pool, but is no less taken.
        let running = max(Int(state.leases), Int(state.leased) + ending)
        let jobs = running - min(ending, running) + Int(state.queued)
        return (jobs + slots - 1) / slots + setAside + drainedByOperator(state, ready: ready, draining: draining) - Int(state.remote)
    }

    /// Local workers that we take for ready and that the pool-keeper has draining: an operator did it.
    /// Both numbers must say so, because a worker that the watcher has not passed on yet is also missing.
    private static func drainedByOperator(_ state: PoolState, ready: Int, draining: Int) -> Int {
        let usable = [state.free, state.leased, state.ending, state.recovering, state.quarantined].reduce(0) { $0 + Int($1) }
        let usableLocal = max(0, usable - Int(state.remote))
        return max(0, min(ready - usableLocal, Int(state.draining) - draining))
    }
}
