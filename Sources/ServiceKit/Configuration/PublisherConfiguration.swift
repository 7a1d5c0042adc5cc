import Model

/// What tells the outside what is going on.
public struct PublisherConfiguration: Hashable, Sendable {
    public var address = ListenAddress.ip(.loopback(port: 9808))
    /// Names by which it may be asked there, beside addresses and localhost; in lower case.
    public var hosts: [String] = []
    /// Nil is plain HTTP.
    public var tls: CertificateConfiguration?
    /// From SIGTERM to the end of answers that are still being written.
    public var drain = Duration.seconds(5)
    /// Nil sends no traces.
    public var trace: TraceConfiguration?
    /// Nil: autoscalers of Kubernetes cannot ask.
    public var externalMetrics: ExternalMetricsConfiguration?
    /// Nil serves no KEDA.
    public var keda: KedaConfiguration?

    public init() {}
}

/// Where KEDA asks its external scaler.
public struct KedaConfiguration: Hashable, Sendable {
    public var address = ListenAddress.ip(.loopback(port: 9809))

    public init() {}
}

/// A certificate with its key, in PEM, read again when they change.
public struct CertificateConfiguration: Hashable, Sendable {
    /// With its chain. Absolute.
    public var certificate = ""
    /// Absolute.
    public var key = ""

    public init() {}
}

/// The External Metrics API, behind Kubernetes' aggregator.
public struct ExternalMetricsConfiguration: Hashable, Sendable {
    public var address = ListenAddress.ip(.loopback(port: 9443))
    public var serving = CertificateConfiguration()
    /// Certificates of the authority that signs the aggregator's, PEM. Absolute.
    public var requestHeaderAuthority = ""
    /// Common names that may speak for others; none: every name of the authority.
    public var allowedNames = ["front-proxy-client"]
    /// What is known of a pool is told for so long after it was true.
    public var maxAge = Duration.seconds(300)

    public init() {}
}

/// Spans for a collector of OpenTelemetry.
public struct TraceConfiguration: Hashable, Sendable {
    /// The collector's base, to which `/v1/traces` is added.
    public var collector = ""
    /// Of a million jobs without a trace of their caller's, so many.
    public var sample = 10_000

    public init() {}
}

extension PublisherConfiguration {
    static let schema = Section(initial: PublisherConfiguration()) { keys in
        keys.value(
            "address", \.address, .address, traits: .restart,
            "Where /metrics, /healthz, /livez, /readyz, /statusz and the status page are served; under systemd the socket unit's FileDescriptorName=publisher."
        )
        keys.value(
            "hosts", \.hosts, .list(of: .hostName), traits: .restart,
            "Names by which it may be asked there, beside addresses and localhost; on loopback, or with any name here, others get 421.")
        keys.optionalSection(
            "tls", \.tls, CertificateConfiguration.schema, traits: .restart, "Serves HTTPS there; without it, plain HTTP.")
        keys.value(
            "drain", \.drain, .duration(atLeast: .zero, atMost: .seconds(600)), "From SIGTERM to the end of answers that are still being written.")
        keys.optionalSection("trace", \.trace, TraceConfiguration.schema, traits: .restart, "Sends the spans of jobs to a collector of OpenTelemetry.")
        keys.optionalSection(
            "external-metrics", \.externalMetrics, ExternalMetricsConfiguration.schema, traits: .restart,
            "Serves the External Metrics API to Kubernetes' aggregator, for HorizontalPodAutoscalers.")
        keys.optionalSection("keda", \.keda, KedaConfiguration.schema, traits: .restart, "Serves KEDA's external scaler there, over gRPC.")
    }
}

extension KedaConfiguration {
    static let schema = Section(initial: KedaConfiguration()) { keys in
        keys.value(
            "address", \.address, .address, traits: .restart,
            "Where KEDA asks, over gRPC without TLS; under systemd the socket unit's FileDescriptorName=keda.")
    }
}

extension CertificateConfiguration {
    static let schema = Section(initial: CertificateConfiguration()) { keys in
        keys.value(
            "certificate", \.certificate, .path(), traits: [.required, .restart], example: "/etc/leasehold/tls.crt",
            "The certificate with its chain, PEM; read again when it changes.")
        keys.value(
            "key", \.key, .path(), traits: [.required, .restart], example: "/etc/leasehold/tls.key", "Its private key, PEM; read again when it changes.")
    }
}

extension ExternalMetricsConfiguration {
    static let schema = Section(initial: ExternalMetricsConfiguration()) { keys in
        keys.value(
            "address", \.address, .address, traits: .restart,
            "Where it is served, over HTTPS; under systemd the socket unit's FileDescriptorName=external-metrics.")
        keys.value(
            "certificate", \.serving.certificate, .path(), traits: [.required, .restart], example: "/etc/leasehold/external-metrics.crt",
            "The certificate with its chain, PEM, for the name that the aggregator calls (SERVICE.NAMESPACE.svc); read again when it changes.")
        keys.value(
            "key", \.serving.key, .path(), traits: [.required, .restart], example: "/etc/leasehold/external-metrics.key",
            "Its private key, PEM; read again when it changes.")
        keys.value(
            "request-header-ca", \.requestHeaderAuthority, .path(), traits: [.required, .restart], example: "/etc/leasehold/request-header-ca.crt",
            "The authority that signs the aggregator's client certificate, PEM; read again when it changes.")
        keys.value(
            "allowed-names", \.allowedNames, .list(of: .text), traits: .restart,
            "Common names of client certificates that may say for whom they ask (X-Remote-User); [] is every name of that authority.")
        keys.value(
            "max-age", \.maxAge, .duration(atLeast: .zero, atMost: .seconds(86_400)), traits: .restart,
            "How long the last known numbers are told while the pool-keeper does not tell them; then 503, at which an autoscaler leaves everything as it is.")
    }
}

extension TraceConfiguration {
    static let schema = Section(initial: TraceConfiguration()) { keys in
        keys.value(
            "otlp", \.collector, .collector, traits: [.required, .restart], example: "http://127.0.0.1:4318",
            "The collector's address for OTLP over HTTP; /v1/traces is added.")
        keys.value(
            "sample", \.sample, .share, traits: .restart,
            "The share of served jobs whose spans are sent, from 0 to 1; of those whose caller keeps its trace, and of those that were not served, all.")
    }
}

extension ValueType where Value == Int {
    /// `0.01`, in millionths.
    static var share: ValueType {
        .scalar(
            "share",
            parse: { (text, _) throws(Complaint) in
                let parts = text.split(separator: ".", omittingEmptySubsequences: false)
                guard (1...2).contains(parts.count), let whole = Int(parts[0]), (0...1).contains(whole), text.utf8.count <= 8,
                    parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } })
                else { throw Complaint("\(quoted(text)) is not a share", remedy: "write a number from 0 to 1, like 0.01") }
                let digits = parts.count == 2 ? String(parts[1]) : ""
                let millionths = whole * 1_000_000 + (Int(digits + String(repeating: "0", count: 6 - digits.utf8.count)) ?? 0)
                guard millionths <= 1_000_000 else { throw Complaint("\(quoted(text)) is more than all", remedy: "write a number from 0 to 1, like 0.01") }
                return millionths
            },
            render: { value in
                guard value % 1_000_000 != 0 else { return .text("\(value / 1_000_000)") }
                let digits = String(value % 1_000_000)
                var text = "0." + String(repeating: "0", count: 6 - digits.utf8.count) + digits
                while text.hasSuffix("0") { text.removeLast() }
                return .text(text)
            })
    }
}

extension ValueType where Value == String {
    /// `http://HOST:PORT`, perhaps with a path.
    static var collector: ValueType {
        .scalar(
            "URL",
            parse: { (text, _) throws(Complaint) in
                let rest = text.hasPrefix("http://") ? text.dropFirst(7) : text.hasPrefix("https://") ? text.dropFirst(8) : ""
                guard !rest.isEmpty, !rest.hasPrefix("/"), text.utf8.count <= 1024, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
                    !rest.contains("?"), !rest.contains("#"), !rest.contains("@")
                else { throw Complaint("\(quoted(text)) is not a collector's address", remedy: "write it like http://127.0.0.1:4318") }
                return text.hasSuffix("/") ? String(text.dropLast()) : text
            },
            render: { .text($0) })
    }
}
