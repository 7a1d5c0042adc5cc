import CLinux
import Linux
import Model
import ServiceKit

/// A listening socket of the configuration: the one that was passed in, or a new one.
struct Listening {
    let raw: Int32
    /// With the port that the kernel chose.
    let address: String

    /// The socket that was passed in is bound elsewhere.
    struct AddressMismatch: Error, CustomStringConvertible {
        var key: String
        var given: Model.SocketAddress
        var wanted: Model.SocketAddress
        var description: String {
            "\(key): the socket that was passed in is bound to \(given), the configuration says \(wanted); change one of them (the .socket unit decides)"
        }
    }

    /// `key` is the configuration's, for errors.
    init(_ address: ListenAddress, given: Int32?, key: String) throws {
        raw = try Self.open(address, given: given, key: key)
        if case .unix(let path) = address {
            self.address = "unix:\(path)"
        } else {
            self.address = Model.SocketAddress(system: lh_local_address(raw))?.description ?? "\(address)"
        }
    }

    private static func open(_ address: ListenAddress, given: Int32?, key: String) throws -> Int32 {
        if let given {
            if case .ip(let wanted) = address, let bound = Model.SocketAddress(system: lh_local_address(given)) {
                guard wanted.port == 0 || bound == wanted else { throw AddressMismatch(key: key, given: bound, wanted: wanted) }
            }
            return given
        }
        switch address {
        case .ip(let ip):
            do throws(SystemError) {
                var socket = try Sockets.listen(ip.system)
                return socket.release()
            } catch {
                throw SystemError(error.errno, error.call, "\(key) \(ip)")
            }
        case .unix(let path):
            var socket = try Sockets.listenUnix(path, type: SOCK_STREAM, mode: 0o666, backlog: 1024)
            return socket.release()
        }
    }
}
