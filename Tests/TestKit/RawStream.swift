import CLinux
import Linux
import Model

/// A TCP connection byte for byte: what is sent, what comes, and how it ended. Used by one thread at a time.
public class RawStream: @unchecked Sendable {
    // Confined by its users: a test hands a stream from one thread to another but never shares it.

    /// How the other side's bytes ended.
    public enum End: Sendable, Hashable {
        case fin
        case reset
    }

    public private(set) var descriptor: Int32
    /// Bytes that came and were not taken yet.
    private var unread: [UInt8] = []
    private var taken = 0
    public private(set) var end: End?

    public init(owning descriptor: Int32) { self.descriptor = descriptor }

    deinit { close() }

    public var localAddress: SocketAddress? { SocketAddress(from: lh_local_address(descriptor)) }
    public var peerAddress: SocketAddress? { SocketAddress(from: lh_peer_address(descriptor)) }

    // MARK: Sending

    public func send(_ text: String) throws { try send(Array(text.utf8)) }

    /// Sends everything; a reset is a failure.
    public func send(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try send($0) }
    }

    public func send(_ bytes: UnsafeRawBufferPointer) throws {
        let deadline = Patience.deadline()
        var offset = 0
        while offset < bytes.count {
            let count = lh_send(descriptor, bytes.baseAddress! + offset, bytes.count - offset, 0)
            if count == Int(-EAGAIN) {
                try waitReady(descriptor, POLLOUT, until: deadline, "room for \(bytes.count - offset) bytes")
            } else if count < 0 {
                throw TestFailure("sending byte \(offset) of \(bytes.count): errno \(-count)")
            } else {
                offset += count
            }
        }
    }

    /// Sends what the socket takes at once; −1 when the connection is broken.
    public func sendSome(_ bytes: UnsafeRawBufferPointer) -> Int {
        let count = lh_send(descriptor, bytes.baseAddress, bytes.count, 0)
        return count == Int(-EAGAIN) ? 0 : count < 0 ? -1 : count
    }

    /// FIN: we have said all we will say.
    public func halfClose() { _ = lh_shutdown(descriptor, Int32(SHUT_WR)) }

    /// RST.
    public func reset() {
        guard descriptor >= 0 else { return }
        // The same as closing with SO_LINGER 0: the connection is reset, whatever is queued.
        _ = lh_disconnect(descriptor)
        close()
    }

    public func close() {
        if descriptor >= 0 { _ = lh_close(descriptor) }
        descriptor = -1
    }

    /// Closes after everything that came was read, so that the other side sees an end and no reset.
    public func closeInOrder() {
        while receiveNow() {}
        close()
    }

    // MARK: Receiving

    /// Takes in what is there without waiting. False when nothing was, or the end.
    @discardableResult
    public func receiveNow() -> Bool {
        guard end == nil, descriptor >= 0 else { return false }
        let size = 256 * 1024
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
        defer { block.deallocate() }
        let count = lh_recv(descriptor, block.baseAddress, size, 0)
        if count > 0 {
            if taken == unread.count {
                unread.removeAll(keepingCapacity: true)
                taken = 0
            }
            unread.append(contentsOf: UnsafeRawBufferPointer(rebasing: block[..<count]))
            return true
        }
        if count == 0 { end = .fin }
        if count < 0 && count != Int(-EAGAIN) { end = .reset }
        return false
    }

    /// What has come and was not taken, without waiting.
    public var pending: [UInt8] {
        while receiveNow() {}
        return Array(unread[taken...])
    }

    private func more(until deadline: Int64, _ what: @autoclosure () -> String) throws(TestFailure) {
        try waitReady(descriptor, POLLIN | Int32(POLLRDHUP_), until: deadline, what())
        receiveNow()
    }

    /// What was read from the socket and not taken yet, for whoever reads the socket itself from here on.
    func takeBuffered() -> [UInt8] {
        defer { taken = unread.count }
        return Array(unread[taken...])
    }

    /// Exactly so many bytes.
    public func receive(_ count: Int) throws -> [UInt8] {
        let deadline = Patience.deadline()
        while unread.count - taken < count {
            if let end { throw TestFailure("the connection ended (\(end)) after \(unread.count - taken) of \(count) bytes: \(shown)") }
            try more(until: deadline, "byte \(unread.count - taken) of \(count)")
        }
        defer { taken += count }
        return Array(unread[taken..<taken + count])
    }

    /// What comes next, at least one byte; nothing at the end.
    public func receiveSome(atMost most: Int) throws -> [UInt8] {
        let deadline = Patience.deadline()
        while taken == unread.count, end == nil { try more(until: deadline, "more bytes") }
        let count = min(most, unread.count - taken)
        defer { taken += count }
        return Array(unread[taken..<taken + count])
    }

    /// Everything up to and with `delimiter`.
    public func receive(through delimiter: String) throws -> [UInt8] {
        let wanted = Array(delimiter.utf8)
        let deadline = Patience.deadline()
        var from = taken
        while true {
            var i = max(taken, from)
            while i + wanted.count <= unread.count {
                if unread[i] == wanted[0] && unread[i..<i + wanted.count].elementsEqual(wanted) {
                    defer { taken = i + wanted.count }
                    return Array(unread[taken..<i + wanted.count])
                }
                i += 1
            }
            let searched = i - taken
            if let end { throw TestFailure("the connection ended (\(end)) before \(wanted): \(shown)") }
            try more(until: deadline, "\(wanted.debugText), after \(shown)")
            from = taken + searched
        }
    }

    /// Everything until the connection ends.
    public func receiveToEnd() throws -> (bytes: [UInt8], end: End) {
        let deadline = Patience.deadline()
        while end == nil { try more(until: deadline, "the end of the connection, after \(shown)") }
        defer { taken = unread.count }
        return (Array(unread[taken...]), end!)
    }

    /// Waits for a reset, or for the close of both directions. What came before that stays unread.
    public func waitUntilCut() throws { try waitReady(descriptor, 0, "a reset") }

    /// How the connection ended; bytes before that are a failure.
    public func expectEnd() throws -> End {
        let (bytes, end) = try receiveToEnd()
        guard bytes.isEmpty else { throw TestFailure("bytes before the end of the connection: \(bytes.prefix(200).debugText)") }
        return end
    }

    private var shown: String { "\(unread[taken...].prefix(300).debugText)" }
}

/// A caller: connects, and is a stream from then on.
public final class RawCaller: RawStream, @unchecked Sendable {
    /// Connects and waits for it. `receiveBuffer` bounds what can be on its way to us.
    public init(to address: SocketAddress, from source: SocketAddress? = nil, receiveBuffer: Int32? = nil) throws {
        let raw = lh_socket(address.family == .v6 ? AF_INET6 : AF_INET, Int32(SOCK_STREAM.rawValue))
        guard raw >= 0 else { throw TestFailure("socket: errno \(-raw)") }
        super.init(owning: Int32(raw))
        _ = lh_set_option(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        if let receiveBuffer { _ = lh_set_option(descriptor, SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        if let source {
            var local = source.forKernel
            let bound = lh_bind(descriptor, &local)
            guard bound >= 0 else { throw TestFailure("bind \(source): errno \(-bound)") }
        }
        var system = address.forKernel
        let result = lh_connect(descriptor, &system)
        guard result < 0 else { return }
        guard result == Int(-EINPROGRESS) else { throw TestFailure("connect \(address): errno \(-result)") }
        try waitReady(descriptor, POLLOUT, "a connection to \(address)")
        let error = lh_socket_error(descriptor)
        guard error == 0 else { throw TestFailure("connect \(address): errno \(-error)") }
    }

    /// Connects to a Unix socket.
    public init(toUnix path: String) throws {
        let raw = lh_socket(AF_UNIX, Int32(SOCK_STREAM.rawValue))
        guard raw >= 0 else { throw TestFailure("socket: errno \(-raw)") }
        super.init(owning: Int32(raw))
        let result = lh_connect_unix(descriptor, path)
        guard result >= 0 else { throw TestFailure("connect \(path): errno \(-result)") }
    }
}

/// POLLRDHUP is behind _GNU_SOURCE in poll.h.
private let POLLRDHUP_: Int16 = 0x2000

extension SocketAddress {
    var forKernel: lh_address { lh_address(high: high, low: low, port: port, family: family.rawValue) }

    /// Nil when the address is of no IP family.
    init?(from system: lh_address) {
        guard let family = Family(rawValue: system.family) else { return nil }
        self.init(family: family, high: system.high, low: system.low, port: system.port)
    }
}

extension Sequence where Element == UInt8 {
    /// Text with control bytes escaped, for messages.
    public var debugText: String { String(decoding: Array(self), as: UTF8.self).debugDescription }
}
