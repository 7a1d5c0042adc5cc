import Model
import Wire

/// The spans of jobs as an `ExportTraceServiceRequest` (opentelemetry-proto 1.x, trace/v1), written as protobuf by hand: eight messages.
///
/// A job is a server's span, below the caller's where the caller has one; below it are `hold` and `lease`, and below that `dial` and
/// `session`, whose number the worker was told as its parent.
public struct SpanEncoder {
    /// A job's end, and when it was.
    public struct Ended: Sendable, Hashable {
        public var job: JobEnd
        public var pool: String
        /// Nanoseconds since 1970.
        public var at: UInt64

        public init(job: JobEnd, pool: String, at: UInt64) {
            self.job = job
            self.pool = pool
            self.at = at
        }
    }

    /// Spans in what ``encode(_:version:random:)`` returned.
    public private(set) var count = 0
    private let random: () -> UInt64

    private init(_ random: @escaping () -> UInt64) { self.random = random }

    /// `random` gives the numbers of spans, and of traces that begin here.
    public static func encode(_ jobs: [Ended], version: String, random: @escaping () -> UInt64) -> (bytes: [UInt8], spans: Int) {
        var encoder = SpanEncoder(random)
        var scope = Protobuf()
        scope.message(1) {
            $0.string(1, "leasehold")
            $0.string(2, version)
        }
        for job in jobs { encoder.spans(of: job, into: &scope) }
        var out = Protobuf()
        out.message(1) {
            $0.message(1) { $0.attribute(1, "service.name", "leasehold") }
            $0.bytes(2, scope.bytes)
        }
        return (out.bytes, encoder.count)
    }

    /// Never 0, which is no number.
    private func number() -> UInt64 { max(1, random()) }

    private mutating func spans(of ended: Ended, into scope: inout Protobuf) {
        let job = ended.job
        let trace = job.trace ?? TraceContext(high: random(), low: number())
        let id = Self.bytes(trace.high) + Self.bytes(trace.low)
        let end = ended.at
        let granted = back(end, job.session + job.dial)
        let arrival = back(granted, job.hold)
        let root = number()
        span(&scope, id, root, parent: trace.parent, "job", kind: .server, arrival, end) {
            $0.attribute(9, "leasehold.pool", ended.pool)
            $0.attribute(9, "leasehold.job", "\(job.job.rawValue)")
            $0.attribute(9, "leasehold.result", job.result.name)
            $0.attribute(9, "leasehold.tenant", job.tenant.isEmpty ? "default" : job.tenant)
            $0.attribute(9, "leasehold.urgency", Int64(job.urgency.rawValue))
            $0.attribute(9, "leasehold.requeues", Int64(job.requeues))
            $0.attribute(9, "leasehold.bytes_in", Int64(clamping: job.bytesIn))
            $0.attribute(9, "leasehold.bytes_out", Int64(clamping: job.bytesOut))
            if let reason = job.reason { $0.attribute(9, "leasehold.reason", reason.token) }
            switch job.result {
            case .served, .gone: break
            case .refused, .cut: $0.message(15) { $0.integer(3, 2) }  // STATUS_CODE_ERROR
            }
        }
        span(&scope, id, number(), parent: root, "hold", kind: .inside, arrival, granted) { _ in }
        guard let lease = job.lease else { return }
        let connected = back(end, job.session)
        let leaseSpan = number()
        span(&scope, id, leaseSpan, parent: root, "lease", kind: .inside, granted, end) {
            $0.attribute(9, "leasehold.lease", lease.description)
            if let endpoint = job.endpoint { $0.attribute(9, "leasehold.endpoint", endpoint.description) }
        }
        span(&scope, id, number(), parent: leaseSpan, "dial", kind: .client, granted, connected) { _ in }
        guard job.session > .zero else { return }
        span(&scope, id, trace.session == 0 ? number() : trace.session, parent: leaseSpan, "session", kind: .client, connected, end) { _ in }
    }

    private enum Kind: UInt64 {
        case inside = 1
        case server = 2
        case client = 3
    }

    private mutating func span(
        _ scope: inout Protobuf, _ trace: [UInt8], _ id: UInt64, parent: UInt64, _ name: String, kind: Kind, _ start: UInt64, _ end: UInt64,
        _ more: (inout Protobuf) -> Void
    ) {
        count += 1
        scope.message(2) {
            $0.bytes(1, trace)
            $0.bytes(2, Self.bytes(id))
            if parent != 0 { $0.bytes(4, Self.bytes(parent)) }
            $0.string(5, name)
            $0.integer(6, kind.rawValue)
            $0.fixed64(7, start)
            $0.fixed64(8, end)
            more(&$0)
        }
    }

    private func back(_ time: UInt64, _ duration: Duration) -> UInt64 {
        let (earlier, overflow) = time.subtractingReportingOverflow(UInt64(clamping: duration.nanoseconds))
        return overflow ? 0 : earlier
    }

    private static func bytes(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * $0)) } }
}

/// Protobuf's wire format, as far as it is needed.
struct Protobuf {
    private(set) var bytes: [UInt8] = []

    private mutating func varint(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: value))
    }

    mutating func integer(_ field: UInt64, _ value: UInt64) {
        varint(field << 3)
        varint(value)
    }

    mutating func fixed64(_ field: UInt64, _ value: UInt64) {
        varint(field << 3 | 1)
        for i in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * i))) }
    }

    mutating func bytes(_ field: UInt64, _ content: [UInt8]) {
        varint(field << 3 | 2)
        varint(UInt64(content.count))
        bytes.append(contentsOf: content)
    }

    mutating func string(_ field: UInt64, _ text: String) { bytes(field, Array(text.utf8)) }

    mutating func message(_ field: UInt64, _ write: (inout Protobuf) -> Void) {
        var inner = Protobuf()
        write(&inner)
        bytes(field, inner.bytes)
    }

    /// A KeyValue with an AnyValue.
    mutating func attribute(_ field: UInt64, _ key: String, _ value: String) {
        message(field) {
            $0.string(1, key)
            $0.message(2) { $0.string(1, value) }
        }
    }

    mutating func attribute(_ field: UInt64, _ key: String, _ value: Int64) {
        message(field) {
            $0.string(1, key)
            $0.message(2) { $0.integer(3, UInt64(bitPattern: value)) }
        }
    }
}
