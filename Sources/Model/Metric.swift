/// Everything that is counted or measured for the outside: the one table from which `# HELP` and `# TYPE`, the documentation and the tests
/// are made. A number is a name on the wire: it is never used again for something else.
public enum Metric: UInt16, CaseIterable, Sendable, Hashable {
    // Pools, from the state edge.
    case demand = 1
    case queueDepth
    case queueOldest
    case endpoints
    case openLeases
    case poolPaused
    case poolRecovering
    case tenantQueueDepth
    case tenantLeases
    case tenantOldest

    // The pool-keeper.
    case hold = 20
    case leases
    case leaseDuration
    case dialFailures
    case requeues
    case quarantines
    case adopted
    case fenced
    case escrowDescriptors
    case escrowSkipped
    case propagation
    case lateMessages

    // The dispatcher.
    case connections = 50
    case callers
    case workerConnections
    case jobs
    case refused
    case dial
    case session
    case bytes
    case adoptionLosses
    case jobsAccepted

    // The watcher.
    case sourceAge = 80
    case sourceUp
    case relists
    case sourceChanges
    case sourceFilesBroken
    case sourceEndpoints

    // The scaler.
    case workerStarts = 100
    case workerExits
    case workerCrashes
    case workers
    case workersWanted

    // The asset cache.
    case cacheRequests = 120
    case cacheBytes
    case cacheEvictions
    case cacheObjects
    case cacheUsed
    case cacheBound
    case cacheHTTP
    case cacheSaved
    case cacheSent
    case cacheOriginRequests
    case cacheOrigin
    case cacheHostRequests
    case cacheHostHits
    case cacheDamaged
    case cacheProfiles
    case backingUp
    case backingRequests
    case backingBytes
    case backingErrors
    case backingQueue
    case backingQueueOldest
    case backingUnsent

    // Every process.
    case processUp = 150
    case processRestarts
    case processUptime
    case processMemory
    case processCPU
    case processTurns
    case vitalsAge
    case vitalsDropped
    case stateAge

    // The publisher.
    case buildInfo = 180
    case scrapes
    case scrapeDuration
    case pageViewers
    case spans
    case seriesDropped
    case externalMetrics = 190
    case kedaCalls = 200
    case kedaStreams
}

extension Metric {
    /// What the number is; decides `# TYPE` and what a reader may do with it.
    public enum Kind: Sendable, Hashable {
        /// Only grows, and begins anew with its process.
        case counter
        case gauge
        /// Of durations, in ``LatencyHistogram/bounds``.
        case histogram

        public var name: String {
            switch self {
            case .counter: "counter"
            case .gauge: "gauge"
            case .histogram: "histogram"
            }
        }
    }

    /// Who measures it.
    public enum Origin: Sendable, Hashable, CaseIterable {
        case pools, poolKeeper, dispatcher, watcher, scaler, assetCache, everyProcess, publisher

        /// For people.
        public var name: String {
            switch self {
            case .pools: "pools, from the pool-keeper's state edge"
            case .poolKeeper: "pool-keeper"
            case .dispatcher: "dispatcher"
            case .watcher: "watcher"
            case .scaler: "scaler"
            case .assetCache: "asset cache"
            case .everyProcess: "every process"
            case .publisher: "publisher"
            }
        }
    }

    /// One line of the table.
    public struct Row: Sendable, Hashable {
        /// As it is scraped: a counter's ends in `_total`, a duration's in `_seconds`.
        public var name: String
        public var kind: Kind
        /// In the order in which values are given. Bounded: never an address, a caller or a path.
        public var labels: [String]
        public var help: String
        public var origin: Origin

        init(_ name: String, _ kind: Kind, _ labels: [String] = [], _ origin: Origin, _ help: String) {
            self.name = name
            self.kind = kind
            self.labels = labels
            self.origin = origin
            self.help = help
        }
    }

    private static let table: [Metric: Row] = Dictionary(uniqueKeysWithValues: allCases.map { ($0, $0.declaration) })

    public var row: Row { Self.table[self] ?? declaration }
    public var name: String { row.name }
    public var kind: Kind { row.kind }
    public var labels: [String] { row.labels }
    public var help: String { row.help }
    public var origin: Origin { row.origin }

    private var declaration: Row {
        switch self {
        case .demand:
            Row("leasehold_demand", .gauge, ["pool"], .pools, "Jobs that have a worker plus jobs that wait for one: the number to scale on.")
        case .queueDepth: Row("leasehold_queue_depth", .gauge, ["pool", "urgency"], .pools, "Jobs that wait for a worker, by urgency (RFC 9218, 0 first).")
        case .queueOldest: Row("leasehold_queue_oldest_seconds", .gauge, ["pool"], .pools, "How long the job that has waited longest waits.")
        case .endpoints: Row("leasehold_endpoints", .gauge, ["pool", "state"], .pools, "Workers by state.")
        case .openLeases: Row("leasehold_open_leases", .gauge, ["pool"], .pools, "Leases that are open, those that are ending included.")
        case .poolPaused: Row("leasehold_pool_paused", .gauge, ["pool"], .pools, "1 while an operator holds the pool.")
        case .poolRecovering:
            Row("leasehold_pool_recovering", .gauge, ["pool"], .pools, "1 while the pool-keeper grants nothing after a start.")
        case .tenantQueueDepth:
            Row("leasehold_tenant_queue_depth", .gauge, ["pool", "tenant"], .pools, "Jobs of a configured tenant that wait for a worker; (others) sums those that are too many to be named.")
        case .tenantLeases: Row("leasehold_tenant_leases", .gauge, ["pool", "tenant"], .pools, "Leases of a configured tenant that are open.")
        case .tenantOldest:
            Row("leasehold_tenant_queue_oldest_seconds", .gauge, ["pool", "tenant"], .pools, "How long the tenant's job that has waited longest waits.")

        case .hold:
            Row("leasehold_hold_seconds", .histogram, ["pool", "outcome"], .poolKeeper, "Time from a job's arrival to its lease, its refusal or its caller's leaving.")
        case .leases: Row("leasehold_leases_total", .counter, ["pool", "outcome"], .poolKeeper, "Leases that ended, by how.")
        case .leaseDuration: Row("leasehold_lease_seconds", .histogram, ["pool"], .poolKeeper, "How long leases lasted.")
        case .dialFailures: Row("leasehold_dial_failures_total", .counter, ["pool", "reason"], .poolKeeper, "Connections to workers that failed, by why.")
        case .requeues:
            Row("leasehold_requeues_total", .counter, ["pool", "reason"], .dispatcher, "Jobs that went back to their place in line because their worker proved stale.")
        case .quarantines: Row("leasehold_quarantines_total", .counter, ["pool", "reason"], .poolKeeper, "Workers set aside for a moment, by why.")
        case .adopted: Row("leasehold_adopted_leases_total", .counter, [], .poolKeeper, "Leases that a dispatcher took over from its predecessor.")
        case .fenced: Row("leasehold_fenced_leases_total", .counter, [], .poolKeeper, "Leases whose connections were cut because nobody adopted them.")
        case .escrowDescriptors: Row("leasehold_escrow_descriptors", .gauge, [], .poolKeeper, "Descriptors held for dispatchers.")
        case .escrowSkipped:
            Row("leasehold_escrow_skipped_total", .counter, [], .poolKeeper, "Connections not taken into escrow for want of descriptors: they end with their dispatcher.")
        case .propagation:
            Row("leasehold_propagation_seconds", .histogram, [], .poolKeeper, "From a change at the API server to the pool-keeper's knowing it; upper bounds.")
        case .lateMessages: Row("leasehold_late_messages_total", .counter, [], .poolKeeper, "Messages that crossed others on their way; each is expected.")

        case .connections: Row("leasehold_connections_total", .counter, [], .dispatcher, "Callers' connections accepted.")
        case .callers: Row("leasehold_callers", .gauge, [], .dispatcher, "Callers' connections open.")
        case .workerConnections: Row("leasehold_worker_connections", .gauge, [], .dispatcher, "Connections to workers open.")
        case .jobsAccepted:
            Row("leasehold_jobs_accepted_total", .counter, ["pool"], .dispatcher, "Jobs that got in line; each ends once, as leasehold_jobs_total says.")
        case .jobs:
            Row("leasehold_jobs_total", .counter, ["pool", "outcome"], .dispatcher, "Jobs that ended: served, refused, gone (the caller left), cut.")
        case .refused:
            Row("leasehold_refused_total", .counter, ["pool", "reason"], .dispatcher, "Jobs that Leasehold answered itself, by Leasehold-Reason.")
        case .dial: Row("leasehold_dial_seconds", .histogram, ["pool"], .dispatcher, "Time to connect to a leased worker.")
        case .session: Row("leasehold_session_seconds", .histogram, ["pool"], .dispatcher, "Time from the worker's connection to the job's end.")
        case .bytes: Row("leasehold_bytes_total", .counter, ["pool", "direction"], .dispatcher, "Bytes moved, in (to workers) and out (to callers).")
        case .adoptionLosses: Row("leasehold_adoption_losses_total", .counter, [], .dispatcher, "Connections of a dead dispatcher that could not be gone on with.")

        case .sourceAge: Row("leasehold_source_age_seconds", .gauge, [], .watcher, "Since the source of endpoints was last known to be whole and current.")
        case .sourceUp: Row("leasehold_source_up", .gauge, [], .watcher, "1 while the source of endpoints is live; 0 while its last known state is served, or none.")
        case .relists: Row("leasehold_relists_total", .counter, [], .watcher, "Complete looks at the source: the first, and each after a watch was lost (of a directory: every look).")
        case .sourceChanges: Row("leasehold_source_changes_total", .counter, [], .watcher, "Changes of endpoints told to the pool-keeper.")
        case .sourceFilesBroken: Row("leasehold_source_files_broken_total", .counter, [], .watcher, "Manifests that could not be understood.")
        case .sourceEndpoints: Row("leasehold_source_endpoints", .gauge, ["pool"], .watcher, "Endpoints that the source names.")

        case .workerStarts: Row("leasehold_worker_starts_total", .counter, [], .scaler, "Local workers started.")
        case .workerExits: Row("leasehold_worker_exits_total", .counter, [], .scaler, "Local workers that ended, by whatever cause.")
        case .workerCrashes: Row("leasehold_worker_crashes_total", .counter, [], .scaler, "Local workers that ended unasked.")
        case .workers: Row("leasehold_workers", .gauge, ["pool", "state"], .scaler, "Local workers by state.")
        case .workersWanted: Row("leasehold_workers_wanted", .gauge, ["pool"], .scaler, "How many local workers there should be.")

        case .cacheRequests: Row("leasehold_cache_requests_total", .counter, ["kind"], .assetCache, "Requests to the asset cache.")
        case .cacheBytes: Row("leasehold_cache_bytes_total", .counter, ["direction"], .assetCache, "Bytes that the asset cache took in and gave out.")
        case .cacheEvictions: Row("leasehold_cache_evictions_total", .counter, [], .assetCache, "Objects that the asset cache let go for want of room.")
        case .cacheObjects: Row("leasehold_cache_objects", .gauge, [], .assetCache, "Objects in the asset cache.")
        case .cacheUsed: Row("leasehold_cache_used_bytes", .gauge, [], .assetCache, "What the asset cache holds on disk.")
        case .cacheBound: Row("leasehold_cache_bound_bytes", .gauge, [], .assetCache, "What the asset cache may hold on disk.")
        case .cacheHTTP:
            Row("leasehold_cache_http_requests_total", .counter, ["result"], .assetCache, "Requests to the HTTP cache: hit, stale (a hit all the same), validated, miss, collapsed (waited for another's answer), passed, refused.")
        case .cacheSaved: Row("leasehold_cache_http_saved_bytes_total", .counter, [], .assetCache, "Body bytes to callers that no origin had to send.")
        case .cacheSent: Row("leasehold_cache_http_sent_bytes_total", .counter, [], .assetCache, "Body bytes of the HTTP cache to callers.")
        case .cacheOriginRequests:
            Row("leasehold_cache_origin_requests_total", .counter, ["outcome"], .assetCache, "Requests to origins: answered, failed.")
        case .cacheOrigin: Row("leasehold_cache_origin_seconds", .histogram, [], .assetCache, "From a request to an origin to the head of its answer.")
        case .cacheHostRequests:
            Row("leasehold_cache_host_requests", .gauge, ["host"], .assetCache, "Requests for the 32 hosts that are asked most; a host that comes in anew begins with the count of the one that it replaces.")
        case .cacheHostHits: Row("leasehold_cache_host_hit_ratio", .gauge, ["host"], .assetCache, "Of these requests, the share that no origin had to answer: from 0 to 1.")
        case .cacheDamaged: Row("leasehold_cache_damaged_blobs_total", .counter, [], .assetCache, "Blobs that were not what their name says, and are not served.")
        case .cacheProfiles: Row("leasehold_cache_profile_requests_total", .counter, ["kind"], .assetCache, "Requests for browser profiles: read, write, refused.")
        case .backingUp: Row("leasehold_cache_backing_up", .gauge, [], .assetCache, "1 while the store behind answers.")
        case .backingRequests:
            Row("leasehold_cache_backing_requests_total", .counter, ["kind"], .assetCache, "Requests to the store behind: fetch, held (a copy that still holds), head, list, relay, upload, delete.")
        case .backingBytes: Row("leasehold_cache_backing_bytes_total", .counter, ["direction"], .assetCache, "Body bytes from the store behind (in) and to it (out).")
        case .backingErrors:
            Row("leasehold_cache_backing_errors_total", .counter, ["kind"], .assetCache, "failed: it did not answer; refused: it said no; queue-full: writes that were answered SlowDown; unanswered: reads of what is not here while it was away.")
        case .backingQueue: Row("leasehold_cache_backing_queue", .gauge, ["state"], .assetCache, "Names that wait to be sent to the store behind: waiting, refused (tried again later).")
        case .backingQueueOldest: Row("leasehold_cache_backing_queue_oldest_seconds", .gauge, [], .assetCache, "How long the oldest of them waits.")
        case .backingUnsent: Row("leasehold_cache_backing_unsent_bytes", .gauge, [], .assetCache, "Bytes that cannot be evicted before the store behind has them.")

        case .processUp: Row("leasehold_process_up", .gauge, ["process"], .publisher, "1 while the process tells its vitals to the publisher.")
        case .processRestarts: Row("leasehold_process_restarts_total", .counter, ["process"], .publisher, "New processes seen in a place that an earlier one had.")
        case .processUptime: Row("leasehold_process_uptime_seconds", .gauge, ["process"], .everyProcess, "Since the process started.")
        case .processMemory: Row("leasehold_process_resident_bytes", .gauge, ["process"], .everyProcess, "Memory of the process that is resident.")
        case .processCPU: Row("leasehold_process_cpu_seconds_total", .counter, ["process"], .everyProcess, "Processor time that the process used, user and system.")
        case .processTurns: Row("leasehold_process_turns_total", .counter, ["process"], .everyProcess, "Turns of the process's main loop.")
        case .vitalsAge: Row("leasehold_vitals_age_seconds", .gauge, ["process"], .publisher, "Since the process last told its vitals; what it counted is as old.")
        case .vitalsDropped:
            Row("leasehold_vitals_dropped_total", .counter, ["process", "kind"], .everyProcess, "Vitals that were not told because the publisher was slow: rounds of numbers, job ends, events.")

        case .stateAge: Row("leasehold_state_age_seconds", .gauge, [], .publisher, "Since the pool-keeper's word on the pools was last current: 0 while it tells every change.")

        case .buildInfo: Row("leasehold_build_info", .gauge, ["version"], .publisher, "Always 1; the version is the label.")
        case .scrapes: Row("leasehold_publisher_scrapes_total", .counter, ["format"], .publisher, "Answers to /metrics, by format.")
        case .scrapeDuration: Row("leasehold_publisher_scrape_seconds", .gauge, [], .publisher, "How long it took to write the last answer to /metrics.")
        case .pageViewers: Row("leasehold_publisher_page_viewers", .gauge, [], .publisher, "Open status pages.")
        case .spans: Row("leasehold_publisher_spans_total", .counter, ["result"], .publisher, "Spans of traces: sent, or dropped because the collector was slow or away.")
        case .seriesDropped: Row("leasehold_publisher_series_dropped_total", .counter, [], .publisher, "Series that a process told beyond the bound, and that are not shown.")
        case .externalMetrics:
            Row("leasehold_publisher_external_metrics_total", .counter, ["result"], .publisher, "Questions to the External Metrics API, by what became of them: current, stale, blind (503), refused, wrong.")
        case .kedaCalls:
            Row("leasehold_publisher_keda_calls_total", .counter, ["method", "outcome"], .publisher, "Calls of KEDA's: ok, invalid (metadata), not-found (pool or metric), blind (nothing is known yet), busy.")
        case .kedaStreams: Row("leasehold_publisher_keda_streams", .gauge, [], .publisher, "Open streams that are told the moment a pool has jobs.")
        }
    }
}
