import Kubernetes
import Model
import ServiceKit
import WatcherCore

extension Configuration {
    /// The pools that have a Service, as the merge knows them.
    var poolSources: [PoolSource] {
        pools.compactMap { pool in
            guard let service = pool.service else { return nil }
            let port: PortReference
            switch pool.port {
            case .only: port = .only
            case .name(let name): port = .name(name)
            case .number(let number): port = .number(number)
            }
            return PoolSource(name: pool.name, service: ObjectKey(namespace: service.namespace, name: service.name), port: port)
        }
    }

    /// The pools that have local workers.
    var localPools: Set<PoolID> { Set(pools.filter { $0.workers != nil }.map(\.id)) }

    /// What the machine is to expect.
    var watcherSource: WatcherMachine.Source {
        guard let source else { return .none }
        guard let kubernetes = source.kubernetes else { return .directory }
        return .kubernetes(DoubtPolicy(percent: kubernetes.doubt, hold: kubernetes.doubtFor))
    }

    /// What has to be watched at an API server.
    var scopes: Set<WatchScope> { Set(WatchScope.needed(for: poolSources)) }
}
