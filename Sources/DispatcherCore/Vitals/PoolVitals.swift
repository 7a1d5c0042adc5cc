import Model
import Wire

/// Why a job that had a lease went back in line.
public enum RequeueReason: UInt8, CaseIterable, Sendable, Hashable {
    case dialFailed = 0
    /// The worker said Busy.
    case busy
    /// The worker was lost, and its host had acknowledged nothing of the job.
    case lostBeforeResponse
    /// The grant came too late to be used, or a kept connection had ended.
    case unused

    public var name: String {
        switch self {
        case .dialFailed: "dial-failed"
        case .busy: "busy"
        case .lostBeforeResponse: "lost-before-response"
        case .unused: "unused"
        }
    }

    /// What a job is sent back for after this end of its lease.
    public init(_ outcome: Outcome) {
        switch outcome {
        case .busy: self = .busy
        case .lostBeforeResponse: self = .lostBeforeResponse
        case .served, .abandoned, .lostAfterResponse, .firstByteTimeout, .endingTimeout, .cut, .unused, .probePassed, .probeFailed:
            self = .unused
        }
    }
}

/// What one dispatcher loop counts of one pool, in words that may outlive the process: a successor goes on counting where they stand.
///
/// Every method is O(1) and allocates nothing.
public struct PoolVitals: @unchecked Sendable {
    // One thread writes. The words are aligned and only grow, so a reader in another thread sees each a moment old, never torn.
    private let words: UnsafeMutablePointer<UInt64>

    /// The layout of one pool's words. 0: the pool's id, and 2³² where the block is in use.
    public enum Layout {
        static let accepted = 1
        static let results = 2
        static let bytesIn = 8
        static let bytesOut = 9
        static let requeues = 16
        static let refused = 32
        static let dial = 96
        static let session = dial + WordHistogram.words
        public static let words = 160
    }

    /// `words` has ``Layout/words``, zero or written by this type, and outlives it.
    public init(_ words: UnsafeMutablePointer<UInt64>) { self.words = words }

    /// Nil while nobody uses the block.
    public var pool: PoolID? { words[0] >> 32 == 1 ? PoolID(rawValue: UInt32(truncatingIfNeeded: words[0])) : nil }
    public func begin(_ pool: PoolID) { words[0] = 1 << 32 | UInt64(pool.rawValue) }

    // MARK: Counting

    /// A job of this pool got in line.
    public func accept() { words[Layout.accepted] &+= 1 }

    /// A job ended for its caller.
    public func count(_ end: EndedJob) {
        words[Layout.results + Int(end.result.rawValue)] &+= 1
        words[Layout.bytesIn] &+= end.bytesIn
        words[Layout.bytesOut] &+= end.bytesOut
        if end.result == .refused, let reason = end.reason { refuse(reason) }
        guard let lease = end.lease, let dialed = lease.dialed else { return }
        WordHistogram(words + Layout.dial).add(dialed - lease.granted)
        WordHistogram(words + Layout.session).add(end.ended - dialed)
    }

    /// An answer of our own.
    public func refuse(_ reason: Reason) {
        guard Int(reason.rawValue) < Layout.dial - Layout.refused else { return }
        words[Layout.refused + Int(reason.rawValue)] &+= 1
    }

    public func requeue(_ reason: RequeueReason) { words[Layout.requeues + Int(reason.rawValue)] &+= 1 }

    // MARK: Reading

    public var accepted: UInt64 { words[Layout.accepted] }
    public subscript(_ result: JobEnd.Result) -> UInt64 { words[Layout.results + Int(result.rawValue)] }
    public subscript(_ reason: RequeueReason) -> UInt64 { words[Layout.requeues + Int(reason.rawValue)] }
    public subscript(_ reason: Reason) -> UInt64 { words[Layout.refused + Int(reason.rawValue)] }
    /// To workers, heads included.
    public var bytesIn: UInt64 { words[Layout.bytesIn] }
    /// From workers, heads included.
    public var bytesOut: UInt64 { words[Layout.bytesOut] }

    /// Adds what these words hold to a sum over loops.
    public func add(to total: inout PoolTotal) {
        total.accepted &+= accepted
        total.bytesIn &+= bytesIn
        total.bytesOut &+= bytesOut
        for result in JobEnd.Result.allCases { total.results[Int(result.rawValue)] &+= self[result] }
        for reason in RequeueReason.allCases { total.requeues[Int(reason.rawValue)] &+= self[reason] }
        for reason in Reason.allCases { total.refused[Int(reason.rawValue)] &+= self[reason] }
        WordHistogram(words + Layout.dial).add(to: &total.dial)
        WordHistogram(words + Layout.session).add(to: &total.session)
    }
}

/// What all loops of a dispatcher counted of one pool.
public struct PoolTotal {
    public var accepted: UInt64 = 0
    public var bytesIn: UInt64 = 0
    public var bytesOut: UInt64 = 0
    /// By raw value, as are the others.
    public var results = [UInt64](repeating: 0, count: 8)
    public var requeues = [UInt64](repeating: 0, count: 8)
    public var refused = [UInt64](repeating: 0, count: 64)
    public var dial = WordHistogram.Total()
    public var session = WordHistogram.Total()

    public init() {}
}

/// A ``LatencyHistogram`` in words that may outlive the process.
public struct WordHistogram {
    private let at: UnsafeMutablePointer<UInt64>
    /// Count, sum in microseconds, and one word for each bucket.
    static let words = 32
    private static let limits: [Int64] = LatencyHistogram.bounds.map(\.nanoseconds)

    init(_ at: UnsafeMutablePointer<UInt64>) { self.at = at }

    /// What is negative, because a clock was read a moment earlier, counts as nothing.
    func add(_ duration: Duration) {
        let nanoseconds = max(0, duration.nanoseconds)
        at[0] &+= 1
        at[1] &+= UInt64(nanoseconds) / 1000
        if let bucket = Self.limits.firstIndex(where: { nanoseconds <= $0 }), bucket + 2 < Self.words { at[2 + bucket] &+= 1 }
    }

    func add(to total: inout Total) {
        total.count &+= at[0]
        total.microseconds &+= at[1]
        for i in 0..<Self.limits.count { total.buckets[i] &+= at[2 + i] }
    }

    /// A sum of several.
    public struct Total {
        var count: UInt64 = 0
        var microseconds: UInt64 = 0
        var buckets = [UInt64](repeating: 0, count: LatencyHistogram.bounds.count)

        public init() {}

        /// A reader in another thread may see a bucket before the count that goes with it.
        public var histogram: LatencyHistogram {
            let most = buckets.reduce(0, &+)
            return LatencyHistogram(counts: buckets, count: max(count, most), sum: .microseconds(Int64(clamping: microseconds)))
                ?? LatencyHistogram()
        }
    }
}
