import Model

extension ListenerConfiguration {
    /// Keys that only the other protocol has, as relative paths, sections before their keys.
    var foreignKeys: [String] {
        let other = transport == .http ? "tcp" : "http"
        return Self.schema.keys.flatMap(\.documentation).filter { $0.onlyProtocol == other }.map(\.path)
    }

    /// Those, and the keys that nothing leads to.
    var inapplicableKeys: [String] {
        foreignKeys + (trust.from.isEmpty ? ["trust.headers"] : []) + (address.isIPv6Wildcard ? [] : ["dual-stack"])
    }

    static let schema = Section(initial: ListenerConfiguration(), inapplicable: { $0.inapplicableKeys }) { keys in
        keys.value(
            "name", \.name, .name, traits: [.required, .individual], example: "http",
            "The listener's name; under systemd the socket unit's FileDescriptorName=.")
        keys.value(
            "address", \.address, .address, traits: [.required, .individual, .restart], example: "127.0.0.1:8080",
            "IPv4 or bracketed IPv6 address with port, or unix:PATH; names are not looked up.")
        keys.value(
            "dual-stack", \.dualStack, .flag, traits: [.individual, .restart],
            "Whether [::] takes IPv4 callers too; otherwise it is IPv6 only.")
        keys.value(
            "protocol", \.transport, .choice([("http", .http), ("tcp", .tcp)]), traits: [.individual, .restart],
            "http gives each request a lease of its own, tcp each connection.")
        keys.optional(
            "pool", \.pool, .name, traits: .individual, absent: "", "The pool for everything that comes in here; instead of routes.")
        keys.sections(
            "routes", \.routes, RouteConfiguration.schema, traits: [.individual, .http], start: { _ in RouteConfiguration() },
            label: { _ in nil },
            "Which requests go to which pool; no match is 404.")
        keys.optional(
            "health", \.health, .urlPath, traits: [.individual, .http], absent: "",
            "A path that the dispatcher answers itself: 200, or 503 while draining.")
        keys.section("deadlines", \.deadlines, deadlinesSchema, "How long things may take; each has its own reason and counter.")
        keys.section(
            "limits", \.limits,
            Section(initial: Limits()) { keys in
                keys.value(
                    "head", \.head, .size(1_024...1_048_576), traits: .http,
                    "Request line and fields of one request; more is 431. At most receive-buffer.")
                keys.value("body", \.body, .sizeLimit, traits: .http, "One request body; more is 413.")
            }, traits: .http, "How large things may be.")
        keys.value(
            "ask-after", \.askAfter, .choice([("first-byte", .firstByte), ("accept", .accept)]), traits: .tcp,
            "When a connection asks for an endpoint; accept is for protocols in which the server speaks first.")
        keys.value(
            "parked-fin", \.parkedFIN, .choice([("gone", .gone), ("pass-on", .passOn)]), traits: .tcp,
            "What a caller's end of stream means while it waits: that it left, or that it has said all it will say.")
        keys.value(
            "upgrade", \.upgrade, .list(of: .token), traits: .http, "Upgrade tokens that are passed on to workers; others are removed.")
        keys.section("trust", \.trust, trustSchema, "Whose word counts.")
        keys.value(
            "tenant-header", \.tenantHeader, .fieldName, traits: .http,
            "The field that names a job's tenant; counts only of callers that are trusted in tenant, and is removed from others.")
        keys.optional(
            "tenant", \.tenant, .name, absent: "default",
            "The tenant of what comes in here, where no trusted caller names one; every pool behind must have it.")
        keys.optional(
            "urgency", \.urgency, .urgency, absent: "the request's Priority, else 3",
            "The urgency of what comes in here, 0 (first) to 7, whatever a request says.")
        keys.value(
            "expose", \.expose, .list(of: .choice([("lease", .lease), ("timing", .timing), ("endpoint", .endpoint)])), traits: .http,
            "Which of Leasehold-Lease, Server-Timing and Leasehold-Endpoint callers see.")
        keys.section(
            "proxy-protocol", \.proxyProtocol,
            Section(initial: ProxyProtocol()) { keys in
                keys.value(
                    "accept", \.accept, .flag,
                    "Whether connections from trust.from begin with a PROXY v1 or v2 header.")
                keys.value(
                    "send", \.send, .choice([("none", .none), ("v2", .v2)]),
                    "Whether workers get a PROXY v2 header, with the lease in a TLV.")
            }, "HAProxy's PROXY protocol.")
        keys.value(
            "receive-buffer", \.receiveBuffer, .size(4_096...67_108_864), traits: .restart,
            "SO_RCVBUF of each connection: what a caller can send before it has a worker.")
        keys.value(
            "backlog", \.backlog, .count(1...65_535), traits: .restart, "Connections that the kernel holds before they are accepted.")
    }

    private static let deadlinesSchema = Section(initial: Deadlines()) { keys in
        keys.value(
            "head", \.head, .duration(atLeast: .milliseconds(10), atMost: .seconds(3_600)), traits: .http,
            "From the first byte of a request to the end of its head; then 408.")
        keys.value(
            "keep-alive", \.keepAlive, .duration(atLeast: .zero), traits: .http,
            "From the end of a response to the next request; 0 closes after each response.")
        keys.value(
            "first-byte", \.firstByte, .deadline, traits: .http,
            "From the request's head at the worker to the first byte of its response; then 504 and quarantine.")
        keys.value("idle", \.idle, .deadline, traits: .http, "Nothing moved in a request or response body.")
        keys.value("tunnel-idle", \.tunnelIdle, .deadline, "Nothing moved in a tunnel (Upgrade) or a TCP connection.")
        keys.value("job", \.job, .deadline, "From lease to end, whatever moves.")
        keys.value(
            "drain", \.drain, .duration(atLeast: .zero), "From SIGTERM to the end of what still runs.")
    }

    private static let trustSchema = Section(initial: Trust()) { keys in
        keys.value(
            "from", \.from, .list(of: .peer),
            "Address blocks of callers that are believed; unix means every caller of a Unix socket.")
        keys.value(
            "headers", \.headers,
            .list(
                of: .choice([("tenant", .tenant), ("affinity", .affinity), ("priority", .priority), ("forwarded", .forwarded)])),
            traits: .http,
            "What they are believed in. Others are believed in affinity, and in Priority only to lower their urgency.")
    }
}

extension RouteConfiguration {
    static let schema = Section(initial: RouteConfiguration()) { keys in
        keys.value(
            "host", \.host, .host,
            "\"*\" for any, a name, or *.example.org for one label or more below it; without port.")
        keys.value(
            "path", \.path, .routePath,
            "Whole segments: /a takes /a and /a/b, not /ab; the longest path that matches wins.")
        keys.value("pool", \.pool, .name, traits: .required, example: "browsers", "The pool's name.")
        keys.optional("tenant", \.tenant, .name, absent: "the listener's", "The tenant of these requests, instead of the listener's.")
        keys.optional(
            "urgency", \.urgency, .urgency, absent: "the listener's", "The urgency of these requests, whatever they say, instead of the listener's.")
        keys.optional(
            "most-urgent", \.mostUrgent, .urgency, absent: "0", "No request here is more urgent than this, whoever is trusted in Priority.")
    }
}
