import CLinux
import DispatcherCore
import Linux
import Model

/// Where a connection to a worker stands.
enum WorkerState: UInt8 {
    /// The slot is unused.
    case none
    /// connect(2) is under way for the job of `caller`, or for a probe.
    case dialing
    /// Joined with a caller.
    case session
    /// The caller is gone: half-closed, and its output discarded until it is done.
    case ending
    /// Its response is complete: waits for its close, at most `close-grace`.
    case grace
    /// Kept for the next job of its endpoint.
    case idle
    /// A health probe.
    case probe
}

/// One connection to a worker, with the session that runs over it.
struct Worker: ~Copyable {
    var descriptor = Descriptor(owning: -1)
    var generation: UInt32 = 0
    var state = WorkerState.none
    var socket = SocketFlags()
    /// The joined caller's slot, or −1.
    var caller: Int32 = -1
    var job = JobID(slot: 0, generation: 0)
    var endpoint = EndpointID(high: 0, low: 0)
    /// Where it leads.
    var address = SocketAddress.loopback(port: 0)
    var pool: UInt16 = 0
    var listener: UInt16 = 0
    var deadline = WorkerDeadline.none
    /// Served a job before this one on the same connection.
    var isReused = false
    /// The PROXY header of this job was sent.
    var isProxied = false
    /// Keep-alive and the user time-out are set: not before the connection is a second or two old, which most never are.
    var isKeptAlive = false
    /// TCP_NODELAY is set: not before a second write could wait for the first one's acknowledgement.
    var hasNoDelay = false
    /// It has moved what one session may move in a turn, and goes on at the end of the next.
    var hasYielded = false
    /// Caller → worker.
    var up = Relay()
    /// Worker → caller.
    var down = Relay()
    var exchange = Exchange.tunnel
    /// `tcpi_bytes_acked` when this job's first byte was sent: the SYN and what earlier jobs sent.
    var ackedBefore: UInt64 = 0
    /// Bytes that had been taken off this connection before this job.
    var takenBefore: UInt64 = 0
    /// Bytes of this job that this connection's socket has taken.
    var sentBytes: UInt64 = 0
    var traits: CallerTraits = []
    /// What is left of the request's head for the worker's socket.
    var outgoing: Bytes?
    /// Bytes of the response at the front of the worker's socket that leave it once the caller's socket has taken their rewritten form.
    var consumeLater: UInt32 = 0
    /// What the kernel still had for both sides when a deadline was last looked at, in bytes.
    var unsent: UInt32 = 0
    /// The worker's connection can carry another request after this response.
    var keepsAlive = false
    /// The caller's connection stays open after this response.
    var keepsCaller = false
    var chunks = ChunkTreatment.whole
    /// How an `ending` is reported when the worker finishes after all.
    var endingOutcome = Outcome.abandoned
    /// The job may not take longer.
    var jobDeadline = Instant.never
    /// The pool-keeper has, or will have by the order of the link, a duplicate.
    var isEscrowed = false
    /// The loop's turn in which the duplicate was given to the link.
    var escrowTurn: UInt64 = 0
}

/// What a session's bytes are.
enum Exchange: UInt8 {
    /// Raw bytes both ways.
    case tunnel
    /// The request's head is being sent.
    case requestHead
    /// The response's head is awaited (a request body may be on its way).
    case responseHead
    /// The response's body is on its way.
    case responseBody
}

enum WorkerDeadline: UInt8 {
    case none
    case dial
    case firstByte
    case idle
    case abandon
    case grace
    case keep
    case probe
}

/// One direction of a session.
struct Relay {
    enum Mode: UInt8 {
        /// Until FIN.
        case open
        /// Exactly `left` bytes.
        case counted
        /// Until the last chunk.
        case chunked
        /// Nothing (more) to carry.
        case done
    }

    var mode = Mode.done
    /// The last read filled the buffer: splice from here on.
    var isBulk = false
    /// The end was passed on (shutdown).
    var isShut = false
    var pipe: Pipe?
    var inPipe: Int32 = 0
    /// `counted`: bytes left. `chunked`: bytes that were verified and may be spliced.
    var left: UInt64 = 0
    /// Bytes that reached the sink's socket.
    var moved: UInt64 = 0
    var scanner = ChunkScanner()
    /// What a successor must know: see ``commit()``.
    var record = RelayRecord()
    /// Where it is written: a pipe's index plus one, and two copies of the record.
    var base: UnsafeMutablePointer<UInt64>?
    var sequence: UInt16 = 0

    /// Writes the record beside the last one, which counts until the last store: before the step that it describes.
    mutating func commit() {
        guard let base else { return }
        sequence &+= 1
        let words = record.words(sequence: sequence)
        let at = base + RecordLayout.copiesOffset + Int(sequence & 1) * RecordLayout.copyWords
        for i in 1..<6 { at[i] = words[i] }
        lh_store_last(at, words[0])
    }

    /// For the next job on this connection: nothing has begun.
    mutating func restart() {
        let (base, sequence) = (base, sequence)
        self = Relay()
        self.base = base
        self.sequence = sequence
        commit()
    }
}
