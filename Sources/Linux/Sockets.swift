import CLinux

/// Making sockets. Everything is non-blocking and close-on-exec.
public enum Sockets {
    /// A listening TCP socket. `receiveBuffer` and TCP_NODELAY are inherited by what it accepts (tcp(7)).
    public static func listen(
        _ address: lh_address, backlog: Int32 = 4096, receiveBuffer: Int32? = nil, v6Only: Bool = true
    ) throws(SystemError) -> Descriptor {
        let domain = address.family == 6 ? AF_INET6 : AF_INET
        let socket = Descriptor(owning: Int32(try check(lh_socket(domain, Int32(SOCK_STREAM.rawValue)), "socket")))
        _ = try check(lh_set_option(socket.raw, SOL_SOCKET, SO_REUSEADDR, 1), "setsockopt", "SO_REUSEADDR")
        if address.family == 6 {
            _ = try check(lh_set_option(socket.raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, v6Only ? 1 : 0), "setsockopt", "IPV6_V6ONLY")
        }
        try setCarried(socket.raw, receiveBuffer: receiveBuffer)
        var address = address
        _ = try check(lh_bind(socket.raw, &address), "bind")
        _ = try check(lh_listen(socket.raw, backlog), "listen")
        return socket
    }

    /// The options that a listener hands down to every accepted socket: no delay, keep-alive (15 s, 5 s × 3) and
    /// TCP_USER_TIMEOUT (30 s), so that a vanished node ends a silent session in half a minute.
    public static func setCarried(_ socket: Int32, receiveBuffer: Int32?) throws(SystemError) {
        let tcp = Int32(IPPROTO_TCP)
        _ = try check(lh_set_option(socket, tcp, TCP_NODELAY, 1), "setsockopt", "TCP_NODELAY")
        _ = try check(lh_set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1), "setsockopt", "SO_KEEPALIVE")
        _ = try check(lh_set_option(socket, tcp, TCP_KEEPIDLE, 15), "setsockopt", "TCP_KEEPIDLE")
        _ = try check(lh_set_option(socket, tcp, TCP_KEEPINTVL, 5), "setsockopt", "TCP_KEEPINTVL")
        _ = try check(lh_set_option(socket, tcp, TCP_KEEPCNT, 3), "setsockopt", "TCP_KEEPCNT")
        _ = try check(lh_set_option(socket, tcp, TCP_USER_TIMEOUT, 30_000), "setsockopt", "TCP_USER_TIMEOUT")
        if let receiveBuffer {
            _ = try check(lh_set_option(socket, SOL_SOCKET, SO_RCVBUF, receiveBuffer), "setsockopt", "SO_RCVBUF")
        }
    }

    /// A listening Unix socket at `path`, replacing a dead one. `mode` is the permission of the socket file.
    public static func listenUnix(
        _ path: String, type: __socket_type = SOCK_SEQPACKET, mode: mode_t = 0o660, backlog: Int32 = 128
    ) throws(SystemError) -> Descriptor {
        let socket = Descriptor(owning: Int32(try check(lh_socket(AF_UNIX, Int32(type.rawValue)), "socket")))
        var bound = lh_bind_unix(socket.raw, path)
        if bound == Int(-EADDRINUSE) {
            // The file is there. Somebody may be listening: only a refused connection proves that it is a leftover.
            let probe = Descriptor(owning: Int32(try check(lh_socket(AF_UNIX, Int32(type.rawValue)), "socket")))
            guard lh_connect_unix(probe.raw, path) == Int(-ECONNREFUSED) else { throw SystemError(EADDRINUSE, "bind", path) }
            unlink(path)
            bound = lh_bind_unix(socket.raw, path)
        }
        _ = try check(bound, "bind", path)
        if !path.hasPrefix("@") { _ = try check(lh_chmod(path, mode), "chmod", path) }
        _ = try check(lh_listen(socket.raw, backlog), "listen", path)
        return socket
    }
}
