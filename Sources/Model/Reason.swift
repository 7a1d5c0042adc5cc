/// Why a job was answered by Leasehold itself, and with what: the closed list behind `Leasehold-Reason`,
/// the status code, the problem title (RFC 9457) and the error token of `Proxy-Status` (RFC 9209 §2.3).
public enum Reason: UInt8, CaseIterable, Sendable, Hashable {
    case queueFull = 1
    case holdTimeout
    case noEndpoints
    case tenantLimit
    case paused
    case draining
    case dialFailed
    case workerLost
    case workerTimeout
    case badResponse
    case badRequest
    case headTooLarge
    case headTimeout
    case bodyTooLarge
    case expectationFailed
    case methodNotAllowed
    case notImplemented
    case versionNotSupported
    case noRoute
    case keeperUnavailable
    case jobTimeout
    case idleTimeout
    case overloaded

    private var row: (token: String, status: Int, title: String, proxyStatus: String) {
        switch self {
        case .queueFull: ("queue-full", 429, "Every worker is taken and the queue is full", "connection_limit_reached")
        case .holdTimeout: ("hold-timeout", 429, "No worker became free within the hold budget", "connection_limit_reached")
        case .noEndpoints: ("no-endpoints", 503, "The pool has no worker", "destination_unavailable")
        case .tenantLimit: ("tenant-limit", 429, "The tenant is at its limit", "connection_limit_reached")
        case .paused: ("paused", 503, "The pool is paused", "destination_unavailable")
        case .draining: ("draining", 503, "This server is shutting down", "destination_unavailable")
        case .dialFailed: ("dial-failed", 503, "No worker accepted a connection within the hold budget", "connection_refused")
        case .workerLost: ("worker-lost", 502, "The worker was lost before it answered", "connection_terminated")
        case .workerTimeout: ("worker-timeout", 504, "The worker did not answer in time", "http_response_timeout")
        case .badResponse: ("bad-response", 502, "The worker's answer was not valid HTTP", "http_protocol_error")
        case .badRequest: ("bad-request", 400, "The request is not valid HTTP", "http_request_error")
        case .headTooLarge: ("head-too-large", 431, "The request head is too large", "http_request_error")
        case .headTimeout: ("head-timeout", 408, "The request head did not arrive in time", "http_request_error")
        case .bodyTooLarge: ("body-too-large", 413, "The request body is too large", "http_request_error")
        case .expectationFailed: ("expectation-failed", 417, "Only 100-continue can be expected", "http_request_error")
        case .methodNotAllowed: ("method-not-allowed", 405, "The method is not allowed here", "http_request_denied")
        case .notImplemented: ("not-implemented", 501, "The method is not implemented", "http_request_error")
        case .versionNotSupported: ("version-not-supported", 505, "The HTTP version is not supported", "http_request_error")
        case .noRoute: ("no-route", 404, "No route matches the request", "destination_not_found")
        case .keeperUnavailable: ("keeper-unavailable", 503, "The pool-keeper did not answer within the hold budget", "proxy_internal_error")
        case .jobTimeout: ("job-timeout", 504, "The job took longer than it may", "http_response_timeout")
        case .idleTimeout: ("idle-timeout", 408, "Nothing moved for too long", "connection_read_timeout")
        case .overloaded: ("overloaded", 503, "This server is out of descriptors", "proxy_internal_error")
        }
    }

    /// The token in `Leasehold-Reason`, metrics and the journal.
    public var token: String { row.token }
    public var status: Int { row.status }
    /// One sentence for people, constant: it reflects nothing of the request.
    public var title: String { row.title }
    public var proxyStatus: String { row.proxyStatus }
}

/// How a lease ended, as the dispatcher reports it in a release.
public enum Outcome: UInt8, CaseIterable, Sendable, Hashable {
    /// The worker finished its job.
    case served = 1
    /// The caller left, and the worker finished all the same.
    case abandoned
    /// The worker went away before its response began: quarantine.
    case lostBeforeResponse
    /// The worker went away after its response began: the caller was cut. Quarantine, because a process that is dying may accept
    /// one more connection and take a second job with it.
    case lostAfterResponse
    /// Nothing came within `first-byte`: quarantine.
    case firstByteTimeout
    /// The worker said 409 or 503 with `Leasehold-Busy: 1`: quarantine.
    case busy
    /// An *ending* took longer than `abandon`: the connection was reset; quarantine.
    case endingTimeout
    /// A deadline cut the job (idle, job) and the worker's connection was reset: quarantine, because it may still work.
    case cut
    /// The grant was never used: it crossed a cancel or came late. Nothing reached the worker.
    case unused
    /// A health probe passed.
    case probePassed
    /// A health probe failed: quarantine.
    case probeFailed

    /// Whether the endpoint is set aside afterwards.
    public var quarantines: Bool {
        switch self {
        case .served, .abandoned, .unused, .probePassed: false
        case .lostBeforeResponse, .lostAfterResponse, .firstByteTimeout, .busy, .endingTimeout, .cut, .probeFailed: true
        }
    }

    /// Whether the connection was cut under a worker that may still be at the job.
    public var isCut: Bool {
        switch self {
        case .endingTimeout, .cut, .probeFailed: true
        case .served, .abandoned, .lostBeforeResponse, .lostAfterResponse, .firstByteTimeout, .busy, .unused, .probePassed: false
        }
    }

    public var name: String {
        switch self {
        case .served: "served"
        case .abandoned: "abandoned"
        case .lostBeforeResponse: "lost-before-response"
        case .lostAfterResponse: "lost-after-response"
        case .firstByteTimeout: "first-byte-timeout"
        case .busy: "busy"
        case .endingTimeout: "ending-timeout"
        case .cut: "cut"
        case .unused: "unused"
        case .probePassed: "probe-passed"
        case .probeFailed: "probe-failed"
        }
    }
}

/// Why a dial failed.
public enum DialFailure: UInt8, CaseIterable, Sendable, Hashable {
    case refused = 1
    case timedOut
    case unreachable
    case reset
    /// Our own errno (EMFILE, EADDRNOTAVAIL, ENETUNREACH …): never the endpoint's fault, no quarantine.
    case ours

    public var name: String {
        switch self {
        case .refused: "refused"
        case .timedOut: "timed-out"
        case .unreachable: "unreachable"
        case .reset: "reset"
        case .ours: "ours"
        }
    }
}
