import Model

/// A complete response of our own. None of its bytes comes from the request.
public struct Answer: Hashable, Sendable {
    public enum Content: Hashable, Sendable {
        /// Status, fields and problem body (RFC 9457) of a reason.
        case problem(Reason)
        /// The health path: 200 `ready`, or 503 `draining`.
        case health(isReady: Bool)
        /// `OPTIONS *`.
        case options
    }

    public var content: Content
    /// ``CallerTraits/isHead`` leaves out the body, ``CallerTraits/isHTTP10`` sets the version;
    /// the connection stays open if they say so and ``closes`` does not.
    public var traits: CallerTraits
    /// End the connection afterwards: the request was not read whole or not understood.
    public var closes: Bool
    /// Seconds, at least 1.
    public var retryAfter: UInt32?
    public var facts: AnswerFacts

    public init(
        _ content: Content, for traits: CallerTraits, closes: Bool, retryAfter: UInt32? = nil, facts: AnswerFacts = AnswerFacts()
    ) {
        self.content = content
        self.traits = traits
        self.closes = closes
        self.retryAfter = retryAfter
        self.facts = facts
    }

    /// The answer to a refused head.
    public init(_ refusal: HeadRefusal) {
        self.init(.problem(refusal.reason), for: refusal.traits, closes: true)
    }

    /// Whether the caller's connection stays open.
    public var keepsCaller: Bool { !closes && traits.contains(.keepsAlive) }

    /// The most bytes that ``write(into:)`` writes.
    public static let mostBytes = 1536

    public func write(into sink: inout ByteSink) {
        let status: Int
        switch content {
        case .problem(let reason): status = reason.status
        case .health(let isReady): status = isReady ? 200 : 503
        case .options: status = 200
        }
        sink.append(traits.contains(.isHTTP10) ? "HTTP/1.0 " : "HTTP/1.1 ")
        sink.append(decimal: UInt64(status))
        sink.append(byte: .space)
        sink.append(Self.phrase(status))
        sink.append("\r\n")
        var body = ByteSink.measuring
        writeBody(into: &body)
        sink.append("Content-Length: ")
        sink.append(decimal: UInt64(body.count))
        sink.append("\r\nX-Content-Type-Options: nosniff\r\n")
        writeFields(into: &sink)
        if let retryAfter {
            sink.append("Retry-After: ")
            sink.append(decimal: UInt64(retryAfter))
            sink.append("\r\n")
        }
        if !keepsCaller {
            sink.append("Connection: close\r\n")
        } else if traits.contains(.isHTTP10) {
            sink.append("Connection: keep-alive\r\n")
        }
        sink.append("\r\n")
        if !traits.contains(.isHead) { writeBody(into: &sink) }
    }

    private func writeFields(into sink: inout ByteSink) {
        switch content {
        case .problem(let reason):
            sink.append("Content-Type: application/problem+json\r\nCache-Control: no-store\r\nProxy-Status: leasehold; error=")
            sink.append(string: reason.proxyStatus)
            sink.append("; details=\"")
            sink.append(string: reason.token)
            sink.append("\"\r\nLeasehold-Reason: ")
            sink.append(string: reason.token)
            sink.append("\r\n")
            if let lease = facts.lease { facts.pool.withUnsafeBytes { sink.appendLease(pool: $0, lease) } }
            if reason == .methodNotAllowed { sink.append(Self.allow) }
        case .health: sink.append("Content-Type: text/plain\r\nCache-Control: no-store\r\n")
        case .options: sink.append(Self.allow)
        }
    }

    private func writeBody(into sink: inout ByteSink) {
        switch content {
        case .problem(let reason):
            sink.append("{\"type\":\"urn:leasehold:reason:")
            sink.append(string: reason.token)
            sink.append("\",\"title\":\"")
            // Titles are our own constants without quotes, backslashes and control characters.
            sink.append(string: reason.title)
            sink.append("\",\"status\":")
            sink.append(decimal: UInt64(reason.status))
            sink.append(",\"reason\":\"")
            sink.append(string: reason.token)
            sink.append("\"")
            if let retryAfter {
                sink.append(",\"retryAfter\":")
                sink.append(decimal: UInt64(retryAfter))
            }
            facts.write(into: &sink)
            sink.append("}\n")
        case .health(let isReady): sink.append(isReady ? "ready\n" : "draining\n")
        case .options: break
        }
    }

    private static let allow: StaticString = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"

    /// Phrases of the statuses that ``Reason`` uses (RFC 9110 §15, RFC 6585).
    private static func phrase(_ status: Int) -> StaticString {
        switch status {
        case 200: "OK"
        case 400: "Bad Request"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 413: "Content Too Large"
        case 417: "Expectation Failed"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: ""
        }
    }
}
