import DispatcherCore
import Model

extension DispatchLoop {
    /// Puts new rules in force. Listeners and pools keep their indices for the connections that exist, so what was there must still be
    /// there: the shell refuses a configuration that removes or reorders them.
    func apply(_ new: Rules) {
        var merged = new
        // Pools that are new stand behind those that connections already point at.
        var pools = rules.pools
        for pool in new.pools {
            if let i = pools.firstIndex(where: { $0.id == pool.id }) { pools[i] = pool } else { pools.append(pool) }
        }
        func index(_ old: UInt16) -> UInt16 { UInt16(pools.firstIndex { $0.id == new.pools[Int(old)].id } ?? 0) }
        for i in merged.listeners.indices {
            merged.listeners[i].pool = index(merged.listeners[i].pool)
            merged.listeners[i].routePools = merged.listeners[i].routePools.map(index)
        }
        merged.pools = pools
        rules = merged
        vitals.follow(merged.pools)
        feed(.policiesChanged(pools.map(\.configuration.policy)))
    }
}
