import CLinux
import Linux
import Wire

/// Descriptors that came with a packet; what nobody takes is closed.
public final class ReceivedDescriptors {
    private var numbers: [Int32]
    init(_ numbers: [Int32]) { self.numbers = numbers }
    deinit { for number in numbers { _ = lh_close(number) } }

    public var count: Int { numbers.count }

    /// The next descriptor in the sender's order; the caller owns it.
    public func takeFirst() -> Descriptor? { numbers.isEmpty ? nil : Descriptor(owning: numbers.removeFirst()) }
}

/// Why a link ended.
public enum LinkEnd: Sendable, CustomStringConvertible {
    case peerClosed
    case refused(String)
    case helloLate
    case badPeer(WireError)
    case tooLarge
    case slowReader
    case system(SystemError)
    case ours

    public var description: String {
        switch self {
        case .peerClosed: "the peer closed it"
        case .refused(let reason): "the peer refused it: \(reason)"
        case .helloLate: "no hello came in time"
        case .badPeer(let error): "the peer sent nonsense: \(error)"
        case .tooLarge: "the peer sent a packet over its bound"
        case .slowReader: "the peer does not read"
        case .system(let error): error.description
        case .ours: "closed here"
        }
    }
}

/// One connected SOCK_SEQPACKET socket of an edge, on one loop.
///
/// Messages are appended to one packet and sent at the end of the loop's turn, so that everything a turn has to say to
/// one peer costs one system call. What the socket does not take waits, up to ``Bounds/queuedPackets``.
public final class Link {
    public let edge: Edge
    /// What the peer said of itself; nil until the link is up.
    public private(set) var peer: Hello?
    public private(set) var credentials = lh_credentials()
    /// The peer's groups when it connected, the supplementary ones too; read when asked for.
    public var peerGroups: [UInt32] {
        // Linux bounds a process to 65,536 groups; one that has more than fit here is in none of ours.
        var groups = [UInt32](repeating: 0, count: 1024)
        let count = lh_peer_groups(descriptor.raw, &groups, 1024)
        return [credentials.gid] + (count > 0 ? groups.prefix(count) : [])
    }
    /// For the owner: what this link is to it.
    public var tag: UInt64 = 0
    public private(set) var messagesSent: UInt64 = 0
    public private(set) var packetsSent: UInt64 = 0
    public private(set) var packetsReceived: UInt64 = 0

    private var descriptor: Descriptor
    private let loop: Loop
    private let outbox: Outbox
    private var writer = ByteWriter()
    private var waiting: [[UInt8]] = []
    private var waitingHead = 0
    private var token: Loop.Token?
    fileprivate var isDirty = false
    private var onUp: (Link) -> Void = { _ in }
    private var onPacket: (Link, UnsafeRawBufferPointer, ReceivedDescriptors?) throws(WireError) -> Void = { (_, _, _) throws(WireError) in }
    private var onEnd: (Link, LinkEnd) -> Void = { _, _ in }
    private let buffer: UnsafeMutableRawBufferPointer

    init(owning raw: Int32, edge: Edge, ours: Hello, outbox: Outbox) {
        descriptor = Descriptor(owning: raw)
        self.edge = edge
        self.outbox = outbox
        loop = outbox.loop
        buffer = .allocate(byteCount: Bounds.packetBytes + 1, alignment: 16)
        // A socket without credentials (never for AF_UNIX) reads as nobody.
        _ = lh_peer_credentials(raw, &credentials)
        ours.encode(into: &writer)
    }

    deinit { buffer.deallocate() }

    public var isUp: Bool { peer != nil && descriptor.isOpen }
    public var isClosed: Bool { !descriptor.isOpen }

    /// A pidfd of the process at the other end (SO_PEERPIDFD): proof of its life and death.
    public func peerPidfd() -> Descriptor? {
        let raw = lh_peer_pidfd(descriptor.raw)
        return raw < 0 ? nil : Descriptor(owning: Int32(raw))
    }

    /// Sends our hello and begins to listen. `onUp` comes once the peer's hello was accepted, then packets, then one end.
    func start(
        onUp: @escaping (Link) -> Void,
        onPacket: @escaping (Link, UnsafeRawBufferPointer, ReceivedDescriptors?) throws(WireError) -> Void,
        onEnd: @escaping (Link, LinkEnd) -> Void
    ) {
        self.onUp = onUp
        self.onPacket = onPacket
        self.onEnd = onEnd
        do {
            token = try loop.watch(descriptor.raw, LH_EPOLLIN) { [weak self] in self?.ready($0) }
        } catch {
            end(.system(error))
            return
        }
        flush()
    }

    // MARK: Sending

    /// Appends one message; `encode` may be called twice when the first packet is full.
    @inline(__always)
    public func append(_ encode: (inout ByteWriter) -> Void) {
        guard descriptor.isOpen else { return }
        let mark = writer.count
        encode(&writer)
        if writer.overflowed {
            writer.rewind(to: mark)
            flush()
            encode(&writer)
            precondition(!writer.overflowed, "a single message of edge \(edge.name) exceeds the packet bound")
        }
        messagesSent &+= 1
        if !isDirty { outbox.mark(self) }
    }

    public func send(_ message: some WireMessage) {
        append { message.encode(into: &$0) }
    }

    /// Sends one message in a packet of its own with duplicates of `descriptors` (at most 253). False when the kernel would not take
    /// it now (EAGAIN, ETOOMANYREFS): the caller counts and tries again; the message is not queued.
    public func send(_ message: some WireMessage, descriptors: [Int32]) -> Bool {
        flush()
        guard descriptor.isOpen, waitingHead == waiting.count else { return false }
        message.encode(into: &writer)
        defer { writer.removeAll() }
        let sent = lh_send_descriptors(descriptor.raw, writer.bytes.baseAddress, writer.count, descriptors, Int32(descriptors.count))
        if sent >= 0 {
            messagesSent &+= 1
            packetsSent &+= 1
        }
        return sent >= 0
    }

    /// Sends what has been appended. Called by the outbox at the end of each turn.
    public func flush() {
        guard descriptor.isOpen, !writer.isEmpty else { return }
        defer { writer.removeAll() }
        if waitingHead == waiting.count {
            let sent = lh_send(descriptor.raw, writer.bytes.baseAddress, writer.count, 0)
            if sent >= 0 {
                packetsSent &+= 1
                return
            }
            // A dead peer's last words are still to be read: the end comes from the reading side.
            guard sent == Int(-EAGAIN) || sent == Int(-ENOBUFS) else { return }
            if let token { loop.rewatch(token, LH_EPOLLIN | LH_EPOLLOUT) }
        }
        guard waiting.count - waitingHead < Bounds.queuedPackets else { return end(.slowReader) }
        waiting.append([UInt8](writer.bytes))
    }

    private func sendWaiting() {
        while waitingHead < waiting.count {
            let sent = waiting[waitingHead].withUnsafeBytes { lh_send(descriptor.raw, $0.baseAddress, $0.count, 0) }
            if sent < 0 { return }
            packetsSent &+= 1
            waiting[waitingHead] = []
            waitingHead += 1
        }
        waiting.removeAll()
        waitingHead = 0
        if let token { loop.rewatch(token, LH_EPOLLIN) }
    }

    // MARK: Receiving

    private func ready(_ events: UInt32) {
        if events & LH_EPOLLOUT != 0 { sendWaiting() }
        guard descriptor.isOpen, events & ~LH_EPOLLOUT != 0 else { return }
        var numbers: [Int32] = []
        var truncated: Int32 = 0
        let count: Int
        if peer.map({ _ in outbox.descriptorBudget > 0 }) ?? false {
            (count, numbers, truncated) = receiveWithDescriptors()
        } else {
            count = lh_recv(descriptor.raw, buffer.baseAddress, buffer.count, 0)
        }
        if count <= 0 {
            // After ECONNRESET come the messages that a dying peer had queued: read on until 0 says that it is the end.
            if count == Int(-EAGAIN) || count == Int(-EINTR) || count == Int(-ECONNRESET) { return }
            return end(count == 0 ? .peerClosed : .system(SystemError(Int32(-count), "recv", edge.name)))
        }
        let descriptors = numbers.isEmpty ? nil : ReceivedDescriptors(numbers)
        guard count <= Bounds.packetBytes, truncated == 0 else { return end(.tooLarge) }
        packetsReceived &+= 1
        let packet = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        do throws(WireError) {
            if peer == nil { try accept(packet) } else { try onPacket(self, packet, descriptors) }
        } catch {
            if peer == nil { refuse(error) }
            end(.badPeer(error))
        }
    }

    private func receiveWithDescriptors() -> (Int, [Int32], Int32) {
        var truncated: Int32 = 0
        var received: Int32 = 0
        var count = 0
        let numbers = [Int32](unsafeUninitializedCapacity: 253) { room, initialized in
            count = lh_receive_descriptors(descriptor.raw, buffer.baseAddress, buffer.count, room.baseAddress, 253, &received, &truncated)
            initialized = Int(received)
        }
        return (count, numbers, truncated)
    }

    private func accept(_ packet: UnsafeRawBufferPointer) throws(WireError) {
        if let refusal = HelloRefusal.decode(packet) { return end(.refused(refusal.reason)) }
        peer = try Hello.decode(packet, edge: edge)
        onUp(self)
    }

    private func refuse(_ error: WireError) { refuse(error.description) }

    private func refuse(_ reason: String) {
        writer.removeAll()
        HelloRefusal(reason: reason).encode(into: &writer)
        flush()
    }

    /// Ends a link that was never started, with the reason told to the peer in place of our hello.
    func turnAway(_ reason: String) {
        refuse(reason)
        end(.refused(reason))
    }

    // MARK: The end

    public func close() { end(.ours) }

    func end(_ reason: LinkEnd) {
        guard descriptor.isOpen else { return }
        if let token { loop.unwatch(token) }
        descriptor.close()
        writer.removeAll()
        waiting = []
        waitingHead = 0
        onEnd(self, reason)
        // The closures hold their owner; the link may be held by it.
        onUp = { _ in }
        onPacket = { (_, _, _) throws(WireError) in }
        onEnd = { _, _ in }
    }
}

/// The links of one loop that have something to say; flushed at the end of each turn.
public final class Outbox {
    public let loop: Loop
    /// Descriptors that this process accepts over its links; 0 receives none.
    public let descriptorBudget: UInt32
    private var dirty: [Link] = []

    public init(loop: Loop, descriptorBudget: UInt32 = 0) {
        self.loop = loop
        self.descriptorBudget = descriptorBudget
        loop.asLastAct { [unowned self] in flush() }
    }

    fileprivate func mark(_ link: Link) {
        link.isDirty = true
        dirty.append(link)
    }

    public func flush() {
        // The end of one link may give its owner something to say on another: the list grows under this loop.
        var i = 0
        while i < dirty.count {
            let link = dirty[i]
            link.isDirty = false
            link.flush()
            i += 1
        }
        dirty.removeAll(keepingCapacity: true)
    }
}
