import Model
import ServiceKit
import Wire

/// The leases edge: every open lease on connect and once recovery is over, then each that begins or ends.
///
final class LeasesEdge {
    private let server: LinkServer
    /// Every open lease that is a job's.
    var read: () -> [LiveLease] = { [] }

    init(_ server: LinkServer) {
        self.server = server
        server.onUp = { [unowned self] link in tell { link.send($0) } }
    }

    func began(_ lease: LeaseID, _ pool: PoolID, tenant: @autoclosure () -> String) {
        guard !server.links.isEmpty else { return }
        server.broadcast(LeasesMessage.live(LiveLease(lease: lease, pool: pool, tenant: tenant())))
    }

    func ended(_ lease: LeaseID) {
        guard !server.links.isEmpty else { return }
        server.broadcast(LeasesMessage.ended(lease))
    }

    /// What dispatchers asserted after a restart began without a notice of its own.
    func recovered() {
        guard !server.links.isEmpty else { return }
        tell { server.broadcast($0) }
    }

    private func tell(_ send: (LeasesMessage) -> Void) {
        send(.snapshotBegin)
        for lease in read() { send(.live(lease)) }
        send(.snapshotEnd)
    }
}
