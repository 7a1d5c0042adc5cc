import CLinux
import Linux
import ScalerCore
import ServiceKit

/// The child driver: starts worker processes, signals them, and tells when one has ended.
///
/// Each is watched by a pidfd, so workers of an earlier scaler, which are nobody's children of ours, are watched the same way.
final class WorkerProcesses {
    /// Called once for each process that has ended.
    var onExit: (WorkerPlace, ProcessIdentity, ScalerCore.ExitStatus) -> Void = { _, _, _ in }

    private let loop: Loop
    private var running: [ProcessIdentity: Running] = [:]

    private final class Running {
        let place: WorkerPlace
        let pidfd: Descriptor
        var token: Loop.Token?
        init(place: WorkerPlace, pidfd: consuming Descriptor) {
            self.place = place
            self.pidfd = pidfd
        }
    }

    init(loop: Loop) { self.loop = loop }

    var isEmpty: Bool { running.isEmpty }

    /// Starts a worker: `{port}` replaced in every argument, LEASEHOLD_PORT and LEASEHOLD_POOL set, standard output and error inherited.
    func start(_ place: WorkerPlace, pool: WorkerPool) throws(SystemError) -> ProcessIdentity {
        let command = WorkerCommand(pool.command, pool: pool.name, port: place.port)
        let program = command.arguments.first ?? ""
        guard let path = Executable.find(program) else { throw SystemError(ENOENT, "find", program) }
        var spawn = Spawn(
            path: path, arguments: command.arguments,
            environment: environmentVariables(without: WorkerCommand.withheld) + command.environment)
        // Its own session: a Ctrl-C for us is none for it, and its whole process group can be ended.
        spawn.newSession = true
        let pid = try spawn.start()
        // The child is ours and not yet reaped: its number cannot be anybody else's.
        guard let startTime = ProcessTable.startTime(of: pid) else {
            end(orphan: pid)
            throw SystemError(ESRCH, "read start time of", "\(pid)")
        }
        let process = ProcessIdentity(pid: pid, startTime: startTime)
        do throws(SystemError) { try watch(place, process) } catch {
            end(orphan: pid)
            throw error
        }
        return process
    }

    private func end(orphan pid: Int32) {
        // Both can only fail because it is gone.
        _ = lh_kill(-pid, SIGKILL)
        _ = waitpid(pid, nil, 0)
    }

    /// Watches a process of an earlier scaler. False when it has ended meanwhile.
    func adopt(_ place: WorkerPlace, _ process: ProcessIdentity) -> Bool {
        do { try watch(place, process) } catch { return false }
        return true
    }

    private func watch(_ place: WorkerPlace, _ process: ProcessIdentity) throws(SystemError) {
        let raw = try check(lh_pidfd_open(process.pid), "pidfd_open", "\(process.pid)")
        let one = Running(place: place, pidfd: Descriptor(owning: Int32(raw)))
        // Looked at after the pidfd was opened: the same start time means that the pidfd is of that process.
        guard ProcessTable.startTime(of: process.pid) == process.startTime else { throw SystemError(ESRCH, "pidfd_open", "\(process.pid)") }
        one.token = try loop.watch(Int32(raw), LH_EPOLLIN) { [unowned self] _ in ended(process) }
        running[process] = one
    }

    /// Signals the worker's process group.
    func signal(_ process: ProcessIdentity, _ signal: Int32) {
        guard running[process] != nil else { return }
        // Not reaped, or watched and not yet known to be dead: ESRCH only means that its end is on the way.
        _ = lh_kill(-process.pid, signal)
    }

    func signalAll(_ number: Int32) {
        for process in running.keys { signal(process, number) }
    }

    private func ended(_ process: ProcessIdentity) {
        guard let one = running.removeValue(forKey: process) else { return }
        if let token = one.token { loop.unwatch(token) }
        // Its helpers end with it: the port must be free for the next one. Before reaping, while the number is still taken.
        _ = lh_kill(-process.pid, SIGKILL)
        var status: Int32 = 0
        let reaped = lh_reap(process.pid, &status)
        guard reaped == Int(process.pid) else { return onExit(one.place, process, .unknown) }  // not our child
        switch ChildEnd(status: status) {
        case .exited(let code): onExit(one.place, process, .code(code))
        case .signalled(let signal): onExit(one.place, process, .signal(signal))
        }
    }
}
