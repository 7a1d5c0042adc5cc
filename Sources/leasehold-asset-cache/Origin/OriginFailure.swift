import AssetCore

/// Why an origin gave no answer, or none that may be passed on.
enum OriginFailure: Error, Hashable, Sendable {
    case badURL
    case refused(TargetRule.Refusal)
    case noSuchHost
    case unreachable
    case connectTimeout
    case responseTimeout
    /// The connection ended, or what came was no HTTP, before the response's head.
    case noResponse
    /// The same in the middle of a body.
    case cut
    case tls
    case loop
    case onlyIfCached
    /// The request's own body did not come whole.
    case callerGone

    var status: Int {
        switch self {
        case .badURL, .callerGone: 400
        case .refused: 403
        case .noSuchHost, .unreachable, .noResponse, .cut, .tls: 502
        case .connectTimeout, .responseTimeout, .onlyIfCached: 504
        case .loop: 508
        }
    }

    /// RFC 9209 §2.3.
    private var word: String {
        switch self {
        case .badURL, .callerGone: "http_request_error"
        case .refused(let refusal):
            switch refusal {
            case .isPrivate, .own: "destination_ip_prohibited"
            case .host, .port: "http_request_denied"
            case .unresolved: "dns_error"
            }
        case .noSuchHost: "dns_error"
        case .unreachable: "connection_refused"
        case .connectTimeout: "connection_timeout"
        case .responseTimeout: "http_response_timeout"
        case .noResponse, .cut: "http_response_incomplete"
        case .tls: "tls_protocol_error"
        case .loop: "proxy_loop_detected"
        case .onlyIfCached: "http_request_denied"
        }
    }

    private var sentence: String {
        switch self {
        case .badURL: "The URL is not an absolute http or https URL."
        case .refused(let refusal):
            switch refusal {
            case .host: "The host is not among fetch.allow-hosts."
            case .isPrivate: "The host has an address that is not of the public internet, and fetch.allow-private does not name it."
            case .own: "The host is this cache itself."
            case .port: "The port is not among fetch.connect-ports."
            case .unresolved: "The host has no address."
            }
        case .noSuchHost: "The host's name has no address."
        case .unreachable: "The origin cannot be reached."
        case .connectTimeout: "The origin did not accept a connection in time."
        case .responseTimeout: "The origin did not answer in time."
        case .noResponse: "The origin's answer was no HTTP response, or none came."
        case .cut: "The origin's answer ended in the middle."
        case .tls: "The origin's certificate or TLS is not acceptable."
        case .loop: "The request has been here before."
        case .onlyIfCached: "Nothing that is stored answers the request, and it says only-if-cached."
        case .callerGone: "The request's body ended early."
        }
    }

    var proxyStatus: String { "leasehold; error=\(word)" }

    /// RFC 9457; says nothing of the request.
    var problem: String { "{\"title\":\"\(sentence)\",\"status\":\(status)}" }
}
