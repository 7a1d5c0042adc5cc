import Model

/// What a response tells its caller of the lease that it came by.
public struct LeaseFacts {
    public var pool: UnsafeRawBufferPointer
    public var lease: LeaseID
    /// From arrival to lease.
    public var hold: Duration
    /// From lease to an established connection.
    public var dial: Duration
    /// The endpoint's name; shown only where the listener exposes it.
    public var endpoint: UnsafeRawBufferPointer

    public init(
        pool: UnsafeRawBufferPointer, lease: LeaseID, hold: Duration, dial: Duration,
        endpoint: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
    ) {
        self.pool = pool
        self.lease = lease
        self.hold = hold
        self.dial = dial
        self.endpoint = endpoint
    }
}

extension ResponseParser {
    /// Writes the whole head that a caller gets. `head` must be the last one that this parser read, out of the
    /// same `bytes`, and `plan` the one made of it. Interim heads get nothing of ours.
    ///
    /// When the sink overflows, the response is a bad one: the head was too large.
    public borrowing func rewrite(
        _ head: ResponseHead, of bytes: UnsafeRawBufferPointer, for traits: CallerTraits, plan: ResponsePlan, facts: LeaseFacts,
        under rules: HTTPRules, into sink: inout ByteSink
    ) {
        let isHTTP10 = traits.contains(.isHTTP10)
        sink.append(isHTTP10 ? "HTTP/1.0 " : "HTTP/1.1 ")
        sink.append(decimal: UInt64(head.status))
        sink.append(byte: .space)
        sink.append(bytes.slice(head.reason))
        sink.append("\r\n")

        var runStart = 0
        var runEnd = 0
        for index in 0..<fields.count {
            let field = fields[index]
            let keeps: Bool
            switch field.name {
            case .other, .host, .expect, .prefer, .priority, .traceparent, .forwarded, .forwardedFor, .forwardedHost, .forwardedProto, .forwardedOther:
                keeps = true
            case .contentLength: keeps = !head.isBare
            case .connection, .keepAlive, .proxyConnection, .te, .transferEncoding, .upgrade, .http2Settings: keeps = false
            case .tenant, .affinity, .busy, .leasehold: keeps = false
            }
            guard keeps, !field.isNominated else { continue }
            if runEnd != Int(field.line) {
                sink.append(bytes.slice(runStart, runEnd))
                runStart = Int(field.line)
            }
            runEnd = fields.lineEnd(index)
        }
        sink.append(bytes.slice(runStart, runEnd))

        if !head.isInterim {
            if rules.expose.contains(.lease) { sink.appendLease(pool: facts.pool, facts.lease) }
            if rules.expose.contains(.endpoint), !facts.endpoint.isEmpty { sink.appendField("Leasehold-Endpoint: ", facts.endpoint) }
            if rules.expose.contains(.timing) {
                sink.append("Server-Timing: hold;dur=")
                sink.append(milliseconds: facts.hold)
                sink.append(", dial;dur=")
                sink.append(milliseconds: facts.dial)
                sink.append("\r\n")
            }
            appendConnection(head, bytes, isHTTP10: isHTTP10, keeps: plan.keepsCaller, into: &sink)
        }
        sink.append("\r\n")
    }

    private func appendConnection(
        _ head: ResponseHead, _ bytes: UnsafeRawBufferPointer, isHTTP10: Bool, keeps: Bool, into sink: inout ByteSink
    ) {
        if head.framing == .chunked, !isHTTP10 { sink.append("Transfer-Encoding: chunked\r\n") }
        if !head.upgrade.isEmpty, !isHTTP10 {
            sink.appendField("Upgrade: ", bytes.slice(head.upgrade))
            sink.append(head.isSwitch || keeps ? "Connection: Upgrade\r\n" : "Connection: Upgrade, close\r\n")
        } else if !keeps {
            sink.append("Connection: close\r\n")
        } else if isHTTP10 {
            sink.append("Connection: keep-alive\r\n")
        }
    }
}
