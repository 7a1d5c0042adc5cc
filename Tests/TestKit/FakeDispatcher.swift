import CLinux
import Linux
import Model
import Wire

/// A dispatcher's end of the leasing edge, said word by word, in the name of a process that can be stopped and killed.
///
/// The process only connects (so that the pool-keeper's proof of life is its own) and sleeps; the sockets are shared with the test. So its
/// death and the end of its link are two events here, in either order.
public final class FakeDispatcher: @unchecked Sendable {
    // Used by the thread of its test.

    public let process: Daemon
    public let hello: Hello
    /// What the pool-keeper said first.
    public private(set) var peer: Hello?
    private var sockets: [Int32]
    private var current = 0
    private var unread: [Said] = []
    public private(set) var hasEnded = false

    /// A message and the descriptors that came with it, which the test owns.
    public struct Said {
        public var reply: LeasingReply
        public var descriptors: [Int32]
    }

    /// Connects; a second life of the link comes by ``reconnect()``.
    public init(_ fleet: Fleet, seat: String = "0", instance: UInt64, budget: UInt32 = 10_000) throws {
        sockets = try (0..<2).map { _ in
            Int32(try check(lh_socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue)), "socket"))
        }
        hello = Hello(edge: .leasing, seat: seat, instance: instance, descriptorBudget: budget)
        let script = """
            use Socket; $| = 1; my $path = pack_sockaddr_un($ARGV[0]);
            sub join_in { open(my $s, '+<&=', $_[0]) or die "open: $!"; push @kept, $s;
                until (connect($s, $path)) { select(undef, undef, undef, 0.01) } print "connected\\n" }
            $SIG{USR1} = sub { join_in(4) };
            join_in(3);
            sleep 60 while 1;
            """
        process = try fleet.spawn(
            "fake-dispatcher", "/usr/bin/perl", ["-e", script, "\(fleet.runtimeDirectory)/leasing.sock"], descriptors: sockets)
        try waitForConnection(1)
        try greet()
    }

    deinit { for socket in sockets where socket >= 0 { _ = lh_close(socket) } }

    private func waitForConnection(_ count: Int) throws {
        try process.wait("the connection") { process.output.split(separator: "\n").filter { $0 == "connected" }.count == count }
    }

    private func greet() throws {
        var writer = ByteWriter()
        hello.encode(into: &writer)
        try put(writer.bytes, [])
        let (bytes, _) = try packet("the pool-keeper's hello")
        peer = try bytes.withUnsafeBytes { raw throws(WireError) in try Hello.decode(raw, edge: .leasing) }
    }

    /// Ends the link and makes a new one, in the same process.
    public func reconnect() throws {
        endLink()
        hasEnded = false
        unread = []
        current = 1
        process.signal(SIGUSR1)
        try waitForConnection(2)
        try greet()
    }

    /// The link's end, whatever the process does.
    public func endLink() {
        // The process has the socket too: only a shutdown ends the link for the other side.
        _ = lh_shutdown(sockets[current], Int32(SHUT_RDWR))
        _ = lh_close(sockets[current])
        sockets[current] = -1
    }

    /// kill -9, and the end of the link with it.
    public func die() throws {
        if process.isRunning { try process.kill() }
        if sockets[current] >= 0 { endLink() }
    }

    // MARK: Saying

    /// One packet.
    public func say(_ requests: LeasingRequest..., carrying descriptors: [Int32] = []) throws { try say(requests, carrying: descriptors) }

    public func say(_ requests: [LeasingRequest], carrying descriptors: [Int32] = []) throws {
        var writer = ByteWriter()
        for request in requests { request.encode(into: &writer) }
        try put(writer.bytes, descriptors)
    }

    private func put(_ bytes: UnsafeRawBufferPointer, _ descriptors: [Int32]) throws {
        let sent = lh_send_descriptors(sockets[current], bytes.baseAddress, bytes.count, descriptors, Int32(descriptors.count))
        guard sent == bytes.count else { throw TestFailure("sending a packet: errno \(-sent)") }
    }

    // MARK: Hearing

    private func packet(_ what: String) throws -> ([UInt8], [Int32]) {
        var numbers = [Int32](repeating: -1, count: Bounds.packetDescriptors)
        var bytes = [UInt8](repeating: 0, count: Bounds.packetBytes)
        let deadline = Patience.deadline()
        while true {
            try waitReady(sockets[current], POLLIN, until: deadline, what)
            var received: Int32 = 0
            var wasCut: Int32 = 0
            let count = lh_receive_descriptors(sockets[current], &bytes, bytes.count, &numbers, Int32(numbers.count), &received, &wasCut)
            if count == Int(-EAGAIN) || count == Int(-ECONNRESET) { continue }
            guard count > 0 else {
                hasEnded = true
                throw TestFailure("the link ended while it was waited for \(what)")
            }
            guard wasCut == 0 else { throw TestFailure("descriptors were lost") }
            return (Array(bytes[..<count]), Array(numbers[..<Int(received)]))
        }
    }

    /// The next message.
    public func hear(_ what: String = "a message") throws -> Said {
        while unread.isEmpty {
            let (bytes, numbers) = try packet(what)
            var left = numbers[...]
            try bytes.withUnsafeBytes { raw in
                var reader = ByteReader(raw)
                while !reader.isAtEnd {
                    let reply = try LeasingReply.decode(from: &reader)
                    var count = 0
                    if case .adopt(let adoption) = reply { count = adoption.descriptors }
                    guard left.count >= count else { throw TestFailure("\(reply) came without its descriptors") }
                    unread.append(Said(reply: reply, descriptors: Array(left.prefix(count))))
                    left = left.dropFirst(count)
                }
            }
            guard left.isEmpty else { throw TestFailure("\(left.count) descriptors belong to no message") }
        }
        return unread.removeFirst()
    }

    /// Whether the pool-keeper has said nothing yet.
    public var isSilent: Bool {
        var one = pollfd(fd: sockets[current], events: Int16(POLLIN), revents: 0)
        return unread.isEmpty && poll(&one, 1, 0) == 0
    }

    /// Everything up to `adopt end`, without it.
    public func inherit() throws -> [Said] {
        var all: [Said] = []
        while true {
            let said = try hear("adopt end")
            if case .adopt(.end) = said.reply { return all }
            all.append(said)
        }
    }

    /// A dispatcher with nothing in hand.
    public func start() throws {
        guard try inherit().isEmpty else { throw TestFailure("there was something to inherit") }
        try say(.asserted)
    }

    public func grant() throws -> Grant {
        let said = try hear("a grant")
        guard case .grant(let grant) = said.reply else { throw TestFailure("\(said.reply) instead of a grant") }
        return grant
    }

    /// Waits for the link to end; what comes before is an error.
    public func waitForEnd() throws {
        do { throw TestFailure("\(try hear("the end of the link").reply) instead of the end") } catch {
            guard hasEnded else { throw error }
        }
    }
}

/// A TCP connection over loopback, both ends in the test's hands.
public struct TCPPair {
    /// Whose duplicate goes into escrow.
    public let near: RawStream
    /// The caller, or the worker.
    public let far: RawStream

    public init() throws {
        var loopback = lh_address()
        loopback.family = 4
        loopback.low = 0x7f00_0001
        let listener = try Sockets.listen(loopback, backlog: 1, receiveBuffer: 65_536, v6Only: false)
        var there = lh_local_address(listener.raw)
        let raw = Int32(try check(lh_socket(AF_INET, Int32(SOCK_STREAM.rawValue)), "socket"))
        let connecting = lh_connect(raw, &there)
        guard connecting >= 0 || connecting == Int(-EINPROGRESS) else { throw TestFailure("connect: errno \(-connecting)") }
        try waitReady(listener.raw, POLLIN, "a connection")
        var peer = lh_address()
        near = RawStream(owning: Int32(try check(lh_accept(listener.raw, &peer), "accept")))
        far = RawStream(owning: raw)
    }
}
