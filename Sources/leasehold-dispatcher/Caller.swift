import DispatcherCore
import Linux
import Model

/// Where a caller's connection stands.
enum CallerState: UInt8 {
    /// The slot is unused.
    case none
    /// A PROXY header must come first.
    case proxyHeader
    /// No job: waits for the first byte (TCP) or the next head (HTTP).
    case idle
    /// Its job waits for a lease, or its worker is being dialled.
    case parked
    /// Joined with a worker.
    case session
    /// Our answer is being sent, or the rest of its request is being discarded.
    case closing
}

/// One accepted connection: what a parked caller costs.
struct Caller: ~Copyable {
    var descriptor = Descriptor(owning: -1)
    var generation: UInt32 = 0
    var state = CallerState.none
    var socket = SocketFlags()
    var listener: UInt16 = 0
    /// What the request was, for its response.
    var traits: CallerTraits = []
    /// How the request's body ends.
    var framing = BodyFraming.none
    /// Bytes of the head at the front of the socket; 0 once they left it. They stay until the body moves or the response has begun, so that
    /// a job that goes back in line can be read again, also by a successor.
    var headLength: UInt32 = 0
    /// Bytes of our own for this caller: an answer, or the rest of a response head that its socket did not take.
    var outgoing: Bytes?
    /// The rewritten request head; nil when it was given back to save memory while parked.
    var head: Bytes?
    var peer = Peer(address: nil, believed: [])
    var job = JobID(slot: 0, generation: 0)
    /// The joined worker's slot, or −1.
    var worker: Int32 = -1
    var pool: UInt16 = 0
    /// Bytes that may still be discarded while closing.
    var discardLeft: UInt32 = 0
    /// Closing: our end was told.
    var isShut = false
    /// What the wheel's deadline means.
    var deadline = CallerDeadline.none
    /// The pool-keeper has a duplicate.
    var isEscrowed = false
    /// Of its present job, if somebody records it.
    var trace: CallerTrace?
    /// Counts this connection's jobs: see ``CallerRecord/serial``.
    var serial: UInt32 = 0
}

/// What a caller's deadline is for.
enum CallerDeadline: UInt8 {
    case none
    case head
    case keepAlive
    /// A parked caller's head is given back: it stays in the socket.
    case shrink
    /// The hold budget, kept here only while the pool-keeper is away.
    case hold
    /// A dial failed for our own reasons: say so after a pause.
    case retry
    case discard
}

/// What the last event said of a socket (edge-triggered).
struct SocketFlags {
    var readable = false
    var writable = true
    /// The peer's FIN is in the queue or was read.
    var finned = false
    /// An error is pending: reset, or timed out.
    var broken = false
    /// EPOLLOUT is part of the registered interest.
    var watchesWrites = false
    /// Our own FIN was sent (shutdown): closing alone says nothing while a duplicate lives.
    var isEnded = false
    /// Bytes that were taken off the socket, and that the socket took, since the connection was made.
    var taken: UInt64 = 0
    var given: UInt64 = 0
}

/// A right-sized block of bytes with an offset: what is left to send. 16 bytes, because every caller has two.
struct Bytes {
    private let base: UnsafeMutableRawPointer
    private let size: UInt32
    private var offset: UInt32 = 0

    /// Copies; heads and answers are far below 4 GiB.
    init(_ bytes: UnsafeRawBufferPointer) {
        size = UInt32(bytes.count)
        base = .allocate(byteCount: max(1, bytes.count), alignment: 1)
        if let source = bytes.baseAddress { base.copyMemory(from: source, byteCount: bytes.count) }
    }

    var all: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: Int(size)) }
    var rest: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base + Int(offset), count: Int(size - offset)) }
    var isDone: Bool { offset == size }
    mutating func advance(_ n: Int) { offset += UInt32(n) }
    /// The owner calls it exactly once.
    func free() { base.deallocate() }
}
