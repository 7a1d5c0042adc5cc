import KeeperCore
import Linux
import Logging
import Model
import ServiceKit
import Systemd
import Wire

extension Shell {
    /// Looks, or does what an operator asks for.
    func answer(_ request: ControlRequest) -> ControlAnswer {
        switch request {
        case .show(let what): return report(what)
        case .drain(let endpoint, let pool): return apply(pool) { .drain(endpoint: endpoint, pool: $0) }
        case .drainIdle(let pool, let most): return drainIdle(pool, most)
        case .undrain(let endpoint, let pool): return apply(pool) { .undrain(endpoint: endpoint, pool: $0) }
        case .quarantine(let endpoint, let pool, let duration):
            return apply(pool) { .quarantine(endpoint: endpoint, pool: $0, duration: duration) }
        case .pause(let pool, let refuse): return apply(pool) { .pause($0 ?? PoolID(name: pool), refuse: refuse) }
        case .assets: return .failed(status: 64, "the asset cache does that")
        case .resume(let pool): return apply(pool) { .resume($0 ?? PoolID(name: pool)) }
        }
    }

    private func apply(_ pool: String, _ verb: (PoolID?) -> OperatorVerb) -> ControlAnswer {
        let id = pool.isEmpty ? nil : PoolID(name: pool)
        if let id, service.configuration.pool(id) == nil {
            let names = service.configuration.pools.map(\.name).joined(separator: ", ")
            return .failed(status: 64, "there is no pool '\(pool)'; there are: \(names)")
        }
        operated = 0
        feed(.operated(verb(id)))
        if let error = saveHeldBack() {
            return .failed(status: 71, "done for \(operated), but a restart of the pool-keeper will forget it: \(error)")
        }
        if operated == 0 { return .failed(status: 69, ControlAnswer.nothingMatched) }
        return .done("done for \(operated)")
    }

    /// Tells the UIDs, one a line: whoever scales in needs to know which.
    private func drainIdle(_ name: String, _ most: UInt32) -> ControlAnswer {
        let pool = PoolID(name: name)
        guard service.configuration.pool(pool) != nil else { return apply(name) { .drain(endpoint: "", pool: $0) } }
        let idle = keeper.longestIdle(in: pool, most: Int(most))
        if idle.isEmpty { return .failed(status: 69, "no endpoint of pool '\(name)' is free") }
        for endpoint in idle { feed(.operated(.drain(endpoint: endpoint.id.description, pool: nil))) }
        if let error = saveHeldBack() {
            return .failed(status: 71, "done for \(idle.count), but a restart of the pool-keeper will forget it: \(error)")
        }
        return .done(idle.map(\.uid).joined(separator: "\n"))
    }

    /// Nil when it is on disk.
    func saveHeldBack() -> SystemError? {
        do throws(SystemError) {
            try operatorFile.save(keeper.heldBack)
            return nil
        } catch {
            service.logger.error(
                "Pauses and drains could not be written; a restart would forget them",
                metadata: [LogKey.messageID: "\(MessageID.stateNotSaved)", "error": "\(error)"])
            return error
        }
    }
}
