import CLinux
import Linux
import Model

/// A port of 127.0.0.1 for a server that goes away and comes back: nobody else has it meanwhile.
///
/// It is bound with SO_REUSEADDR and never listened on. The kernel gives such a port neither to who asks for any (bind(2) with 0) nor to a
/// connection that goes out; who names it and sets SO_REUSEADDR as well may listen on it, one at a time, again and again.
public final class HeldPort: Sendable {
    public let number: UInt16
    private let descriptor: Int32

    /// - Parameter wanted: 0 takes a free one.
    public init(_ wanted: UInt16 = 0) throws {
        let raw = lh_socket(AF_INET, Int32(SOCK_STREAM.rawValue))
        guard raw >= 0 else { throw TestFailure("socket: errno \(-raw)") }
        var socket = Descriptor(owning: Int32(raw))
        var local = SocketAddress.loopback(port: wanted).forKernel
        guard lh_set_option(socket.raw, SOL_SOCKET, SO_REUSEADDR, 1) >= 0, lh_bind(socket.raw, &local) >= 0,
            let bound = SocketAddress(bound: socket.raw)
        else { throw TestFailure("port \(wanted) cannot be bound") }
        number = bound.port
        descriptor = socket.release()
    }

    deinit { _ = lh_close(descriptor) }

    /// Listens on it. Who ends it shuts it down before it closes it: a process that is just being started may have a copy for a moment.
    public func listen(backlog: Int32 = 256) throws -> Descriptor {
        try Sockets.listen(SocketAddress.loopback(port: number).forKernel, backlog: backlog)
    }
}
