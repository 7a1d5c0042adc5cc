import Model
import Wire

/// The External Metrics API of Kubernetes (`external.metrics.k8s.io/v1beta1`): every request with its answer.
///
/// A pool is in the namespace of its Service. What is not known is 503, never 0, and never left out of a sum: an HPA adds up what it gets.
public struct ExternalMetricsAPI: Sendable {
    public static let group = "external.metrics.k8s.io"
    public static let version = "v1beta1"
    static var groupVersion: String { "\(group)/\(version)" }

    /// Numbers that are older are not told.
    public var mostAge: Duration

    public init(mostAge: Duration) { self.mostAge = mostAge }

    public struct Request: Sendable {
        public var method: String
        /// With its query, as it came.
        public var target: String
        public var accept: String?
        public var ifNoneMatch: String?
        public var asker: Asker

        public init(method: String = "GET", target: String, accept: String? = nil, ifNoneMatch: String? = nil, asker: Asker) {
            self.method = method
            self.target = target
            self.accept = accept
            self.ifNoneMatch = ifNoneMatch
            self.asker = asker
        }
    }

    public struct Answer: Sendable, Hashable {
        public var status = 200
        public var contentType = "application/json"
        public var body: [UInt8] = []
        public var headers: [Header] = []
        /// Nil for documents and probes.
        public var result: Result?

        public struct Header: Sendable, Hashable {
            public var name: String
            public var value: String
        }
    }

    /// What became of a request, for the count of them.
    public enum Result: Sendable, Hashable, CaseIterable {
        /// Values that are true now.
        case current
        /// Values with an age.
        case stale
        /// 503: not known, or too old.
        case blind
        /// 401 and 403.
        case refused
        /// 400, 404 and their like.
        case wrong

        public var name: String {
            switch self {
            case .current: "current"
            case .stale: "stale"
            case .blind: "blind"
            case .refused: "refused"
            case .wrong: "wrong"
            }
        }
    }

    /// `wall` is seconds since 1970 at `now`.
    public func answer(_ request: Request, _ publication: Publication, isDraining: Bool, at now: Instant, wall: Double) -> Answer {
        guard let target = RequestTarget(request.target) else {
            return Self.failed(.badRequest, "the request's path or query cannot be decoded")
        }
        let isRead = request.method == "GET" || request.method == "HEAD"
        if let open = openAnswer(target.path, publication, isDraining) { return isRead ? open : Self.methodNotAllowed }
        switch request.asker {
        case .user: break
        case .nobody(let why): return Self.failed(.unauthorized, "Unauthorized: \(why)", result: .refused)
        case .notAllowed(let name):
            return Self.failed(.forbidden, "Forbidden: \"\(name)\" may not speak for others: it is not in allowed-names", result: .refused)
        }
        guard isRead else { return Self.methodNotAllowed }
        guard Self.acceptsJSON(request.accept) else { return Self.failed(.notAcceptable, "only application/json is served here") }
        if var document = document(target.path, publication) {
            let tag = "\"\(Self.hash(document.body))\""
            document.headers.append(.init(name: "ETag", value: tag))
            if request.ifNoneMatch?.split(separator: ",").contains(where: { $0.drop { $0 == " " } == tag }) == true {
                document.status = 304
                document.body = []
            }
            return document
        }
        let prefix = ["apis", Self.group, Self.version, "namespaces"]
        guard target.path.count == 6, target.path.starts(with: prefix) else {
            return Self.failed(.notFound, "the server could not find the requested resource", result: .wrong)
        }
        return values(of: target.path[5], in: target.path[4], target, publication, at: now, wall: wall)
    }

    /// For everybody, as on Kubernetes' own servers: probes have no certificate.
    private func openAnswer(_ path: [String], _ publication: Publication, _ isDraining: Bool) -> Answer? {
        guard path.count == 1 else { return nil }
        switch path[0] {
        case "healthz", "livez": return Self.text(200, "ok")
        case "readyz":
            if isDraining { return Self.text(503, "[-]publisher is draining\nreadyz check failed\n") }
            let knowsSomething = publication.pools.isEmpty || publication.pools.contains { $0.good != nil }
            return knowsSomething
                ? Self.text(200, "ok") : Self.text(503, "[-]state the pool-keeper has not been heard\nreadyz check failed\n")
        case "version": return Answer(body: Self.versionDocument(publication.version))
        default: return nil
        }
    }

    // MARK: Values

    private func values(
        of name: String, in namespace: String, _ target: RequestTarget, _ publication: Publication, at now: Instant, wall: Double
    ) -> Answer {
        guard let metric = ExternalMetric(rawValue: name) else {
            let names = ExternalMetric.allCases.map(\.rawValue).joined(separator: ", ")
            return Self.failed(.notFound, "there is no external metric \"\(name)\"; there are \(names)", metric: name, result: .wrong)
        }
        if let watch = target["watch"], watch != "false", watch != "0" {
            return Self.failed(.methodNotAllowed, "watch is not supported on external metrics", metric: name, result: .wrong)
        }
        let selector: LabelSelector
        do throws(LabelSelector.Malformed) { selector = try LabelSelector(target["labelSelector"] ?? "") } catch {
            return Self.failed(.badRequest, "unable to parse the label selector: \(error)", metric: name, result: .wrong)
        }
        let pools = publication.pools.filter { $0.namespace == namespace && selector.matches(["pool": $0.name]) }
        var told: [(pool: String, state: PoolState, age: Duration)] = []
        for pool in pools {
            switch publication.knowledge(of: pool, at: now) {
            case .unknown(let why): return Self.failed(.serviceUnavailable, why, metric: name, result: .blind)
            case .known(let state, let age):
                guard age <= mostAge else {
                    let why = "pool \(pool.name): what is known is \(seconds(age)) old, and at most \(seconds(mostAge)) is told (max-age)"
                    return Self.failed(.serviceUnavailable, why, metric: name, result: .blind)
                }
                told.append((pool.name, state, age))
            }
        }
        var text = JSONText()
        text.object {
            $0.value("kind", "ExternalMetricValueList")
            $0.value("apiVersion", Self.groupVersion)
            $0.object("metadata") { _ in }
            $0.array("items") { items in
                for (pool, state, age) in told {
                    items.object {
                        $0.value("metricName", metric.rawValue)
                        $0.object("metricLabels") { $0.value("pool", pool) }
                        // When it was true, not when it was asked for. Without a window: it is a moment's, not a rate.
                        $0.value("timestamp", rfc3339(Int64((wall - age.inSeconds).rounded(.down))))
                        $0.value("value", ExternalMetric.quantity(thousandths: metric.thousandths(of: state)))
                    }
                }
            }
        }
        var answer = Answer(body: text.bytes, result: .current)
        if told.isEmpty {
            answer.headers.append(Self.warning(Self.emptinessReason(namespace, publication)))
        } else if let oldest = told.map(\.age).max(), oldest > .zero {
            answer.result = .stale
            answer.headers.append(Self.warning("the pool-keeper does not tell what is now: these values are \(seconds(oldest)) old"))
        }
        return answer
    }

    /// Nothing of the request is said again: it is a header.
    private static func emptinessReason(_ namespace: String, _ publication: Publication) -> String {
        publication.pools.contains { $0.namespace == namespace }
            ? "no pool of this namespace matches the selector"
            : "no pool has its Service in this namespace; a pool is in the namespace of its Service"
    }

    // MARK: Parts of answers

    /// Kubernetes' clients show such a header to people (RFC 7234 §5.5, code 299).
    private static func warning(_ text: String) -> Answer.Header { Answer.Header(name: "Warning", value: "299 - \"\(text)\"") }

    static let methodNotAllowed = {
        var answer = failed(.methodNotAllowed, "the server does not allow this method on the requested resource", result: .wrong)
        answer.headers.append(.init(name: "Allow", value: "GET, HEAD"))
        return answer
    }()

    private static func failed(_ reason: KubernetesStatus.Reason, _ message: String, metric: String? = nil, result: Result? = nil) -> Answer
    {
        Answer(status: reason.code, body: KubernetesStatus(reason: reason, message: message, metric: metric).json, result: result)
    }

    private static func text(_ status: Int, _ text: String) -> Answer {
        Answer(status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }

    /// Parameters do not count: who asks for the aggregated form of discovery as well as for JSON takes the plain one.
    static func acceptsJSON(_ accept: String?) -> Bool {
        guard let accept, !accept.isEmpty else { return true }
        return accept.split(separator: ",").contains { range in
            let kind = (range.split(separator: ";").first ?? "").filter { $0 != " " && $0 != "\t" }.lowercased()
            return kind == "application/json" || kind == "application/*" || kind == "*/*"
        }
    }

    /// FNV-1a, in hexadecimal.
    static func hash(_ bytes: [UInt8]) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return String(hash, radix: 16)
    }

    private func seconds(_ duration: Duration) -> String { "\(max(0, duration.milliseconds / 1000)) s" }
}
