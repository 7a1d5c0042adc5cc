import Foundation
import Linux
import Model
import Synchronization
import TestKit

/// What `systemctl show` says of a process.
struct ProcessState: Sendable {
    var pid: Int32 = 0
    var starts = 0
    var isReady = false
    /// SIGSTOP was sent and no SIGCONT since: the watchdog is right to strike.
    var isStopped = false
    /// SIGKILL was sent: it is not ready, whatever it said, although its end can take a while.
    var isKilled = false
}

/// Who starts the processes again: `Manager`, which plays systemd, or `Systemd`, which asks the real one.
protocol Supervisor: AnyObject, Sendable {
    var fleet: Fleet { get }
    /// READY=1 of a process, in the supervisor's thread. Set before `start`.
    var onReady: @Sendable (Fleet.Process) -> Void { get set }
    /// Ends and restarts that nobody here had asked for.
    var unexpected: [String] { get }
    var processorWaits: ProcessorWaits { get }
    var timeline: Timeline { get }

    func start() throws
    func stop() throws
    func state(_ process: Fleet.Process) -> ProcessState
    /// What the configuration says of a listening socket's address.
    func bind(_ door: String) -> String
    /// Where a listener of the dispatcher is.
    func address(_ listener: String) throws -> SocketAddress
    /// WatchdogSec, in nanoseconds.
    func watchdog(of process: Fleet.Process) -> Int64
    /// Sends a signal to the process that is there now; the monotonic instant right before it.
    @discardableResult func signal(_ process: Fleet.Process, _ number: Int32) -> Int64
}

extension Supervisor {
    /// Waits until a process is ready that was started after `starts` starts.
    func waitReady(_ process: Fleet.Process, after starts: Int = 0) throws {
        let deadline = Patience.deadline()
        while true {
            let state = state(process)
            if state.starts > starts, state.isReady { return }
            guard monotonicNow() < deadline else { throw TestFailure("\(process.rawValue) is not ready after \(Patience.seconds) s") }
            // What is waited for has no descriptor of its own.
            _ = poll(nil, 0, 3)
        }
    }

    /// The time of the last half second in which the dispatcher that is there now was ready to run and had no processor.
    func dispatcherWaited() -> Int64 { processorWaits.recent(state(.dispatcher).pid) }
}

/// How long a process has waited for a processor, at the looks of the last second: on a busy machine it takes callers in late.
final class ProcessorWaits: Sendable {
    private let waits = Mutex<[(at: Int64, pid: Int32, waited: Int64)]>([])

    func look(_ pid: Int32) {
        let now = monotonicNow()
        // The second number of schedstat: nanoseconds runnable and not running (Documentation/scheduler/sched-stats). Of all threads, the worst.
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
        let waited = tasks.compactMap { task in
            (try? String(contentsOfFile: "/proc/\(pid)/task/\(task)/schedstat", encoding: .utf8))?.split(separator: " ").dropFirst().first.flatMap { Int64($0) }
        }.max()
        guard let waited else { return }
        waits.withLock { all in
            all.append((now, pid, waited))
            all.removeAll { $0.at < now - 1_000_000_000 }
        }
    }

    /// In nanoseconds, of the last half second.
    func recent(_ pid: Int32) -> Int64 {
        look(pid)
        let now = monotonicNow()
        return waits.withLock { all in
            let its = all.filter { $0.pid == pid && $0.at >= now - 500_000_000 }
            return (its.last?.waited ?? 0) - (its.first?.waited ?? 0)
        }
    }
}
