import CLinux
import Linux
import Model

/// Looks at ports of this machine's loopback address.
final class Ports {
    private let loop: Loop
    private var attempts: [UInt16: Attempt] = [:]

    /// A connect that the kernel has not answered at once: the worker's backlog is full.
    private final class Attempt {
        let socket: Descriptor
        let token: Loop.Token
        init(socket: consuming Descriptor, token: Loop.Token) {
            self.socket = socket
            self.token = token
        }
    }

    init(loop: Loop) { self.loop = loop }

    /// Whether somebody listens on the port, found out without touching whoever it is: bind(2) fails where anything listens.
    func isHeld(_ port: UInt16) -> Bool {
        let raw = lh_socket(AF_INET, Int32(SOCK_STREAM.rawValue))
        // Out of descriptors: the start will say so itself.
        guard raw >= 0 else { return false }
        let socket = Descriptor(owning: Int32(raw))
        // As a server sets it: connections of a worker that is gone (TIME_WAIT) are no obstacle.
        _ = lh_set_option(socket.raw, SOL_SOCKET, SO_REUSEADDR, 1)
        var address = SocketAddress.loopback(port: port).system
        return lh_bind(socket.raw, &address) == Int(-EADDRINUSE)
    }

    /// Connects once and closes; calls `answer` with whether the port accepted, in this turn or a later one. One at a time for a port.
    func probe(_ port: UInt16, _ answer: @escaping (Bool) -> Void) {
        forget(port)
        let raw = lh_socket(AF_INET, Int32(SOCK_STREAM.rawValue))
        guard raw >= 0 else { return answer(false) }
        let socket = Descriptor(owning: Int32(raw))
        var address = SocketAddress.loopback(port: port).system
        switch lh_connect(socket.raw, &address) {
        case 0: answer(true)
        case Int(-EINPROGRESS):
            do {
                let token = try loop.watch(socket.raw, LH_EPOLLOUT) { [unowned self] _ in
                    let failure = attempts[port].map { lh_socket_error($0.socket.raw) } ?? 0
                    forget(port)
                    answer(failure == 0)
                }
                attempts[port] = Attempt(socket: socket, token: token)
            } catch {
                answer(false)
            }
        default: answer(false)
        }
    }

    /// Drops a probe that nobody waits for any more.
    func forget(_ port: UInt16) {
        guard let attempt = attempts.removeValue(forKey: port) else { return }
        loop.unwatch(attempt.token)
    }
}
