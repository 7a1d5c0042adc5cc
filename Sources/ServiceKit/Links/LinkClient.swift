import CLinux
import Linux
import Wire

/// The connecting end of an edge: keeps trying, with jittered back-off, for as long as it lives.
public final class LinkClient {
    /// The link while it is up.
    public private(set) var link: Link?
    public private(set) var reconnects: UInt64 = 0
    public private(set) var lastEnd: LinkEnd?
    public var onUp: (Link) -> Void = { _ in }
    public var onPacket: (Link, UnsafeRawBufferPointer, ReceivedDescriptors?) throws(WireError) -> Void = { (_, _, _) throws(WireError) in }
    /// The link was up and is not any more; the next attempt follows by itself.
    public var onDown: (LinkEnd) -> Void = { _ in }

    /// Back-off between attempts: 10 ms doubling to 500 ms, each with full jitter above its half. A unit that systemd restarts
    /// is back in a tenth of a second, and its socket is there all the time.
    private static let firstWait: Int64 = 10_000_000
    private static let mostWait: Int64 = 500_000_000

    private let path: String
    private let hello: Hello
    private let outbox: Outbox
    private var attempt: Link?
    private var wait = LinkClient.firstWait
    private var timer: LoopTimer?

    public init(path: String, hello: Hello, outbox: Outbox) {
        self.path = path
        self.hello = hello
        self.outbox = outbox
        timer = outbox.loop.timer { [unowned self] _ in due() }
    }

    /// Somebody listens at the other end, if not more.
    public var isConnected: Bool { attempt.map { !$0.isClosed } ?? false }

    /// Begins to connect.
    public func start() { connect() }

    /// The timer has two meanings that never overlap: a hello is late, or it is time to try again.
    private func due() {
        if let attempt, !attempt.isClosed { attempt.end(.helloLate) } else { connect() }
    }

    private func connect() {
        let raw = lh_socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue))
        guard raw >= 0 else { return later() }
        let connected = lh_connect_unix(Int32(raw), path)
        guard connected >= 0 else {
            // Nobody there yet (ENOENT, ECONNREFUSED), or a full backlog (EAGAIN).
            lastEnd = .system(SystemError(Int32(-connected), "connect", path))
            _ = lh_close(Int32(raw))
            return later()
        }
        let link = Link(owning: Int32(raw), edge: hello.edge, ours: hello, outbox: outbox)
        attempt = link
        timer?.deadline = monotonicNow() + Int64(Bounds.helloSeconds) * 1_000_000_000
        link.start(
            onUp: { [unowned self] link in
                timer?.deadline = .max
                wait = Self.firstWait
                self.link = link
                onUp(link)
            },
            onPacket: { [unowned self] (link, packet, descriptors) throws(WireError) in try onPacket(link, packet, descriptors) },
            onEnd: { [unowned self] _, reason in
                let wasUp = self.link != nil
                self.link = nil
                attempt = nil
                lastEnd = reason
                if wasUp {
                    reconnects += 1
                    onDown(reason)
                }
                later()
            })
    }

    private func later() {
        timer?.deadline = monotonicNow() + wait / 2 + Int64.random(in: 0...wait / 2)
        wait = min(wait * 2, Self.mostWait)
    }
}
