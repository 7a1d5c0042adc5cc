import CLinux
import Linux
import Model
import ServiceKit

/// A process's listening sockets, bound by `up` as a socket unit would, so that they outlive the process.
final class UpListeners {
    /// In the order of the configuration.
    private(set) var reports: [ListenerReport] = []
    /// For LISTEN_FDNAMES.
    private(set) var names: [String] = []
    private(set) var descriptors: [Int32] = []
    private var paths: [String] = []

    /// Of another process than the dispatcher: names and where each listens.
    convenience init(_ named: [(name: String, address: ListenAddress)]) throws(SystemError) {
        try self.init(
            named.map { name, address in
                var listener = ListenerConfiguration()
                (listener.name, listener.address) = (name, address)
                return listener
            })
    }

    init(_ listeners: [ListenerConfiguration]) throws(SystemError) {
        for listener in listeners {
            let raw: Int32
            let address: String
            do throws(SystemError) {
                switch listener.address {
                case .ip(let wanted):
                    var socket = try Sockets.listen(
                        wanted.system, backlog: Int32(clamping: listener.backlog), receiveBuffer: Int32(clamping: listener.receiveBuffer),
                        v6Only: !listener.dualStack)
                    raw = socket.release()
                    address = SocketAddress(system: lh_local_address(raw))?.description ?? wanted.description
                case .unix(let path):
                    var socket = try Sockets.listenUnix(path, type: SOCK_STREAM, mode: 0o666, backlog: Int32(clamping: listener.backlog))
                    raw = socket.release()
                    address = "unix:\(path)"
                    paths.append(path)
                }
            } catch {
                throw SystemError(error.errno, "listen", "for listener \(listener.name) on \(listener.address)")
            }
            descriptors.append(raw)
            names.append(listener.name)
            reports.append(
                ListenerReport(
                    name: listener.name, address: address, transport: listener.transport == .http ? "http" : "tcp",
                    pools: listener.routes.isEmpty ? listener.pool.map { [$0] } ?? [] : listener.routes.map(\.pool)))
        }
    }

    deinit {
        for raw in descriptors { _ = lh_close(raw) }
        for path in paths { unlink(path) }
    }
}
