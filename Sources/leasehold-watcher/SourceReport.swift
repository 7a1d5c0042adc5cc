import Kubernetes
import Model
import ServiceKit
import WatcherCore

/// What `show source` says.
struct SourceReport: Encodable {
    /// `unknown`, `live` or `stale`.
    var state: String
    /// Since the state was last in step with the source.
    var ageSeconds: Double
    /// Why it is not live; empty otherwise.
    var detail: String
    /// The directory, or nil when there are only local workers.
    var directory: String?
    var files: Int
    var localWorkers: Int
    var generation: UInt64
    var pools: [Pool]
    var consumers: Int
    var scalerConnected: Bool
    /// What in the source is not as it should be, a sentence each.
    var problems: [String]

    struct Pool: Encodable {
        var name: String
        var service: String?
        var endpoints: Int
        var usable: Int
        var local: Int
    }

    init(
        _ machine: WatcherMachine, at now: Instant, configuration: Configuration, consumers: Int, hasScaler: Bool, watchProblem: String?
    ) {
        let health = machine.health(at: now)
        switch health.state {
        case .unknown: state = "unknown"
        case .live: state = "live"
        case .stale: state = "stale"
        }
        ageSeconds = Double(health.age.milliseconds) / 1000
        detail = health.detail
        directory = configuration.source?.directory
        files = machine.fileCount
        localWorkers = machine.localWorkerCount
        generation = machine.generation
        pools = configuration.pools.map { pool in
            let endpoints = machine.published[pool.id] ?? [:]
            return Pool(
                name: pool.name, service: pool.service.map { "\($0)" }, endpoints: endpoints.count,
                usable: endpoints.values.count { $0.isUsable }, local: endpoints.values.count { $0.isLocal })
        }
        self.consumers = consumers
        scalerConnected = hasScaler
        problems = (watchProblem.map { [$0] } ?? []) + machine.problems
    }
}

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
}
