/// How the shared words are divided. Another version, or other sizes, and a successor does not read them.
///
/// A header: magic, version, the two counts, and the listeners. Then a record for each caller's slot, one for each worker's slot, the addresses of callers
/// that came through a balancer, and what was counted: a successor goes on counting. Sparse: slots that were never used cost nothing.
public enum RecordLayout {
    public static let magic: UInt64 = 0x3144_524f_4345_524c  // "LRECORD1"
    public static let version: UInt64 = 2
    public static let headerWords = 512
    /// One more than the highest slot of a caller that was ever used.
    public static let callersUsedAt = 4
    /// A number that stands for each listener by its name and protocol, in order: another configuration may count them differently.
    public static let listenersAt = 8
    public static let listeners = headerWords - listenersAt
    /// Slots that have a record; a connection in a higher slot is not put in escrow.
    public static let callers = 1 << 20
    public static let workers = 1 << 18
    /// See ``CallerRecord``.
    public static let callerWords = 8
    /// ``WorkerRecord`` and its two relays.
    public static let workerWords = 64
    /// A relay: a pipe's index plus one, and two copies of a ``RelayRecord``, of which the one with the later sequence counts.
    public static let upOffset = 16
    public static let downOffset = 40
    public static let copiesOffset = 8
    public static let copyWords = 8
    /// Address (high, low), port with family, believed headers plus 256.
    public static let peerWords = 4
    public static let callersAt = headerWords
    public static let workersAt = callersAt + callers * callerWords
    public static let peersAt = workersAt + workers * workerWords
    /// What is counted of each pool, the first block for what belongs to none: see ``PoolVitals``. Pools beyond are counted in memory of the process's own.
    public static let vitalsAt = peersAt + callers * peerWords
    public static let vitalsBlocks = 256
    public static let words = vitalsAt + vitalsBlocks * PoolVitals.Layout.words
}
