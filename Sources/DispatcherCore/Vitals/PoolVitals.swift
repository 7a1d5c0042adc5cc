import Model

/// Why a job that had a lease went back in line.
public enum RequeueReason: UInt8, CaseIterable, Sendable, Hashable {
    case dialFailed = 1
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

/// How a wait for a worker ended.
public enum HoldEnding: UInt8, CaseIterable, Sendable, Hashable {
    case leased
    case refused
    case gone

    public var name: String {
        switch self {
        case .leased: "leased"
        case .refused: "refused"
        case .gone: "gone"
        }
    }
}

/// What one dispatcher loop counts of one pool, in words that may outlive the process: a successor goes on counting where they stand.
///
/// Plain words, each of which only grows: a reader in another thread sees them a moment old, never torn. Every method is O(1).
public struct PoolVitals {
    private let words: UnsafeMutablePointer<UInt64>

    /// The layout of one pool's words.
    public enum Layout {
        /// 0: the pool's id, and 2³² where the block is in use.
        static let accepted = 1
        static let endings = 2
        static let bytesToWorkers = 6
        static let bytesFromWorkers = 7
        static let requeues = 8
        static let dialFailures = 16
        static let outcomes = 24
        static let refused = 40
        static let holds = 88
        static let lease = holds + 3 * WordHistogram.words
        static let dial = lease + WordHistogram.words
        public static let words = 256
    }

    /// `words` has ``Layout/words``, zero or written by this type, and outlives it.
    public init(_ words: UnsafeMutablePointer<UInt64>) { self.words = words }

    /// Nil while nobody uses the block.
    public var pool: PoolID? { words[0] >> 32 == 1 ? PoolID(rawValue: UInt32(truncatingIfNeeded: words[0])) : nil }
    public func begin(_ pool: PoolID) { words[0] = 1 << 32 | UInt64(pool.rawValue) }

    // MARK: Counting

    /// A job of this pool got in line.
    public func accept() { words[Layout.accepted] &+= 1 }

    /// A job was lost with its facts: nobody could go on with it.
    public func lose() { words[Layout.endings + Int(JobEnding.cut.rawValue)] &+= 1 }

    /// A job ended for its caller.
    public func count(_ end: JobEnd) {
        words[Layout.endings + Int(end.ending.rawValue)] &+= 1
        words[Layout.bytesToWorkers] &+= end.bytesToWorker
        words[Layout.bytesFromWorkers] &+= end.bytesFromWorker
        if end.ending == .refused, let reason = end.reason { refuse(reason) }
        if let lease = end.lease {
            hold(.leased).add(lease.granted - end.arrived)
            if let dial = end.dial { histogram(Layout.dial).add(dial) }
        } else {
            hold(end.ending == .gone ? .gone : .refused).add(end.hold)
        }
    }

    /// An answer of our own to somebody who waited, or could have.
    public func refuse(_ reason: Reason) {
        guard Int(reason.rawValue) < Layout.holds - Layout.refused else { return }
        words[Layout.refused + Int(reason.rawValue)] &+= 1
    }

    public func requeue(_ reason: RequeueReason) { words[Layout.requeues + Int(reason.rawValue)] &+= 1 }
    public func failDial(_ failure: DialFailure) { words[Layout.dialFailures + Int(failure.rawValue)] &+= 1 }

    /// A lease was released after this time.
    public func release(_ outcome: Outcome, after time: Duration) {
        words[Layout.outcomes + Int(outcome.rawValue)] &+= 1
        histogram(Layout.lease).add(time)
    }

    // MARK: Reading

    public var accepted: UInt64 { words[Layout.accepted] }
    public subscript(_ ending: JobEnding) -> UInt64 { words[Layout.endings + Int(ending.rawValue)] }
    public subscript(_ reason: RequeueReason) -> UInt64 { words[Layout.requeues + Int(reason.rawValue)] }
    public subscript(_ failure: DialFailure) -> UInt64 { words[Layout.dialFailures + Int(failure.rawValue)] }
    public subscript(_ outcome: Outcome) -> UInt64 { words[Layout.outcomes + Int(outcome.rawValue)] }
    public subscript(_ reason: Reason) -> UInt64 { words[Layout.refused + Int(reason.rawValue)] }
    public var bytesToWorkers: UInt64 { words[Layout.bytesToWorkers] }
    public var bytesFromWorkers: UInt64 { words[Layout.bytesFromWorkers] }
    public func hold(_ ending: HoldEnding) -> WordHistogram { histogram(Layout.holds + Int(ending.rawValue) * WordHistogram.words) }
    public var leases: WordHistogram { histogram(Layout.lease) }
    public var dials: WordHistogram { histogram(Layout.dial) }

    private func histogram(_ at: Int) -> WordHistogram { WordHistogram(words + at) }
}

/// How long something took, in fixed buckets from a millisecond to an hour, in words that may outlive the process.
public struct WordHistogram {
    private let at: UnsafeMutablePointer<UInt64>
    /// Count, sum in microseconds, and one word for each bucket.
    static let words = 24

    /// Upper bounds of the buckets in nanoseconds; what is longer is only in ``count``.
    private static let limits: [Int64] = bounds.map(\.nanoseconds)
    public static let bounds: [Duration] = [
        .milliseconds(1), .microseconds(2500), .milliseconds(5), .milliseconds(10), .milliseconds(25), .milliseconds(50), .milliseconds(100),
        .milliseconds(250), .milliseconds(500), .seconds(1), .milliseconds(2500), .seconds(5), .seconds(10), .seconds(30), .seconds(60),
        .seconds(120), .seconds(300), .seconds(600), .seconds(1800), .seconds(3600),
    ]

    init(_ at: UnsafeMutablePointer<UInt64>) { self.at = at }

    /// What is negative, because a clock was read a moment earlier, counts as nothing.
    func add(_ duration: Duration) {
        let nanoseconds = max(0, duration.nanoseconds)
        at[0] &+= 1
        at[1] &+= UInt64(nanoseconds) / 1000
        for (i, limit) in Self.limits.enumerated() where nanoseconds <= limit {
            at[2 + i] &+= 1
            return
        }
    }

    public var count: UInt64 { at[0] }
    public var sum: Duration { .microseconds(Int64(clamping: at[1])) }
    /// How many fell into the bucket and no smaller one.
    public func inBucket(_ i: Int) -> UInt64 { i >= 0 && i < Self.bounds.count ? at[2 + i] : 0 }
}
