import Model
import Wire

/// One side of a link: what it has said in this turn, and what has come for it.
///
/// As with SOCK_SEQPACKET: in order, whole packets; what a dead peer had sent still arrives, then the end; what was sent to a side
/// that is closed is lost.
final class LinkEnd {
    private enum Item {
        case packet([UInt8])
        case end
    }

    let owner: Process
    let edge: Edge
    /// Of the link, over the whole run.
    let number: UInt64
    private unowned var peer: LinkEnd?
    private(set) var isOpen = true
    private(set) var isUp = false
    /// What the peer said first.
    private(set) var hello: Hello?
    /// Packets towards this side that it has not taken in.
    private(set) var inFlight = 0
    private var incarnation: Int
    private var isAccepted: Bool
    /// In the socket of a link that nobody has accepted yet.
    private var unread: [Item] = []
    private var batch: [UInt8] = []
    private var lastArrival: Int64 = 0
    private let ours: Hello

    private init(owner: Process, edge: Edge, number: UInt64, ours: Hello, isAccepted: Bool) {
        self.owner = owner
        self.edge = edge
        self.number = number
        self.ours = ours
        self.isAccepted = isAccepted
        incarnation = owner.incarnation
    }

    /// Connects: the client's hello is under way, and the server will find the link in its listening socket.
    static func connect(_ client: Process, _ ours: Hello, to server: Process, _ theirs: Hello) -> LinkEnd {
        let world = client.world
        let number = world.nextLink()
        let near = LinkEnd(owner: client, edge: ours.edge, number: number, ours: ours, isAccepted: true)
        let far = LinkEnd(owner: server, edge: ours.edge, number: number, ours: theirs, isAccepted: false)
        near.peer = far
        far.peer = near
        world.linkEnds += [near, far]
        client.ends.append(near)
        server.backlog.append(far)
        near.sayHello()
        world.after(world.linkDelay()) { server.enter(server.incarnation) { server.acceptAll() } }
        return near
    }

    /// Nothing is under way in either direction, and nothing waits to be sent.
    var isQuiet: Bool { isUp && isOpen && inFlight == 0 && batch.isEmpty && (peer.map { $0.isUp && $0.isOpen && $0.inFlight == 0 } ?? false) }

    private var world: World { owner.world }

    // Out.

    func send(_ message: some WireMessage) {
        guard isOpen else { return }
        let bytes = world.encoded { message.encode(into: &$0) }
        // Small packets, so that a snapshot comes in parts and can end in the middle.
        if !batch.isEmpty, batch.count + bytes.count > world.scenario.packetBytes { flush() }
        batch += bytes
    }

    func flush() {
        guard isOpen, !batch.isEmpty else { return }
        guard owner.act() else { return }
        let packet = batch
        batch = []
        transmit(.packet(packet))
    }

    private func sayHello() {
        batch = world.encoded { ours.encode(into: &$0) }
        Self.shiftVersion(of: &batch, by: owner.build)
        flush()
    }

    private func transmit(_ item: Item) {
        guard let peer, peer.isOpen else { return }
        let at = max(peer.lastArrival + 1, (world.now + world.linkDelay()).nanoseconds)
        peer.lastArrival = at
        if case .packet = item { peer.inFlight += 1 }
        world.at(at) { peer.arrive(item) }
    }

    /// Our side ends the link; the peer hears of it behind everything that was sent.
    func close() {
        guard isOpen else { return }
        abandon()
        owner.ends.removeAll { $0 === self }
    }

    /// The kernel's part of ``close()``; what was not flushed is lost.
    func abandon() {
        guard isOpen else { return }
        isOpen = false
        batch = []
        unread = []
        inFlight = 0
        transmit(.end)
    }

    // In.

    private func arrive(_ item: Item) {
        guard isOpen else { return }
        guard isAccepted, unread.isEmpty else { return unread.append(item) }
        owner.enter(incarnation) { [self] in take(item) }
    }

    func accept() {
        isAccepted = true
        incarnation = owner.incarnation
        owner.ends.append(self)
        sayHello()
        let items = unread
        unread = []
        for item in items { take(item) }
    }

    private func take(_ item: Item) {
        guard isOpen, owner.life == .running else { return }
        switch item {
        case .packet(let bytes):
            inFlight -= 1
            guard isUp else { return takeHello(bytes) }
            owner.received(bytes, on: self)
        case .end:
            isOpen = false
            owner.ends.removeAll { $0 === self }
            owner.linkEnded(self, wasUp: isUp)
        }
    }

    private func takeHello(_ packet: [UInt8]) {
        var bytes = packet
        Self.shiftVersion(of: &bytes, by: 0 &- owner.build)
        do {
            hello = try bytes.withUnsafeBytes { try Hello.decode($0, edge: edge) }
        } catch WireError.mismatch(let field, _, _) where "\(field)" == "version" {
            world.mismatches += 1
            world.trace.note(owner.name) { "refuses a peer of another build" }
            close()
            return owner.linkEnded(self, wasUp: false)
        } catch {
            return world.fail("a hello was not understood: \(error)")
        }
        isUp = true
        owner.linkUp(self)
    }

    /// As a build so many versions later says it: the two bytes behind the magic number.
    private static func shiftVersion(of hello: inout [UInt8], by builds: UInt16) {
        let version = (UInt16(hello[4]) | UInt16(hello[5]) << 8) &+ builds
        (hello[4], hello[5]) = (UInt8(truncatingIfNeeded: version), UInt8(version >> 8))
    }

    /// The messages of a packet, one after the other; a packet that cannot be read is a failure of the run.
    func decode<M: WireMessage>(_ bytes: [UInt8], _: M.Type, _ each: (M) -> Void) {
        bytes.withUnsafeBytes { packet in
            var reader = ByteReader(packet)
            while !reader.isAtEnd {
                do throws(WireError) { each(try M.decode(from: &reader)) } catch { return world.fail("a message was not understood: \(error)") }
            }
        }
    }
}

/// The connecting end of an edge as the product's `LinkClient`: tries until the link is up, for as long as its process lives.
final class Uplink {
    private unowned let owner: Process
    private let server: Process
    private let ours: Hello
    private let theirs: Hello
    /// The link, or the attempt.
    private(set) var end: LinkEnd?
    private var wait: Int64 = 10

    init(_ owner: Process, to server: Process, _ edge: Edge, seat: String, instance: UInt64) {
        self.owner = owner
        self.server = server
        ours = Hello(edge: edge, seat: seat, instance: instance)
        theirs = Hello(edge: edge, seat: server.name, instance: 0)
    }

    /// The link, if it is up.
    var link: LinkEnd? { end.flatMap { $0.isUp && $0.isOpen ? $0 : nil } }

    func connect() {
        guard owner.life == .running, owner.act() else { return }
        // Without a process behind the socket it may be refused, or wait there.
        if server.life == .dead, owner.world.chance(0.5) { return later() }
        let attempt = LinkEnd.connect(owner, ours, to: server, theirs)
        end = attempt
        owner.after(.seconds(Bounds.helloSeconds), isTimer: true) { [weak self] in
            guard let self, attempt.isOpen, !attempt.isUp else { return }
            attempt.close()
            later()
        }
    }

    func cameUp() { wait = 10 }

    /// The attempt, or the link, is over.
    func later() {
        end = nil
        let pause = owner.world.pick(wait / 2...wait)
        wait = min(wait * 2, 500)
        owner.after(.milliseconds(pause), isTimer: true) { [weak self] in self?.connect() }
    }
}
