/// How one end of a session stands, in bytes of its stream alone: what the kernel says, without SYN and FIN.
public struct Standing: Hashable, Sendable {
    public enum Life: UInt8, Sendable, Hashable {
        /// More may come.
        case open
        /// The peer's FIN has come.
        case ended
        /// There is no connection any more (TCP_CLOSE): it ended on both sides, or was reset. Which of the two, only the position can
        /// tell: a reset that somebody else has read looks like an end to whoever reads next.
        case closed
    }

    public var life: Life
    /// Bytes that were read. When closed, one more if a FIN had come.
    public var taken: UInt64
    /// Bytes that were sent. When closed, one more if our FIN had gone.
    public var given: UInt64

    /// A failure that nobody has read yet: a closed connection with one was reset.
    public var hasError: Bool

    public init(life: Life, taken: UInt64, given: UInt64, hasError: Bool = false) {
        self.life = life
        self.taken = taken
        self.given = given
        self.hasError = hasError
    }
}
