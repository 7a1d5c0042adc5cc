import Model
import Wire

/// What the worker's connection is for.
public enum WorkerConnection: UInt8, Sendable, BitwiseCopyable {
    /// `worker-connections: fresh`: the worker is asked to close after its response.
    case fresh
    /// `worker-connections: reuse`.
    case reused
}

extension RequestParser {
    /// Writes the head that a worker gets, but for its last two lines: those need the lease, so
    /// ``finishRequestHead(_:pool:lease:)`` adds them when it is known.
    ///
    /// `head` must be the last one that this parser read, out of the same `bytes`. The target and the
    /// end-to-end fields stay byte for byte and in order; ours come after them, a `traceparent` of `trace` instead of theirs. When the sink overflows, refuse
    /// with ``Reason/headTooLarge``.
    public borrowing func rewrite(
        _ head: RequestHead, of bytes: UnsafeRawBufferPointer, from peer: Peer, to connection: WorkerConnection, trace: TraceContext? = nil,
        into sink: inout ByteSink
    ) {
        sink.append(bytes.slice(Int(head.methodRange.start), Int(head.target.end)))
        sink.append(" HTTP/1.1\r\n")
        let isForwarded = peer.believed.contains(.forwarded)
        var hasHost = false
        var hasProto = false
        var hasForwardedHost = false
        var runStart = 0
        var runEnd = 0
        for index in 0..<fields.count {
            let field = fields[index]
            let keeps: Bool
            switch field.name {
            case .other, .contentLength, .prefer, .priority: keeps = true
            case .host:
                keeps = true
                hasHost = true
            case .connection, .keepAlive, .proxyConnection, .te, .transferEncoding, .upgrade, .http2Settings: keeps = false
            case .expect: keeps = head.version == .v11
            // One value, so one field: ours is added to theirs below.
            case .forwarded, .forwardedFor: keeps = false
            case .forwardedHost:
                keeps = isForwarded
                hasForwardedHost = isForwarded
            case .forwardedProto:
                keeps = isForwarded
                hasProto = isForwarded
            case .forwardedOther: keeps = isForwarded
            case .tenant: keeps = peer.believed.contains(.tenant)
            case .affinity: keeps = peer.believed.contains(.affinity)
            case .traceparent: keeps = trace == nil
            case .busy, .leasehold: keeps = false
            }
            guard keeps, !field.isNominated else { continue }
            if runEnd != Int(field.line) {
                sink.append(bytes.slice(runStart, runEnd))
                runStart = Int(field.line)
            }
            runEnd = fields.lineEnd(index)
        }
        sink.append(bytes.slice(runStart, runEnd))

        let host = bytes.slice(head.host)
        if !hasHost { sink.appendField("Host: ", host) }
        appendForwarded(head, bytes, from: peer, believed: isForwarded, into: &sink)
        if !hasProto { sink.append("X-Forwarded-Proto: http\r\n") }
        if !hasForwardedHost, !host.isEmpty { sink.appendField("X-Forwarded-Host: ", host) }
        if let trace {
            sink.append("traceparent: ")
            sink.append(string: trace.traceparent)
            sink.append("\r\n")
        }
        appendConnection(head, bytes, to: connection, into: &sink)
    }

    /// `X-Forwarded-For` and `Forwarded` (RFC 7239): a believed peer's values, then the peer itself.
    private func appendForwarded(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, from peer: Peer, believed: Bool, into sink: inout ByteSink
    ) {
        sink.append("X-Forwarded-For: ")
        if believed { appendValues(.forwardedFor, bytes, into: &sink) }
        if let address = peer.address { sink.append(ip: address) } else { sink.append("unknown") }
        sink.append("\r\nForwarded: ")
        if believed { appendValues(.forwarded, bytes, into: &sink) }
        switch peer.address?.family {
        case nil: sink.append("for=unknown")
        case .v4:
            sink.append("for=")
            if let address = peer.address { sink.append(ip: address) }
        case .v6:
            sink.append("for=\"[")
            if let address = peer.address { sink.append(ip: address) }
            sink.append("]\"")
        }
        if !head.host.isEmpty {
            // A valid host holds neither quote nor backslash.
            sink.append(";host=\"")
            sink.append(bytes.slice(head.host))
            sink.append("\"")
        }
        sink.append(";proto=http\r\n")
    }

    private func appendValues(_ name: FieldName, _ bytes: UnsafeRawBufferPointer, into sink: inout ByteSink) {
        for index in 0..<fields.count where fields[index].name == name {
            let value = fields.value(index, of: bytes)
            guard !value.isEmpty else { continue }
            sink.append(value)
            sink.append(", ")
        }
    }

    private func appendConnection(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, to connection: WorkerConnection, into sink: inout ByteSink
    ) {
        if head.framing == .chunked { sink.append("Transfer-Encoding: chunked\r\n") }
        let takesTrailers = head.traits.contains(.takesTrailers)
        if takesTrailers { sink.append("TE: trailers\r\n") }
        if head.traits.contains(.upgrades) {
            // No `close` beside it: some servers compare the whole value. Who is refused closes all the same.
            sink.appendField("Upgrade: ", bytes.slice(head.upgrade))
            sink.append(takesTrailers ? "Connection: Upgrade, TE\r\n" : "Connection: Upgrade\r\n")
            return
        }
        switch connection {
        case .fresh: sink.append(takesTrailers ? "Connection: close, TE\r\n" : "Connection: close\r\n")
        case .reused: if takesTrailers { sink.append("Connection: TE\r\n") }
        }
    }
}

/// The most bytes that ``finishRequestHead(_:pool:lease:)`` adds for a pool name of this length.
public func requestHeadEnding(poolNameBytes: Int) -> Int { poolNameBytes + 62 }

/// `Leasehold-Lease: <pool>/<epoch>.<counter>` and the empty line that ends a rewritten head.
public func finishRequestHead(_ sink: inout ByteSink, pool: UnsafeRawBufferPointer, lease: LeaseID) {
    sink.appendLease(pool: pool, lease)
    sink.append("\r\n")
}

extension ByteSink {
    mutating func appendField(_ nameAndColon: StaticString, _ value: UnsafeRawBufferPointer) {
        append(nameAndColon)
        append(value)
        append("\r\n")
    }

    mutating func appendLease(pool: UnsafeRawBufferPointer, _ lease: LeaseID) {
        append("Leasehold-Lease: ")
        append(pool)
        append(byte: .slash)
        append(lease)
        append("\r\n")
    }
}
