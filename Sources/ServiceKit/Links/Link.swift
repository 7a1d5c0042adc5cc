import CLinux
import Linux
import Wire

/// Why a link ended.
public enum LinkEnd: Sendable, CustomStringConvertible {
    case peerClosed
    case refused(String)
    case helloLate
    case badPeer(WireError)
    case tooLarge
    /// A packet came without all of its descriptors: this process has none left, or the peer miscounts.
    case descriptorsLost
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
        case .descriptorsLost: "descriptors of a packet were lost (is LimitNOFILE too low?)"
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
    /// What the packet being written carries: numbers of open descriptors that belong to whoever appended them.
    private var carried: [Int32] = []
    private var waiting: [Packet] = []
    private var waitingHead = 0
    private var token: Loop.Token?
    fileprivate var isDirty = false
    private var onUp: (Link) -> Void = { _ in }
    private var onPacket: (Link, UnsafeRawBufferPointer, ReceivedDescriptors?) throws(WireError) -> Void = { (_, _, _) throws(WireError) in }
    private var onEnd: (Link, LinkEnd) -> Void = { _, _ in }
    private let buffer: UnsafeMutableRawBufferPointer
    /// Nil where descriptors are not accepted.
    private let received: ReceivedDescriptors?

    /// A packet that the socket did not take yet, with duplicates of its descriptors: by then the originals may be closed.
    private struct Packet {
        var bytes: [UInt8]
        var descriptors: [Int32]

        mutating func closeAll() {
            for number in descriptors { _ = lh_close(number) }
            descriptors = []
        }
    }

    init(owning raw: Int32, edge: Edge, ours: Hello, outbox: Outbox) {
        descriptor = Descriptor(owning: raw)
        self.edge = edge
        self.outbox = outbox
        loop = outbox.loop
        buffer = .allocate(byteCount: Bounds.packetBytes + 1, alignment: 16)
        received = edge.carriesDescriptors && outbox.descriptorBudget > 0 ? ReceivedDescriptors() : nil
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

    public func send(_ message: some WireMessage, carrying first: Int32, _ second: Int32 = -1) {
        append(carrying: first, second) { message.encode(into: &$0) }
    }

    /// Appends one message that carries duplicates of open descriptors. They stay open until the packet is sent: see ``willClose(_:)``.
    @inline(__always)
    public func append(carrying first: Int32, _ second: Int32 = -1, _ encode: (inout ByteWriter) -> Void) {
        guard descriptor.isOpen else { return }
        if carried.count + 2 > Bounds.packetDescriptors { flush() }
        // Only after the message is in: a full packet is sent with what it had.
        append(encode)
        guard descriptor.isOpen else { return }
        carried.append(first)
        if second >= 0 { carried.append(second) }
    }

    /// Before a descriptor that may have been appended in this turn is closed: its number may be another's by the end of the turn.
    @inline(__always)
    public func willClose(_ number: Int32) {
        if !carried.isEmpty, carried.contains(number) { flush() }
    }

    /// Whether the kernel has everything that was appended: sendmsg(2) has returned.
    public var isDelivered: Bool { writer.isEmpty && waitingHead == waiting.count }

    /// Whether the peer has closed its end, also while this side has not read so far: what the kernel took last went down with it. One system call.
    public var hasPeerHungUp: Bool { !descriptor.isOpen || lh_poll_now(descriptor.raw) & POLLHUP != 0 }

    /// Whether packets of earlier turns are still here.
    public var isBacklogged: Bool { waitingHead < waiting.count }

    /// Sends what has been appended. Called by the outbox at the end of each turn.
    public func flush() {
        guard descriptor.isOpen, !writer.isEmpty else { return }
        defer {
            writer.removeAll()
            carried.removeAll(keepingCapacity: true)
        }
        if waitingHead == waiting.count {
            let sent = carried.withUnsafeBufferPointer { send(writer.bytes, $0) }
            if sent >= 0 {
                packetsSent &+= 1
                return
            }
            guard isPassing(sent) else { return }
        }
        guard waiting.count - waitingHead < Bounds.queuedPackets else { return end(.slowReader) }
        var packet = Packet(bytes: [UInt8](writer.bytes), descriptors: [])
        for number in carried {
            let copy = lh_duplicate(number)
            if copy < 0 {
                packet.closeAll()
                return end(.system(SystemError(Int32(-copy), "fcntl", "a descriptor for \(edge.name)")))
            }
            packet.descriptors.append(Int32(copy))
        }
        waiting.append(packet)
    }

    private func send(_ bytes: UnsafeRawBufferPointer, _ descriptors: UnsafeBufferPointer<Int32>) -> Int {
        if descriptors.isEmpty { return lh_send(descriptor.raw, bytes.baseAddress, bytes.count, 0) }
        return lh_send_descriptors(descriptor.raw, bytes.baseAddress, bytes.count, descriptors.baseAddress, Int32(descriptors.count))
    }

    /// Whether a packet that was not taken will be, later; sees to it that it is tried again.
    private func isPassing(_ failure: Int) -> Bool {
        switch Int32(-failure) {
        case EAGAIN, ENOBUFS:
            if let token { loop.rewatch(token, LH_EPOLLIN | LH_EPOLLOUT) }
            return true
        case ETOOMANYREFS:
            // The socket is writable all the same; the user's descriptors in flight are too many until somebody reads.
            outbox.tryAgain(self)
            return true
        // A dead peer's last words are still to be read: the end comes from the reading side.
        default: return false
        }
    }

    fileprivate func sendWaiting() {
        guard descriptor.isOpen else { return }
        while waitingHead < waiting.count {
            let sent = waiting[waitingHead].bytes.withUnsafeBytes { bytes in
                waiting[waitingHead].descriptors.withUnsafeBufferPointer { send(bytes, $0) }
            }
            if sent < 0 {
                _ = isPassing(sent)  // what is not passing ends the link from the reading side
                return
            }
            packetsSent &+= 1
            waiting[waitingHead].closeAll()
            waiting[waitingHead].bytes = []
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
        let count: Int
        var wasCut = false
        if let received, peer != nil {
            (count, wasCut) = received.receive(descriptor.raw, into: buffer)
        } else {
            count = lh_recv(descriptor.raw, buffer.baseAddress, buffer.count, 0)
        }
        defer { received?.closeRest() }
        if count <= 0 {
            // After ECONNRESET come the messages that a dying peer had queued: read on until 0 says that it is the end.
            if count == Int(-EAGAIN) || count == Int(-EINTR) || count == Int(-ECONNRESET) { return }
            return end(count == 0 ? .peerClosed : .system(SystemError(Int32(-count), "recv", edge.name)))
        }
        guard count <= Bounds.packetBytes else { return end(.tooLarge) }
        if wasCut { return end(.descriptorsLost) }
        packetsReceived &+= 1
        let packet = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        do throws(WireError) {
            if peer == nil { try accept(packet) } else { try onPacket(self, packet, received) }
        } catch {
            if peer == nil { refuse(error) }
            end(.badPeer(error))
        }
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
        carried = []
        for i in waitingHead..<waiting.count { waiting[i].closeAll() }
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
    /// Links whose packets wait for the user's descriptors in flight to become fewer.
    private var refused: [Link] = []
    private var retry: LoopTimer?
    /// How often a packet had to wait because too many descriptors of this user were in flight (ETOOMANYREFS).
    public private(set) var refusals: UInt64 = 0
    private static let retryAfter: Int64 = 5_000_000

    public init(loop: Loop, descriptorBudget: UInt32 = 0) {
        self.loop = loop
        self.descriptorBudget = descriptorBudget
        loop.asLastAct { [unowned self] in flush() }
        retry = loop.timer { [unowned self] _ in
            let links = refused
            refused = []
            for link in links { link.sendWaiting() }
        }
    }

    fileprivate func mark(_ link: Link) {
        link.isDirty = true
        dirty.append(link)
    }

    fileprivate func tryAgain(_ link: Link) {
        refusals &+= 1
        refused.append(link)
        retry?.deadline = loop.now + Self.retryAfter
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
