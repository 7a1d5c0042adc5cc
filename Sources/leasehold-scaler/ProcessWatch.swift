import CLinux
import Linux
import ScalerCore

/// Tells when a process has ended, by its pidfd: for processes that are nobody's children of ours too.
final class ProcessWatch {
    private let loop: Loop
    private var watched: [ProcessIdentity: Watched] = [:]

    private final class Watched {
        let pidfd: Descriptor
        let token: Loop.Token
        init(pidfd: consuming Descriptor, token: Loop.Token) {
            self.pidfd = pidfd
            self.token = token
        }
    }

    init(_ loop: Loop) { self.loop = loop }

    /// Calls `onEnd` once, when this process has ended; throws ESRCH when it has already.
    func follow(_ process: ProcessIdentity, _ onEnd: @escaping () -> Void) throws(SystemError) {
        let pidfd = Descriptor(owning: Int32(try check(lh_pidfd_open(process.pid), "pidfd_open", "\(process.pid)")))
        // Looked at after the pidfd was opened: the same start time means that the pidfd is of that process.
        guard ProcessTable.startTime(of: process.pid) == process.startTime else { throw SystemError(ESRCH, "pidfd_open", "\(process.pid)") }
        let token = try loop.watch(pidfd.raw, LH_EPOLLIN) { [unowned self] _ in
            if let one = watched.removeValue(forKey: process) { loop.unwatch(one.token) }
            onEnd()
        }
        watched[process] = Watched(pidfd: pidfd, token: token)
    }
}
