/// What a refusal can tell beside its reason.
public struct RefusalFacts: Hashable, Sendable {
    /// When trying again makes sense.
    public var retryAfter: Duration?
    /// Nil where only the pool-keeper could know, and it was not asked.
    public var line: Line?

    public init(retryAfter: Duration? = nil, line: Line? = nil) {
        self.retryAfter = retryAfter
        self.line = line
    }

    /// The pool's queue at the moment of the refusal.
    public struct Line: Hashable, Sendable {
        /// The job's place, 1 for the next; 0 when it was not in line.
        public var position: UInt32
        /// Jobs that waited, this one included if it was in line.
        public var queued: UInt32
        /// How long the oldest of them had waited.
        public var oldestWait: Duration

        public init(position: UInt32, queued: UInt32, oldestWait: Duration) {
            self.position = position
            self.queued = queued
            self.oldestWait = oldestWait
        }
    }
}
