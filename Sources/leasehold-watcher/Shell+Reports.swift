import Kubernetes
import KubernetesClient
import Linux
import Logging
import Model
import ServiceKit
import Systemd
import WatcherCore
import Wire

extension Shell {
    func log(_ notice: WatcherNotice) {
        var metadata: Logger.Metadata = [:]
        for (key, value) in notice.facts { metadata[key] = "\(value.asOneLine)" }
        if let id = notice.messageID { metadata[LogKey.messageID] = "\(id)" }
        service.logger.log(level: notice.level, "\(notice.message)", metadata: metadata)
    }

    /// The STATUS line.
    var status: String {
        let health = machine.health(at: service.loop.instant)
        let endpoints = machine.published.values.reduce(0) { $0 + $1.count }
        let served = "\(endpoints) endpoints in \(machine.published.count) pools, \(consumers.links.count) consumers"
        switch health.state {
        case .unknown: return "Source unknown: \(health.detail)"
        case .live: return "Source live: \(served)\(kubernetesStatus)"
        case .stale: return "Source stale: \(served)\(kubernetesStatus); \(health.detail)"
        }
    }

    func answer(_ request: ControlRequest) -> ControlAnswer {
        switch request {
        case .show("source"): return .json(sourceReport)
        case .show(let what): return .failed(status: 64, "the watcher has no report '\(what)'; it has 'source' and 'process'")
        case .drain, .drainIdle, .undrain, .quarantine, .pause, .resume: return .failed(status: 64, "the pool-keeper does that")
        case .assets: return .failed(status: 64, "the asset cache does that")
        }
    }

    private var sourceReport: SourceReport {
        let health = machine.health(at: Instant(nanoseconds: monotonicNow()))
        let state: String
        switch health.state {
        case .unknown: state = "unknown"
        case .live: state = "live"
        case .stale: state = "stale"
        }
        return SourceReport(
            kind: kubernetes != nil ? "kubernetes" : source != nil ? "directory" : "none",
            location: kubernetes?.location ?? source?.path ?? "", state: state, age: health.age, detail: health.detail,
            generation: machine.generation, files: machine.fileCount,
            endpoints: machine.published.values.reduce(into: Set<EndpointID>()) { $0.formUnion($1.keys) }.count,
            localWorkers: machine.localWorkerCount, problems: (source?.watchProblem.map { [$0] } ?? []) + machine.problems, kubernetes: kubernetesReport)
    }

    /// For the publisher.
    func tell(_ round: inout VitalsRound) {
        let health = machine.health(at: service.loop.instant)
        round.gauge(.sourceAge, seconds: health.age)
        round.gauge(.sourceUp, value: health.state == .live ? 1 : 0)
        round.count(.relists, kubernetes.map { $0.reports.reduce(0) { $0 + $1.relists } } ?? counters.scans)
        round.count(.sourceChanges, counters.changes)
        round.count(.sourceFilesBroken, counters.filesBroken)
        for pool in service.configuration.pools {
            round.gauge(.sourceEndpoints, pool.name, value: Double(machine.published[pool.id]?.count ?? 0))
        }
    }

    func report(_ counters: Counters) -> [String: UInt64] {
        var out: [String: UInt64] = [
            "scans": counters.scans, "files-read": counters.filesRead, "files-broken": counters.filesBroken, "changes": counters.changes,
            "snapshots": counters.snapshots, "saves": counters.saves, "links-refused": consumers.refused + workers.refused,
            "consumers": UInt64(consumers.links.count), "turns": service.loop.turns,
        ]
        addKubernetes(to: &out)
        return out
    }
}
