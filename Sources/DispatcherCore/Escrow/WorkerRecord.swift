import Model

/// A worker's connection as its successor must know it, beside its two ``RelayRecord``s. The lease itself the pool-keeper tells.
public struct WorkerRecord: Hashable, Sendable {
    public enum State: UInt8, Sendable, Hashable {
        case none
        case dialing
        case session
        case ending
        case grace
        case probe
        /// Over; its release (``outcome``) may not have been sent.
        case over
    }

    public var state = State.none
    public var outcome = Outcome.unused
    public var traits: CallerTraits = []
    public var isReused = false
    /// The caller's job that this connection serves.
    public var callerSlot: Int32 = -1
    public var callerGeneration: UInt32 = 0
    public var callerSerial: UInt32 = 0
    public var generation: UInt32 = 0
    public var listener: UInt16 = 0
    public var lease = LeaseID(epoch: 0, counter: 0)
    public var arrived = Instant.zero
    public var granted = Instant.zero
    public var dialed = Instant.zero
    /// The shell's own code for what the deadline means.
    public var deadlineKind: UInt8 = 0
    public var deadline = Instant.never
    public var jobDeadline = Instant.never
    /// Bytes that earlier jobs had sent on this connection, and that had been taken of it.
    public var givenBefore: UInt64 = 0
    public var takenBefore: UInt64 = 0

    public init() {}
}

// The layout, sixteen words. Word 0 is written last where the state changes.
//
//   0  bits 0–7 state, 8–15 outcome, 16–23 traits, 24 reused, 32–63 the caller's serial
//   1  generation, the caller's slot       2  the caller's generation, bits 32–47 listener, 48–55 what the deadline means
//   3–4  lease: epoch, counter             5–7  arrived, granted, dialed (CLOCK_MONOTONIC, ns)
//   8  deadline     9  deadline of the job     10, 11  bytes that earlier jobs had sent, had been sent     12–15  zero

extension WorkerRecord {
    public var words: SIMD16<UInt64> {
        var words = SIMD16<UInt64>()
        words[0] =
            UInt64(state.rawValue) | UInt64(outcome.rawValue) << 8 | UInt64(traits.rawValue) << 16 | (isReused ? 1 << 24 : 0)
            | UInt64(callerSerial) << 32
        words[1] = UInt64(generation) | UInt64(UInt32(bitPattern: callerSlot)) << 32
        words[2] = UInt64(callerGeneration) | UInt64(listener) << 32 | UInt64(deadlineKind) << 48
        words[3] = lease.epoch
        words[4] = lease.counter
        words[5] = UInt64(bitPattern: arrived.nanoseconds)
        words[6] = UInt64(bitPattern: granted.nanoseconds)
        words[7] = UInt64(bitPattern: dialed.nanoseconds)
        words[8] = UInt64(bitPattern: deadline.nanoseconds)
        words[9] = UInt64(bitPattern: jobDeadline.nanoseconds)
        words[10] = givenBefore
        words[11] = takenBefore
        return words
    }

    /// Nil for words that no version of this program writes.
    public init?(_ words: SIMD16<UInt64>) {
        guard let state = State(rawValue: UInt8(truncatingIfNeeded: words[0])),
            let outcome = Outcome(rawValue: UInt8(truncatingIfNeeded: words[0] >> 8))
        else { return nil }
        self.state = state
        self.outcome = outcome
        traits = CallerTraits(rawValue: UInt8(truncatingIfNeeded: words[0] >> 16))
        isReused = words[0] >> 24 & 1 == 1
        callerSerial = UInt32(truncatingIfNeeded: words[0] >> 32)
        generation = UInt32(truncatingIfNeeded: words[1])
        callerSlot = Int32(truncatingIfNeeded: words[1] >> 32)
        callerGeneration = UInt32(truncatingIfNeeded: words[2])
        listener = UInt16(truncatingIfNeeded: words[2] >> 32)
        deadlineKind = UInt8(truncatingIfNeeded: words[2] >> 48)
        lease = LeaseID(epoch: words[3], counter: words[4])
        arrived = Instant(nanoseconds: Int64(bitPattern: words[5]))
        granted = Instant(nanoseconds: Int64(bitPattern: words[6]))
        dialed = Instant(nanoseconds: Int64(bitPattern: words[7]))
        deadline = Instant(nanoseconds: Int64(bitPattern: words[8]))
        jobDeadline = Instant(nanoseconds: Int64(bitPattern: words[9]))
        givenBefore = words[10]
        takenBefore = words[11]
    }
}
