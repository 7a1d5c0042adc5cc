import Model

/// A job that has ended, with all facts: for traces and for the page of what happened last.
public struct JobEnd: Hashable, Sendable {
    /// How it ended for its caller; of every job exactly one.
    public enum Result: UInt8, Hashable, Sendable, CaseIterable {
        /// A worker answered.
        case served = 1
        /// Leasehold answered itself.
        case refused
        /// The caller left.
        case gone
        /// The connection was cut: a worker lost after its response began, a deadline.
        case cut

        public var name: String {
            switch self {
            case .served: "served"
            case .refused: "refused"
            case .gone: "gone"
            case .cut: "cut"
            }
        }
    }

    /// As its dispatcher names it.
    public var job: TicketID
    public var pool: PoolID
    public var result: Result
    /// Why it was refused or cut.
    public var reason: Reason?
    public var urgency: Urgency
    public var tenant: String
    public var lease: LeaseID?
    public var endpoint: EndpointID?
    /// Since it ended.
    public var age = Duration.zero
    /// From arrival to its last lease, or to its end where there was none.
    public var hold = Duration.zero
    /// From that lease to the worker's connection; zero where there was none.
    public var dial = Duration.zero
    /// From the worker's connection to the end.
    public var session = Duration.zero
    /// How many workers proved stale before.
    public var requeues: UInt16 = 0
    public var bytesIn: UInt64 = 0
    public var bytesOut: UInt64 = 0
    /// What the caller said, or what was begun here.
    public var trace: TraceContext?

    public init(job: TicketID, pool: PoolID, result: Result, urgency: Urgency = .standard, tenant: String = "") {
        self.job = job
        self.pool = pool
        self.result = result
        self.urgency = urgency
        self.tenant = tenant
    }

    func encode(into writer: inout ByteWriter) {
        writer.ticket(job)
        writer.pool(pool)
        writer.integer(result.rawValue)
        writer.integer(reason?.rawValue ?? 0)
        writer.integer(urgency.rawValue)
        writer.string(tenant.utf8.count <= Bounds.labelBytes ? tenant : tenant.cut(at: Bounds.labelBytes))
        writer.flag(lease != nil)
        if let lease { writer.lease(lease) }
        writer.flag(endpoint != nil)
        if let endpoint { writer.endpoint(endpoint) }
        writer.duration(age)
        writer.duration(hold)
        writer.duration(dial)
        writer.duration(session)
        writer.integer(requeues)
        writer.integer(bytesIn)
        writer.integer(bytesOut)
        writer.flag(trace != nil)
        trace?.encode(into: &writer)
    }

    static func decode(from reader: inout ByteReader) throws(WireError) -> JobEnd {
        var end = JobEnd(job: try reader.ticket(), pool: try reader.pool(), result: try reader.byte(Result.self, "job's result"))
        let reason = try reader.integer(UInt8.self)
        if reason != 0 {
            guard let known = Reason(rawValue: reason) else { throw .unknownValue(field: "reason", value: UInt64(reason)) }
            end.reason = known
        }
        let urgency = try reader.integer(UInt8.self)
        guard let known = Urgency(rawValue: urgency) else { throw .unknownValue(field: "urgency", value: UInt64(urgency)) }
        end.urgency = known
        end.tenant = try reader.string("tenant")
        if try reader.flag("lease") { end.lease = try reader.lease() }
        if try reader.flag("endpoint") { end.endpoint = try reader.endpoint() }
        end.age = try reader.duration("age")
        end.hold = try reader.duration("hold")
        end.dial = try reader.duration("dial")
        end.session = try reader.duration("session")
        end.requeues = try reader.integer()
        end.bytesIn = try reader.integer()
        end.bytesOut = try reader.integer()
        if try reader.flag("trace") { end.trace = try TraceContext.decode(from: &reader) }
        return end
    }
}

/// A job's place in a trace (W3C Trace Context, level 1).
public struct TraceContext: Hashable, Sendable {
    /// The trace, 128 bits, not zero.
    public var high: UInt64
    public var low: UInt64
    /// The caller's span; zero where the trace begins here.
    public var parent: UInt64
    /// The span that the worker was told as its parent: that of the session.
    public var session: UInt64
    /// The caller has decided that the trace is kept.
    public var isSampled: Bool

    public init(high: UInt64, low: UInt64, parent: UInt64 = 0, session: UInt64 = 0, isSampled: Bool = false) {
        self.high = high
        self.low = low
        self.parent = parent
        self.session = session
        self.isSampled = isSampled
    }

    func encode(into writer: inout ByteWriter) {
        writer.integer(high)
        writer.integer(low)
        writer.integer(parent)
        writer.integer(session)
        writer.flag(isSampled)
    }

    static func decode(from reader: inout ByteReader) throws(WireError) -> TraceContext {
        TraceContext(
            high: try reader.integer(), low: try reader.integer(), parent: try reader.integer(), session: try reader.integer(),
            isSampled: try reader.flag("sampled"))
    }
}

extension TraceContext {
    /// A `traceparent` field: 00-TRACE-SPAN-FLAGS in lower-case hexadecimal; of a later version what this one knows. Nil for anything else, as
    /// the specification wants it: then a trace begins here.
    public init?(traceparent: some Collection<UInt8>) {
        let bytes = Array(traceparent.prefix(56))
        guard bytes.count >= 55, bytes[2] == 0x2d, bytes[35] == 0x2d, bytes[52] == 0x2d,
            let version = Self.number(bytes[0..<2]), version != 0xff, version != 0 || bytes.count == 55,
            bytes.count == 55 || bytes[55] == 0x2d,
            let high = Self.number(bytes[3..<19]), let low = Self.number(bytes[19..<35]), let parent = Self.number(bytes[36..<52]),
            let flags = Self.number(bytes[53..<55]), high | low != 0, parent != 0
        else { return nil }
        self.init(high: high, low: low, parent: parent, isSampled: flags & 1 != 0)
    }

    /// As the worker is told: its parent is the session's span.
    public var traceparent: String {
        "00-\(Self.hex(high))\(Self.hex(low))-\(Self.hex(session == 0 ? parent : session))-\(isSampled ? "01" : "00")"
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for digit in digits {
            // Upper case is not allowed there.
            guard let nibble = digit.hexNibble, !(0x41...0x46).contains(digit) else { return nil }
            value = value << 4 | UInt64(nibble)
        }
        return value
    }

    private static func hex(_ value: UInt64) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}
