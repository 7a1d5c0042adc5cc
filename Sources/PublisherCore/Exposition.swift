import Model
import Wire

/// Metrics as scrapers read them: Prometheus' text format 0.0.4, or OpenMetrics 1.0.
///
/// Cost: the number of series; endpoints are counted where they are kept, so that 100,000 of them cost as much as ten.
public struct Exposition {
    public enum Format: Sendable, Hashable, CaseIterable {
        case text
        case openMetrics

        public var contentType: String {
            switch self {
            case .text: "text/plain; version=0.0.4; charset=utf-8"
            case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }

        public var name: String {
            switch self {
            case .text: "text"
            case .openMetrics: "openmetrics"
            }
        }
    }

    /// What the publisher measures of itself.
    public struct Own: Sendable, Hashable {
        public var scrapes: [Format: UInt64] = [:]
        public var lastScrape = Duration.zero
        public var viewers = 0
        public var spansSent: UInt64 = 0
        public var spansDropped: UInt64 = 0
        /// Nil where nobody can ask.
        public var externalMetrics: [ExternalMetricsAPI.Result: UInt64]?
        public var kedaCalls: [KedaCall: UInt64] = [:]
        /// Nil where KEDA is not served.
        public var kedaStreams: Int?
        public init() {}
    }

    /// A call of KEDA's and how it was answered.
    public struct KedaCall: Sendable, Hashable {
        /// As the service names it.
        public var method: String
        /// From a closed list: see ``Metric/kedaCalls``.
        public var outcome: String

        public init(method: String, outcome: String) {
            self.method = method
            self.outcome = outcome
        }
    }

    private let publication: Publication
    private let own: Own
    private let format: Format
    private let now: Instant
    /// Seconds since 1970 at ``now``.
    private let wall: Double
    private var out: [UInt8] = []

    private init(_ publication: Publication, _ own: Own, _ format: Format, at now: Instant, wall: Double) {
        self.publication = publication
        self.own = own
        self.format = format
        self.now = now
        self.wall = wall
        out.reserveCapacity(64 * 1024)
    }

    public static func render(_ publication: Publication, own: Own = Own(), as format: Format, at now: Instant, wall: Double) -> [UInt8] {
        var exposition = Exposition(publication, own, format, at: now, wall: wall)
        for metric in Metric.allCases { exposition.family(metric) }
        if format == .openMetrics { exposition.write("# EOF\n") }
        return exposition.out
    }

    /// One metric with all of its series, and nothing where nobody measured it.
    private mutating func family(_ metric: Metric) {
        let row = metric.row
        var writer = FamilyWriter(row, format)
        let mark = out.count
        header(row)
        let start = out.count
        switch row.origin {
        case .pools:
            guard let samples = Self.ofPools[metric] else { break }
            for pool in publication.pools {
                // Unknown is not 0: what was never told is not shown, what is old is shown, and its age is leasehold_state_age_seconds.
                guard let state = publication.state(of: pool, at: now) else { continue }
                for sample in samples(state) { writer.write([pool.name] + sample.labels, .number(sample.value), nil, &out) }
            }
        case .publisher:
            let created = wall - (now - publication.began).inSeconds
            for sample in Self.ofPublisher[metric]?(self) ?? [] { writer.write(sample.labels, .number(sample.value), created, &out) }
        case .poolKeeper, .dispatcher, .watcher, .scaler, .assetCache, .everyProcess:
            for process in publication.processes {
                let created = process.started.map { wall - (now - $0).inSeconds }
                for series in process.series(of: metric) { writer.write(series.labels, series.value, created, &out) }
            }
        }
        if out.count == start { out.removeSubrange(mark...) }
    }

    private mutating func header(_ row: Metric.Row) {
        let family = FamilyWriter.family(row, format)
        write("# HELP \(family) ")
        out.appendEscaped(row.help, quotes: format == .openMetrics)
        write("\n# TYPE \(family) \(row.kind.name)\n")
        if format == .openMetrics, let unit = ["seconds", "bytes"].first(where: { family.hasSuffix("_" + $0) }) {
            write("# UNIT \(family) \(unit)\n")
        }
    }

    // MARK: What the publisher itself works out

    typealias Sample = (labels: [String], value: Double)

    /// Of each pool, behind its name.
    static let ofPools: [Metric: @Sendable (PoolState) -> [Sample]] = [
        .demand: { [([], Double($0.demand))] },
        .queueDepth: { pool in (0..<8).map { (["\($0)"], Double(pool.queuedByUrgency[$0])) } },
        .tenantQueueDepth: { $0.tenantRows.map { ([$0.name], Double($0.queued)) } },
        .tenantLeases: { $0.tenantRows.map { ([$0.name], Double($0.leased)) } },
        .tenantOldest: { $0.tenantRows.map { ([$0.name], $0.oldestWait.inSeconds) } },
        .queueOldest: { [([], $0.oldestWait.inSeconds)] },
        .openLeases: { [([], Double($0.leases))] },
        .poolPaused: { [([], $0.isPaused ? 1 : 0)] },
        .poolRecovering: { [([], $0.isRecovering ? 1 : 0)] },
        .endpoints: { pool in EndpointState.allCases.map { ([$0.name], Double(pool.count(of: $0))) } },
    ]

    /// Of the publisher's own.
    static let ofPublisher: [Metric: @Sendable (Exposition) -> [Sample]] = [
        .processUp: { $0.publication.processes.map { ([$0.name], $0.isUp ? 1 : 0) } },
        .processRestarts: { $0.publication.processes.map { ([$0.name], Double($0.restarts)) } },
        .vitalsAge: { exposition in
            exposition.publication.processes.compactMap { process in process.age(at: exposition.now).map { ([process.name], $0.inSeconds) } }
        },
        .stateAge: { exposition in exposition.publication.stateAge(at: exposition.now).map { [([], $0.inSeconds)] } ?? [] },
        .buildInfo: { [([$0.publication.version], 1)] },
        .scrapes: { exposition in Format.allCases.map { ([$0.name], Double(exposition.own.scrapes[$0] ?? 0)) } },
        .scrapeDuration: { [([], $0.own.lastScrape.inSeconds)] },
        .pageViewers: { [([], Double($0.own.viewers))] },
        .spans: { [(["sent"], Double($0.own.spansSent)), (["dropped"], Double($0.own.spansDropped))] },
        .externalMetrics: { exposition in
            exposition.own.externalMetrics.map { counts in ExternalMetricsAPI.Result.allCases.map { ([$0.name], Double(counts[$0] ?? 0)) } } ?? []
        },
        .seriesDropped: { [([], Double($0.publication.seriesDropped))] },
        .kedaCalls: { exposition in
            let calls = exposition.own.kedaCalls.sorted { ($0.key.method, $0.key.outcome) < ($1.key.method, $1.key.outcome) }
            return calls.map { ([$0.key.method, $0.key.outcome], Double($0.value)) }
        },
        .kedaStreams: { exposition in exposition.own.kedaStreams.map { [([], Double($0))] } ?? [] },
    ]

    private mutating func write(_ text: String) { out.append(contentsOf: text.utf8) }
}

extension PoolState {
    /// The tenants, those that are not named by themselves summed as `(others)`, which no tenant is called.
    var tenantRows: [TenantState] {
        var rows = tenants
        if var others = otherTenants {
            others.name = "(others)"
            rows.append(others)
        }
        return rows
    }

    /// How many endpoints the pool has in that state.
    public func count(of state: EndpointState) -> UInt32 {
        switch state {
        case .unready: unready
        case .free: free
        case .leased: leased
        case .ending: ending
        case .recovering: recovering
        case .quarantined: quarantined
        case .draining: draining
        }
    }
}

extension Duration {
    var inSeconds: Double { Double(nanoseconds) / 1e9 }
}
