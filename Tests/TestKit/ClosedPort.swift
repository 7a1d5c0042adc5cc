import CLinux
import Linux
import Model

/// An address that refuses every connection and stays nobody else's: bound, and never listened on.
public final class ClosedPort: Sendable {
    public let address: SocketAddress
    private let descriptor: Int32

    public init() throws {
        let raw = lh_socket(AF_INET, Int32(SOCK_STREAM.rawValue))
        guard raw >= 0 else { throw TestFailure("socket: errno \(-raw)") }
        descriptor = Int32(raw)
        var local = SocketAddress.loopback(port: 0).forKernel
        guard lh_bind(descriptor, &local) >= 0, let bound = SocketAddress(from: lh_local_address(descriptor)) else {
            throw TestFailure("bind")
        }
        address = bound
    }

    deinit { _ = lh_close(descriptor) }
}

/// An address that answers no SYN: a listener whose backlog is full and whom nobody empties.
public final class SilentPort: @unchecked Sendable {
    // Used by the thread of its test.
    public let address: SocketAddress
    private var descriptors: [Int32]

    public init() throws {
        var listener = try Sockets.listen(SocketAddress.loopback(port: 0).forKernel, backlog: 0)
        guard let bound = SocketAddress(from: lh_local_address(listener.raw)) else { throw TestFailure("no address") }
        address = bound
        var open = [listener.release()]
        // One more than the backlog is accepted; what comes after that waits for room which never comes.
        for _ in 0..<4 {
            let raw = Int32(lh_socket(AF_INET, Int32(SOCK_STREAM.rawValue)))
            var to = bound.forKernel
            _ = lh_connect(raw, &to)
            open.append(raw)
        }
        descriptors = open
    }

    deinit { refuse() }

    /// Stops listening: whoever still tries is refused at the next SYN, within about a second.
    public func refuse() {
        for one in descriptors { _ = lh_close(one) }
        descriptors = []
    }
}

extension SocketAddress {
    /// As the kernel takes it.
    public var system: lh_address { forKernel }

    /// Where a socket is bound.
    public init?(bound descriptor: Int32) { self.init(from: lh_local_address(descriptor)) }
}
