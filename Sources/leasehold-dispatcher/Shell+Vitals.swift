import DispatcherCore
import Model
import ServiceKit
import Wire

extension Shell {
    /// What the publisher is told once a second: sums over the loops.
    func tell(_ round: inout VitalsRound) {
        var connections: UInt64 = 0
        var losses: UInt64 = 0
        var callers = 0
        var workers = 0
        let (totals, homeless) = totals()
        for dispatch in loops {
            // Read without a lock: each is a word that only grows, and a report may be a moment old.
            connections += dispatch.counters.accepted
            losses += dispatch.counters.adoptionLosses
            callers += dispatch.callers.used
            workers += dispatch.workers.used
        }
        round.count(.connections, connections)
        round.count(.adoptionLosses, losses)
        round.gauge(.callers, value: Double(callers))
        round.gauge(.workerConnections, value: Double(workers))
        for pool in service.configuration.pools {
            let total = totals[pool.id] ?? PoolTotal()
            round.count(.jobsAccepted, pool.name, total.accepted)
            // All of them, also those that have not come yet: a rate of what is not there is not 0.
            for result in JobEnd.Result.allCases { round.count(.jobs, pool.name, result.name, total.results[Int(result.rawValue)]) }
            for reason in Reason.allCases { round.count(.refused, pool.name, reason.token, total.refused[Int(reason.rawValue)]) }
            for reason in RequeueReason.allCases { round.count(.requeues, pool.name, reason.name, total.requeues[Int(reason.rawValue)]) }
            round.count(.bytes, pool.name, "in", total.bytesIn)
            round.count(.bytes, pool.name, "out", total.bytesOut)
            round.histogram(.dial, pool.name, value: total.dial.histogram)
            round.histogram(.session, pool.name, value: total.session.histogram)
        }
        // What never became a job of any pool.
        for reason in Reason.allCases where homeless.refused[Int(reason.rawValue)] > 0 {
            round.count(.refused, "", reason.token, homeless.refused[Int(reason.rawValue)])
        }
    }

    /// What this process and its predecessors in the seat counted, by pool, and what belongs to none.
    private func totals() -> (pools: [PoolID: PoolTotal], none: PoolTotal) {
        var pools: [PoolID: PoolTotal] = [:]
        var none = PoolTotal()
        for dispatch in loops {
            dispatch.board.withLock { board in
                for vitals in board.pools {
                    if let pool = vitals.pool { vitals.add(to: &pools[pool, default: PoolTotal()]) }
                }
                board.none?.add(to: &none)
            }
        }
        return (pools, none)
    }

    /// For `show process`: jobs accepted, and how they ended; what is missing to the sum is under way.
    func jobCounters() -> [String: UInt64] {
        var out = ["jobs-accepted": UInt64(0)]
        for total in totals().pools.values {
            out["jobs-accepted", default: 0] += total.accepted
            for result in JobEnd.Result.allCases { out["jobs-\(result.name)", default: 0] += total.results[Int(result.rawValue)] }
        }
        return out
    }
}
