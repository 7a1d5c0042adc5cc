import Model

/// A caller's connection as its successor must know it. What the kernel knows (address, positions, whether it ended) is not here, nor
/// what can be read again: the head of a parked request is still in its socket.
public struct CallerRecord: Hashable, Sendable {
    public enum State: UInt8, Sendable, Hashable {
        case none
        case proxyHeader
        case idle
        /// Its job waits, or is with the worker that names this caller and this `serial`: nothing of it has been sent there.
        case parked
        /// An answer of our own is being sent: ``answer`` says which.
        case answering
        /// Everything was said; what still comes is discarded.
        case closing
        /// Bytes of its job may be with the worker that names this caller and this `serial`. Where that one is in nobody's hands the job is
        /// lost, and never begun again.
        case begun
    }

    public var state = State.none
    public var isRequeued = false
    public var listener: UInt16 = 0
    /// Counts the jobs of this connection: a worker's claim on an earlier one is void.
    public var serial: UInt32 = 0
    public var generation: UInt32 = 0
    /// The shell's own code for what the deadline means.
    public var deadlineKind: UInt8 = 0
    public var deadline = Instant.never
    /// The job, when it arrived, and where it goes; valid while parked or begun.
    public var job = JobID(slot: 0, generation: 0)
    public var arrived = Instant.zero
    public var pool = PoolID(rawValue: 0)
    /// Whose job it is, and how urgent; valid as the job is.
    public var tenant = TenantID.standard
    public var urgency = Urgency.standard
    public var answer = AnswerRecord()

    public init() {}

    /// Whether ``job`` and what goes with it are valid.
    public var hasJob: Bool { state == .parked || state == .begun }
}

/// An answer of our own: enough to write it again where none of it was sent.
public struct AnswerRecord: Hashable, Sendable {
    /// Position at the caller's socket.
    public var at: UInt64 = 0
    public var length: UInt32 = 0
    /// Bytes of the request's head that leave the socket afterwards.
    public var headLength: UInt32 = 0
    /// Of ``Reason``, or one of the other contents.
    public var content: UInt8 = 0
    public var traits: CallerTraits = []
    public var retryAfter: UInt16 = 0
    public var keepsCaller = false
    /// Low bits of the bytes that had left the caller's socket.
    public var taken: UInt64 = 0

    public static let takenMask: UInt64 = 0x7fff_ffff

    /// Not of ``Reason``.
    public static let options: UInt8 = 254
    public static let healthy: UInt8 = 255
    public static let unhealthy: UInt8 = 253

    public init() {}
}

// The layout, eight words. Word 0 is written last where the state changes: what belongs to a state is in words of its own.
//
//   0  bits 0–7 state, 8 requeued, 9–15 what the deadline means, 16–31 listener, 32–63 serial
//   1  low half: generation, high half: generation of the job          2  deadline (CLOCK_MONOTONIC, ns)
//   3  arrived      4  pool, high half: slot of the job                5  answer: position at the sink
//   6  answer: length, length of the head  7  answer: bits 0–7 content, 8–15 traits, 16–31 Retry-After, 32 keeps the caller, 33– bytes taken before
//   With a job, in place of the answer: 5 tenant   6 urgency   7 the mark of its end, see ``endMark(serial:)``

extension CallerRecord {
    public static let tenantWord = 5
    public static let urgencyWord = 6
    public static let markWord = 7

    /// In ``markWord`` once the end of the connection's job with that serial was counted and told: nobody tells it again.
    public static func endMark(serial: UInt32) -> UInt64 { 1 << 63 | UInt64(serial) }

    public var words: SIMD8<UInt64> {
        var words = SIMD8<UInt64>()
        words[0] =
            UInt64(state.rawValue) | (isRequeued ? 1 << 8 : 0) | UInt64(deadlineKind & 0x7f) << 9 | UInt64(listener) << 16
            | UInt64(serial) << 32
        words[1] = UInt64(generation) | UInt64(job.generation) << 32
        words[2] = UInt64(bitPattern: deadline.nanoseconds)
        words[3] = UInt64(bitPattern: arrived.nanoseconds)
        words[4] = UInt64(pool.rawValue) | UInt64(job.slot) << 32
        if hasJob {
            words[5] = tenant.rawValue
            words[6] = UInt64(urgency.rawValue)
            return words
        }
        let answer = answer.words
        words[5] = answer[0]
        words[6] = answer[1]
        words[7] = answer[2]
        return words
    }

    /// Nil for words that no version of this program writes.
    public init?(_ words: SIMD8<UInt64>) {
        guard let state = State(rawValue: UInt8(truncatingIfNeeded: words[0])) else { return nil }
        self.state = state
        isRequeued = words[0] >> 8 & 1 == 1
        deadlineKind = UInt8(truncatingIfNeeded: words[0] >> 9) & 0x7f
        listener = UInt16(truncatingIfNeeded: words[0] >> 16)
        serial = UInt32(truncatingIfNeeded: words[0] >> 32)
        generation = UInt32(truncatingIfNeeded: words[1])
        job = JobID(slot: UInt32(truncatingIfNeeded: words[4] >> 32), generation: UInt32(truncatingIfNeeded: words[1] >> 32))
        deadline = Instant(nanoseconds: Int64(bitPattern: words[2]))
        arrived = Instant(nanoseconds: Int64(bitPattern: words[3]))
        pool = PoolID(rawValue: UInt32(truncatingIfNeeded: words[4]))
        if hasJob {
            tenant = TenantID(rawValue: words[5])
            urgency = Urgency(rawValue: UInt8(truncatingIfNeeded: words[6])) ?? .standard
            return
        }
        answer.at = words[5]
        answer.length = UInt32(truncatingIfNeeded: words[6])
        answer.headLength = UInt32(truncatingIfNeeded: words[6] >> 32)
        answer.content = UInt8(truncatingIfNeeded: words[7])
        answer.traits = CallerTraits(rawValue: UInt8(truncatingIfNeeded: words[7] >> 8))
        answer.retryAfter = UInt16(truncatingIfNeeded: words[7] >> 16)
        answer.keepsCaller = words[7] >> 32 & 1 == 1
        answer.taken = words[7] >> 33
    }
}

extension AnswerRecord {
    /// Words 5 to 7 of its caller's record.
    public var words: SIMD3<UInt64> {
        SIMD3(
            at, UInt64(length) | UInt64(headLength) << 32,
            UInt64(content) | UInt64(traits.rawValue) << 8 | UInt64(retryAfter) << 16 | (keepsCaller ? 1 << 32 : 0)
                | (taken & Self.takenMask) << 33)
    }
}
