import Model

extension PoolConfiguration {
    /// Keys that nothing leads to; relative paths.
    var inapplicableKeys: [String] { (reuse == .whenReady ? [] : ["settle"]) + (service == nil ? ["port"] : []) }

    static let schema = Section(initial: PoolConfiguration(), inapplicable: { $0.inapplicableKeys }) { keys in
        keys.value(
            "name", \.name, .name, traits: [.required, .individual], example: "browsers",
            "The pool's name in routes, metrics, tokens and commands.")
        keys.optional(
            "service", \.service, .service, traits: .individual, absent: "", "The Service whose endpoints the pool takes from the source.")
        keys.value(
            "port", \.port, .servicePort, absent: "the Service's only port",
            "Name or number of the Service port (not the pods').")
        keys.value(
            "policy", \.sharing,
            .choice(
                [("lease", Sharing.lease)],
                refused: ["power-of-two", "ring", "least-requests"].map { ($0, "write lease, or leave the key out") }),
            "How callers get an endpoint: lease gives each job a slot of its own and holds it until one is free.")
        keys.value("slots", \.slots, .count(1...65_535), "Jobs that one endpoint may run at once.")
        keys.section(
            "hold", \.hold,
            Section(initial: Hold()) { keys in
                keys.value(
                    "timeout", \.timeout, .duration(atLeast: .milliseconds(1)),
                    "How long a job may wait from arrival to lease; then 429.")
                keys.optional(
                    "no-endpoints-timeout", \.noEndpoints, .duration(atLeast: .zero), absent: "hold.timeout",
                    inForce: { $0.noEndpoints ?? $0.timeout }, "The same while the pool has no endpoint; then 503.")
                keys.value(
                    "max-queued", \.maxQueued, .count(0...10_000_000),
                    "Most jobs that wait; one more is answered 429 at once.")
            }, "Waiting for an endpoint.")
        keys.section("tenants", \.tenants, tenantsSchema, "Whose jobs share the pool, each under its name; jobs of nobody named are default's.")
        keys.section(
            "queue", \.queue,
            Section(initial: Queue()) { keys in
                keys.value(
                    "age-after", \.ageAfter, .duration(atLeast: .zero),
                    "A job rises one urgency each time it has waited this long; 0 for never.")
                keys.value(
                    "shed", \.shed, .choice([("newest", .newest), ("oldest", .oldest)]),
                    "Who is answered 429 when the queue is full: the job that comes, or the oldest of the least urgent if that one is no more urgent.")
                keys.value("max-bytes", \.maxBytes, .sizeLimit, "Most bytes of request heads that wait; one more job is answered 429 at once.")
            }, "The order of those who wait, and how much may wait.")
        keys.section(
            "affinity", \.affinity,
            Section(initial: Affinity()) { keys in
                keys.value(
                    "wait", \.wait, .duration(atLeast: .zero, atMost: .seconds(3_600)),
                    "How long a job waits for the endpoint that last served its Leasehold-Affinity key, before it takes any.")
            }, "Giving a caller the endpoint that it had before.")
        keys.value(
            "reserve", \.reserve, .count(0...100_000),
            "Free endpoints that are kept for jobs of urgency 0, and for other pools that share them.")
        keys.section(
            "dial", \.dial,
            Section(initial: Dial()) { keys in
                keys.value(
                    "timeout", \.timeout, .duration(atLeast: .milliseconds(1), atMost: .seconds(60)),
                    "How long one connection attempt may take; then another endpoint is tried.")
                keys.value(
                    "by", \.by, .duration(atLeast: .milliseconds(10), atMost: .seconds(60)),
                    "A grant that is older than this is given back unused.")
            }, "Connecting to an endpoint.")
        keys.section(
            "quarantine", \.quarantine,
            Section(initial: Quarantine()) { keys in
                keys.value(
                    "first", \.first, .duration(atLeast: .milliseconds(1), atMost: .seconds(86_400)),
                    "How long an endpoint is set aside after a failure.")
                keys.value(
                    "most", \.most, .duration(atLeast: .milliseconds(1), atMost: .seconds(86_400)),
                    "The time doubles up to this on repeats.")
            }, "Setting a failing endpoint aside.")
        keys.value(
            "worker-connections", \.workerConnections, .choice([("fresh", .fresh), ("reuse", .reuse)]),
            "fresh dials for every job; reuse keeps one idle HTTP connection per worker for its next job.")
        keys.value(
            "reuse", \.reuse, .choice([("immediate", .immediate), ("when-ready", .whenReady), ("never", .never)]),
            "When an endpoint is free after a lease: at once, when its readiness has come back, or never (single-use workers).")
        keys.value(
            "settle", \.settle, .duration(atLeast: .milliseconds(1), atMost: .seconds(3_600)),
            "For reuse: when-ready, ready for this long counts as come back; set it above periodSeconds × failureThreshold.")
        keys.value(
            "order", \.order, .choice([("spread", .spread), ("pack", .pack)]),
            "Which free endpoint comes first: the least recently used, or the most recently used (so that scale-in finds idle ones).")
        keys.optionalSection("health", \.health, healthSchema, "Probes of free endpoints over HTTP; a probe holds the slot.")
        keys.value(
            "close-grace", \.closeGrace, .duration(atLeast: .zero, atMost: .seconds(60)),
            "From a complete response to the end of the lease, when the worker does not close first.")
        keys.value(
            "abandon", \.abandon, .duration(atLeast: .zero, atMost: .seconds(86_400)),
            "How long a worker may finish a job whose caller is gone; then it is cut and quarantined. One whose dispatcher died is quarantined for as long.")
        keys.optionalSection(
            "workers", \.workers, WorkersConfiguration.schema, traits: .individual,
            "Local workers, started and stopped by the scaler and merged with the source.")
    }

    private static let tenantsSchema = Section(initial: Tenants()) { keys in
        keys.value(
            "from", \.from, .choice([("header", .header), ("listener", .listener)]),
            "Where a job's tenant comes from: the field of a caller that the listener trusts in it, or only what the listener or the route says.")
        keys.section("default", \.standard, tenantSchema, "Jobs of no other tenant.")
        keys.namedSections("NAME", \.named, tenantSchema, "One tenant, under the name that its jobs carry.")
    }

    private static let tenantSchema = Section(initial: TenantLimits()) { keys in
        keys.value(
            "weight", \.weight, .count(1...1_000),
            "Its share of the endpoints beside the other tenants whose jobs of the same urgency wait.")
        keys.optional("max-leased", \.maxLeased, .count(1...1_000_000), absent: "no limit", "Most endpoints that it has at once; more jobs wait.")
        keys.optional(
            "max-queued", \.maxQueued, .count(0...10_000_000), absent: "hold.max-queued",
            "Most of its jobs that wait; one more is answered 429 at once.")
    }

    private static let healthSchema = Section(initial: Health()) { keys in
        keys.value("path", \.path, .urlPath, traits: .required, example: "/healthz", "Asked with GET; 2xx is healthy.")
        keys.value(
            "interval", \.interval, .duration(atLeast: .milliseconds(100), atMost: .seconds(86_400)),
            "Between two probes of one endpoint.")
        keys.value(
            "timeout", \.timeout, .duration(atLeast: .milliseconds(1), atMost: .seconds(60)),
            "From the dial to the end of the answer; after that the probe has failed.")
    }
}

extension WorkersConfiguration {
    static let schema = Section(initial: WorkersConfiguration()) { keys in
        keys.value(
            "command", \.command, .list(of: .text, unique: false, atLeast: 1), traits: .required,
            example: "[my-worker, --port, \"{port}\"]", "Program and arguments, no shell; {port} is replaced by the worker's port.")
        keys.value(
            "ports", \.ports, .ports, traits: .required, example: "21000-21063",
            "One worker on each port of 127.0.0.1: a range, a port, or a list of both.")
        keys.value("min", \.min, .count(0...16_384), "Workers that run without any demand.")
        keys.optional(
            "max", \.max, .count(1...16_384), absent: "one for each port", inForce: { $0.most }, "Most workers that run at once.")
        keys.value(
            "idle", \.idle, .duration(atLeast: .zero), "A worker without a job for this long is stopped, down to min.")
        keys.value(
            "start-timeout", \.startTimeout, .duration(atLeast: .milliseconds(100), atMost: .seconds(3_600)),
            "A worker whose port does not accept by then is stopped and counts as crashed.")
        keys.value(
            "stop-timeout", \.stopTimeout, .duration(atLeast: .zero, atMost: .seconds(3_600)),
            "From SIGTERM to SIGKILL when a worker is stopped.")
        keys.section(
            "backoff", \.backoff,
            Section(initial: Backoff()) { keys in
                keys.value(
                    "first", \.first, .duration(atLeast: .milliseconds(1), atMost: .seconds(3_600)),
                    "The pause before a crashed worker is started again.")
                keys.value(
                    "most", \.most, .duration(atLeast: .milliseconds(1), atMost: .seconds(86_400)),
                    "The pause doubles up to this on repeats.")
            }, "Starting crashed workers again.")
    }
}
