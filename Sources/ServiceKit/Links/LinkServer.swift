import CLinux
import Linux
import Wire

/// The listening end of an edge: accepts links, checks who calls, and keeps those that said hello in time.
public final class LinkServer {
    public private(set) var links: [Link] = []
    /// Links that never came up, by whatever cause.
    public private(set) var refused: UInt64 = 0
    public var onUp: (Link) -> Void = { _ in }
    public var onPacket: (Link, UnsafeRawBufferPointer, ReceivedDescriptors?) throws(WireError) -> Void = { (_, _, _) throws(WireError) in }
    /// Only for links that were up.
    public var onEnd: (Link, LinkEnd) -> Void = { _, _ in }
    public var onRefused: (LinkEnd) -> Void = { _ in }
    /// Decides by SO_PEERCRED and SO_PEERGROUPS; the default accepts everybody whom the socket's file mode lets in.
    public var accepts: (Link) -> Bool = { _ in true }

    private let listener: Descriptor
    private let hello: Hello
    private let outbox: Outbox
    private var pending: [(link: Link, deadline: Int64)] = []
    private var timer: LoopTimer?
    private var token: Loop.Token?
    /// Set while descriptors have run out.
    private var pause: LoopTimer?

    /// Takes over a listening socket.
    public init(owning listener: Int32, hello: Hello, outbox: Outbox) throws(SystemError) {
        self.listener = Descriptor(owning: listener)
        self.hello = hello
        self.outbox = outbox
        timer = outbox.loop.timer { [unowned self] now in expire(now) }
        token = try outbox.loop.watch(listener, LH_EPOLLIN) { [unowned self] _ in acceptOne() }
        pause = outbox.loop.timer { [unowned self] _ in
            if let token { outbox.loop.rewatch(token, LH_EPOLLIN) }
        }
    }

    /// Listens on a path of the runtime directory.
    public convenience init(path: String, mode: mode_t = 0o660, hello: Hello, outbox: Outbox) throws(SystemError) {
        var socket = try Sockets.listenUnix(path, mode: mode)
        try self.init(owning: socket.release(), hello: hello, outbox: outbox)
    }

    private func acceptOne() {
        var nobody = lh_address()
        let raw = lh_accept(listener.raw, &nobody)
        guard raw >= 0 else {
            // EAGAIN: another process behind the same socket was faster.
            if raw == Int(-EAGAIN) || raw == Int(-ECONNABORTED) { return }
            // EMFILE, ENFILE, ENOMEM: it waits in the backlog; looking at it again at once would only turn the loop.
            if let token { outbox.loop.rewatch(token, 0) }
            pause?.deadline = outbox.loop.now + 100_000_000
            return
        }
        let link = Link(owning: Int32(raw), edge: hello.edge, ours: hello, outbox: outbox)
        guard accepts(link) else {
            refused += 1
            let reason = "uid \(link.credentials.uid) may not use this edge"
            link.turnAway(reason)
            onRefused(.refused(reason))
            return
        }
        let deadline = outbox.loop.now + Int64(Bounds.helloSeconds) * 1_000_000_000
        pending.append((link, deadline))
        timer?.deadline = pending[0].deadline
        link.start(
            onUp: { [unowned self] link in
                pending.removeAll { $0.link === link }
                links.append(link)
                onUp(link)
            },
            onPacket: { [unowned self] (link, packet, descriptors) throws(WireError) in try onPacket(link, packet, descriptors) },
            onEnd: { [unowned self] link, reason in
                if let i = links.firstIndex(where: { $0 === link }) {
                    links.remove(at: i)
                    onEnd(link, reason)
                } else {
                    pending.removeAll { $0.link === link }
                    refused += 1
                    onRefused(reason)
                }
            })
    }

    private func expire(_ now: Int64) {
        while let first = pending.first, first.deadline <= now { first.link.end(.helloLate) }
        timer?.deadline = pending.first?.deadline ?? .max
    }

    /// Sends a message to every link that is up.
    public func broadcast(_ message: some WireMessage) {
        for link in links { link.send(message) }
    }
}
