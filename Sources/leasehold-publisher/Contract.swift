// leasehold-publisher
//
// PURPOSE     Tells the outside what is going on: metrics, health, a status page, traces.
// ACCEPTS     HTTP/1.1, or HTTPS with `tls`: /metrics (Prometheus text or OpenMetrics), /healthz, /livez, /readyz, /statusz, /pressure
//             (browserless), /status (Selenoid), / (the status page) with /events (server-sent events). control edge: show listeners,
//             show process. With `external-metrics`: the External Metrics API of Kubernetes, over HTTPS, for the aggregator, which is told from
//             others by its client certificate; /healthz, /livez, /readyz and /version there for everybody.
//             show process. With `keda`: gRPC, KEDA's external scaler (IsActive, StreamIsActive, GetMetricSpec, GetMetrics).
// SENDS       state edge: which pools it wants endpoint by endpoint, while somebody looks. vitals edges: how many jobs it wants told. With
//             `trace`: spans to a collector, OTLP over HTTP.
// HOLDS       nothing that its neighbours do not tell again.
// PRIVILEGES  listens; reads its certificates and the request-header authority. Groups leasehold-state, leasehold-endpoints and leasehold-vitals.
// SIGNALS     SIGTERM says not ready, finishes the answers that are being written, at most `drain`, and stops; a second one stops at once.
//             SIGHUP reads pools anew.
// WHEN IT FAILS   nobody is told anything for a moment. No job waits for it: its neighbours drop and count what it does not take.
// WITHOUT THE POOL-KEEPER   what was known last is told, with its age (leasehold_state_age_seconds, stateAgeMs; for KEDA leasehold-age-ms), never 0.
//             The External Metrics API tells it with its time, for `max-age`, then 503; where nothing was ever known, KEDA is told UNAVAILABLE.
// KNOWN LIMITS    No authentication at `address`: listen on loopback, or put something in front. A counter begins anew with its process, as Prometheus
//                 expects; leasehold_process_restarts_total counts from the publisher's own start. KEDA is served without TLS.
