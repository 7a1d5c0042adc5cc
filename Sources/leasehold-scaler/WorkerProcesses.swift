import CLinux
import Linux
import ScalerCore
import ServiceKit

/// The child driver: workers are children of the scaler, each in a session of its own, and outlive it.
final class WorkerProcesses: WorkerDriver {
    var onEvent: (WorkerEvent) -> Void = { _ in }

    private let watch: ProcessWatch
    private var running: [ProcessIdentity: WorkerPlace] = [:]

    init(loop: Loop) { watch = ProcessWatch(loop) }

    var isEmpty: Bool { running.isEmpty }

    /// Nobody can tell whose children they were.
    func findRunning(_ found: @escaping ([FoundWorker]) -> Void) { found([]) }

    /// Standard output and error are inherited.
    func start(_ place: WorkerPlace, pool: WorkerPool) {
        do throws(SystemError) {
            onEvent(.started(place, try spawn(place, pool: pool)))
        } catch {
            onEvent(.startFailed(place, error.description))
        }
    }

    private func spawn(_ place: WorkerPlace, pool: WorkerPool) throws(SystemError) -> ProcessIdentity {
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
        do throws(SystemError) { try follow(place, process) } catch {
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

    func adopt(_ place: WorkerPlace, pool: String, _ process: ProcessIdentity) -> Bool {
        do { try follow(place, process) } catch { return false }
        return true
    }

    private func follow(_ place: WorkerPlace, _ process: ProcessIdentity) throws(SystemError) {
        try watch.follow(process) { [unowned self] in ended(process) }
        running[process] = place
    }

    func stop(_ process: ProcessIdentity) { signal(process, SIGTERM) }
    func kill(_ process: ProcessIdentity) { signal(process, SIGKILL) }

    /// Signals the worker's process group.
    private func signal(_ process: ProcessIdentity, _ signal: Int32) {
        guard running[process] != nil else { return }
        // Not reaped, or watched and not yet known to be dead: ESRCH only means that its end is on the way.
        _ = lh_kill(-process.pid, signal)
    }

    func stopAll() { for process in running.keys { stop(process) } }
    func killAll() { for process in running.keys { kill(process) } }

    private func ended(_ process: ProcessIdentity) {
        guard let place = running.removeValue(forKey: process) else { return }
        // Its helpers end with it: the port must be free for the next one. Before reaping, while the number is still taken.
        _ = lh_kill(-process.pid, SIGKILL)
        var status: Int32 = 0
        let reaped = lh_reap(process.pid, &status)
        guard reaped == Int(process.pid) else { return onEvent(.ended(place, process, .unknown)) }  // not our child
        switch ChildEnd(status: status) {
        case .exited(let code): onEvent(.ended(place, process, .code(code)))
        case .signalled(let signal): onEvent(.ended(place, process, .signal(signal)))
        }
    }
}
