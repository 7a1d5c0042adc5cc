import CLinux
import Linux
import Model

/// A listening socket of the configuration: the one that the manager passed in, or a new one. Whoever takes it owns it.
public struct Listening: Sendable {
    public let raw: Int32
    /// With the port that the kernel chose.
    public let address: String

    /// The socket that was passed in is bound elsewhere than the file says: the socket unit is the authority for addresses.
    public struct AddressMismatch: Error, CustomStringConvertible {
        /// The configuration's.
        public var key: String
        public var given: SocketAddress
        public var wanted: SocketAddress

        public var description: String {
            "\(key): the socket that was passed in is bound to \(given), the configuration says \(wanted); change one of them (the .socket unit decides)"
        }
    }

    /// How it listens, where it is ours to say; a manager that made the socket has decided the rest.
    public struct Options: Sendable {
        public var backlog: Int32 = 1024
        /// Bytes, of each accepted connection; nil is the kernel's.
        public var receiveBuffer: Int32?
        /// An IPv6 wildcard takes IPv4, too.
        public var dualStack = false

        public init() {}
    }

    /// `key` is the configuration's, for errors.
    public init(_ address: ListenAddress, given: Int32?, key: String, options: Options = Options()) throws {
        switch (given, address) {
        case (.some(let given), .ip(let wanted)):
            if let bound = SocketAddress(system: lh_local_address(given)), wanted.port != 0, bound != wanted {
                throw AddressMismatch(key: key, given: bound, wanted: wanted)
            }
            // What accepted connections inherit.
            try Sockets.setCarried(given, receiveBuffer: options.receiveBuffer)
            raw = given
        case (.some(let given), .unix): raw = given
        case (nil, .ip(let ip)):
            do throws(SystemError) {
                var socket = try Sockets.listen(
                    ip.system, backlog: options.backlog, receiveBuffer: options.receiveBuffer, v6Only: !options.dualStack)
                raw = socket.release()
            } catch {
                throw SystemError(error.errno, error.call, "\(key) \(ip)")
            }
        case (nil, .unix(let path)):
            var socket = try Sockets.listenUnix(path, type: SOCK_STREAM, mode: 0o666, backlog: options.backlog)
            raw = socket.release()
        }
        _ = lh_fcntl_nonblock(raw)  // one that is not a descriptor fails at the first use
        switch address {
        case .unix(let path): self.address = "unix:\(path)"
        case .ip: self.address = SocketAddress(system: lh_local_address(raw))?.description ?? "\(address)"
        }
    }
}
