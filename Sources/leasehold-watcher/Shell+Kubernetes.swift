import CLinux
import Kubernetes
import Linux
import Logging
import Model
import ServiceKit
import Systemd
import WatcherCore

extension Shell {
    /// What the reflectors have to say, to the machine and the journal.
    func take(_ news: [KubernetesSource.News]) {
        var inputs: [WatcherInput] = []
        for one in news {
            switch one {
            case .update(let scope, let update):
                inputs.append(.kubernetesSaid(scope, update, sinceEpoch: .nanoseconds(lh_realtime())))
            case .health(let scope, let health, let heard): inputs.append(.kubernetesHealth(scope, health, lastHeard: heard))
            case .log(let notice, let scope): log(notice, scope)
            }
        }
        handle(inputs)
    }

    private func log(_ notice: ReflectorNotice, _ scope: WatchScope) {
        var metadata: Logger.Metadata = ["scope": "\(scope)"]
        for (key, value) in notice.facts { metadata[key] = "\(value.asOneLine)" }
        let level: Logger.Level
        switch notice {
        case .trouble:
            level = .warning
            metadata[LogKey.messageID] = "\(MessageID.sourceStale)"
        case .unreadableObject:
            level = .warning
            metadata[LogKey.messageID] = "\(MessageID.sourceProblem)"
        case .synchronized, .recovered:
            level = .notice
            metadata[LogKey.messageID] = "\(MessageID.sourceLive)"
        case .expired, .noWatchList: level = .info
        }
        service.logger.log(level: level, "\(notice.message)", metadata: metadata)
    }

    // MARK: Reports

    /// The part of the STATUS line that tells how old our knowledge is.
    var kubernetesStatus: String {
        guard let kubernetes else { return "" }
        let reports = kubernetes.reports
        let now = Instant(nanoseconds: monotonicNow())
        // Of several watches the worst speaks for all: the youngest connection, the longest silence.
        func seconds(_ instants: [Instant?], _ worst: ([Duration]) -> Duration?) -> Int64? {
            instants.contains(nil) ? nil : worst(instants.compactMap { $0.map { now - $0 } })?.components.seconds
        }
        let connected = seconds(reports.map(\.connectedSince)) { $0.min() }
        let heard = seconds(reports.map(\.lastHeard)) { $0.max() }
        let versions = reports.map(\.resourceVersion).filter { !$0.isEmpty }
        let relists = reports.reduce(0) { $0 + $1.relists }
        return "; API server "
            + (connected.map { "connected for \($0) s, " } ?? "not connected, ")
            + (heard.map { "heard \($0) s ago" } ?? "not heard yet")
            + (versions.isEmpty ? "" : ", version \(versions.joined(separator: "/")), \(kubernetes.eventsPerSecond) events/s")
            + (relists == 0 ? "" : ", \(relists) relists")
    }

    var kubernetesReport: KubernetesReport? {
        guard let kubernetes else { return nil }
        let now = Instant(nanoseconds: monotonicNow())
        func age(_ instant: Instant?) -> Int? { instant.map { Int(max(.zero, now - $0).milliseconds) } }
        let propagation = machine.propagation
        func bound(_ share: Double) -> Int? {
            propagation.count == 0 ? nil : propagation.bound(ofShare: share).map { Int($0.milliseconds) }
        }
        let scopes = kubernetes.reports.map { report in
            KubernetesReport.Scope(
                scope: report.scope.description,
                selector: report.scope.labelSelector.isEmpty ? report.scope.fieldSelector : report.scope.labelSelector,
                activity: report.activity.name, connectedMs: age(report.connectedSince), heardMs: age(report.lastHeard),
                resourceVersion: report.resourceVersion, objects: report.objects, protobuf: report.usesProtobuf,
                watchList: report.usesWatchList, events: report.events, bookmarks: report.bookmarks, relists: report.relists,
                requests: report.requests, bytes: report.bytes,
                errors: Dictionary(report.errors.map { ($0.key.name, $0.value) }, uniquingKeysWith: +),
                problem: report.problem?.detail.asOneLine ?? "")
        }
        return KubernetesReport(
            eventsPerSecond: kubernetes.eventsPerSecond, doubts: machine.doubtsRaised, propagationP50Ms: bound(0.5),
            propagationP99Ms: bound(0.99), lastError: kubernetes.lastError?.detail.asOneLine ?? "",
            lastErrorMs: age(kubernetes.lastError?.at), scopes: scopes)
    }

    /// The same as counters, over all scopes.
    func addKubernetes(to counters: inout [String: UInt64]) {
        guard let kubernetes else { return }
        let reports = kubernetes.reports
        let now = Instant(nanoseconds: monotonicNow())
        counters["api-requests"] = reports.reduce(0) { $0 + $1.requests }
        counters["api-bytes"] = reports.reduce(0) { $0 + $1.bytes }
        counters["api-events"] = reports.reduce(0) { $0 + $1.events }
        counters["api-bookmarks"] = reports.reduce(0) { $0 + $1.bookmarks }
        counters["relists"] = reports.reduce(0) { $0 + $1.relists }
        counters["api-objects"] = UInt64(reports.reduce(0) { $0 + $1.objects })
        counters["doubts"] = machine.doubtsRaised
        for report in reports {
            for (kind, count) in report.errors { counters["api-errors-\(kind.name)", default: 0] += count }
        }
        if let oldest = reports.map({ $0.lastHeard ?? .zero }).min() { counters["api-heard-ms"] = UInt64(max(0, (now - oldest).milliseconds)) }
        let propagation = machine.propagation
        if propagation.count > 0 {
            counters["propagations"] = propagation.count
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                counters["propagation-\(name)-ms"] = UInt64(clamping: (propagation.bound(ofShare: share) ?? .seconds(3600)).milliseconds)
            }
        }
    }
}

extension ReflectorReport.Activity {
    /// As reports name it.
    var name: String {
        switch self {
        case .idle: "idle"
        case .listing: "listing"
        case .watching: "watching"
        case .waiting: "waiting"
        case .renewing: "renewing"
        }
    }
}
