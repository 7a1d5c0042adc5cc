import Model

/// The span of one job in a distributed trace: what its worker was told, and what its parent is.
public struct JobTrace: Hashable, Sendable, BitwiseCopyable {
    /// As the worker reads it: the trace, with our span as its parent.
    public var context: TraceContext
    /// The span that the caller named; 0 where the trace begins here.
    public var parent: UInt64

    public init(_ context: TraceContext, parent: UInt64) {
        self.context = context
        self.parent = parent
    }
}

/// One job's end as it is kept until somebody has been told: plain bits.
public struct JobEndRecord: Hashable, Sendable {
    /// From 1, without gaps, for the life of the seat's records.
    public var sequence: UInt64
    public var job: TicketID
    public var pool: PoolID
    /// ``tenantHash(_:)`` of its tenant's name; 0 is the default one.
    public var tenant: UInt64
    public var urgency: Urgency
    public var ending: JobEnding
    public var reason: Reason?
    public var outcome: Outcome?
    public var arrived: Instant
    public var ended: Instant
    public var lease: JobEnd.Lease?
    public var bytesToWorker: UInt64
    public var bytesFromWorker: UInt64
    public var trace: JobTrace?

    /// 64-bit FNV-1a; 0 for no name.
    public static func tenantHash(_ name: String) -> UInt64 {
        name.isEmpty ? 0 : name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    }
}

/// The last ends of jobs of one dispatcher loop, in words that may outlive the process: bounded, the oldest is overwritten.
public struct JobEndRing {
    private let words: UnsafeMutablePointer<UInt64>

    /// Most ends that are kept.
    public static let capacity = 4096
    private static let headerWords = 8
    private static let entryWords = 24
    public static let words = headerWords + capacity * entryWords

    /// `words` has ``words``, zero or written by this type, and outlives it.
    public init(_ words: UnsafeMutablePointer<UInt64>) { self.words = words }

    /// How many were ever written: the sequence of the newest. Stored by the owner after ``write(_:trace:)``, so that a successor never
    /// reads half an entry.
    public var written: UnsafeMutablePointer<UInt64> { words }
    /// Up to which sequence somebody has been told.
    public var told: UInt64 {
        get { words[1] }
        nonmutating set { words[1] = newValue }
    }

    /// Writes the next entry; it counts once ``written`` has the sequence that is returned. O(1).
    public func write(_ end: JobEnd, trace: JobTrace?) -> UInt64 {
        let sequence = words[0] &+ 1
        let at = entry(sequence)
        at[0] = sequence
        at[1] = end.id.ticket.rawValue
        var bits = UInt64(end.request.pool.rawValue)
        bits |= UInt64(end.ending.rawValue) << 32 | UInt64(end.reason?.rawValue ?? 0) << 36 | UInt64(end.outcome?.rawValue ?? 0) << 44
        bits |= UInt64(end.request.urgency.rawValue) << 52 | UInt64(end.lease?.phase.rawValue ?? 0) << 56
        bits |= (end.lease != nil ? 1 << 60 : 0) | (trace != nil ? 1 << 61 : 0) | (end.lease?.dialed != nil ? 1 << 62 : 0)
        at[2] = bits
        at[3] = JobEndRecord.tenantHash(end.request.tenant)
        at[4] = UInt64(bitPattern: end.arrived.nanoseconds)
        at[5] = UInt64(bitPattern: end.ended.nanoseconds)
        at[6] = end.bytesToWorker
        at[7] = end.bytesFromWorker
        if let lease = end.lease {
            at[8] = lease.id.epoch
            at[9] = lease.id.counter
            at[10] = lease.endpoint.high
            at[11] = lease.endpoint.low
            at[12] = UInt64(bitPattern: lease.granted.nanoseconds)
            at[13] = UInt64(bitPattern: (lease.dialed ?? .zero).nanoseconds)
        }
        if let trace {
            at[14] = trace.context.traceHigh
            at[15] = trace.context.traceLow
            at[16] = trace.context.span
            at[17] = trace.parent
        }
        return sequence
    }

    /// The entry of that sequence; nil when it was overwritten, was never written, or is none of ours.
    public func read(_ sequence: UInt64) -> JobEndRecord? {
        let at = entry(sequence)
        let bits = at[2]
        guard sequence > 0, sequence <= words[0], words[0] - sequence < UInt64(Self.capacity), at[0] == sequence,
            let ending = JobEnding(rawValue: UInt8(truncatingIfNeeded: bits >> 32) & 15),
            let urgency = Urgency(rawValue: UInt8(truncatingIfNeeded: bits >> 52) & 15),
            let phase = LeasePhase(rawValue: UInt8(truncatingIfNeeded: bits >> 56) & 15)
        else { return nil }
        var record = JobEndRecord(
            sequence: sequence, job: TicketID(rawValue: at[1]), pool: PoolID(rawValue: UInt32(truncatingIfNeeded: bits)), tenant: at[3],
            urgency: urgency, ending: ending, reason: Reason(rawValue: UInt8(truncatingIfNeeded: bits >> 36)),
            outcome: Outcome(rawValue: UInt8(truncatingIfNeeded: bits >> 44)), arrived: Instant(nanoseconds: Int64(bitPattern: at[4])),
            ended: Instant(nanoseconds: Int64(bitPattern: at[5])), bytesToWorker: at[6], bytesFromWorker: at[7])
        if bits >> 60 & 1 == 1 {
            record.lease = JobEnd.Lease(
                id: LeaseID(epoch: at[8], counter: at[9]), endpoint: EndpointID(high: at[10], low: at[11]),
                granted: Instant(nanoseconds: Int64(bitPattern: at[12])),
                dialed: bits >> 62 & 1 == 1 ? Instant(nanoseconds: Int64(bitPattern: at[13])) : nil, phase: phase)
        }
        if bits >> 61 & 1 == 1 {
            record.trace = JobTrace(
                TraceContext(traceHigh: at[14], traceLow: at[15], span: at[16], isSampled: true), parent: at[17])
        }
        return record
    }

    private func entry(_ sequence: UInt64) -> UnsafeMutablePointer<UInt64> {
        words + Self.headerWords + Int(sequence % UInt64(Self.capacity)) * Self.entryWords
    }
}
