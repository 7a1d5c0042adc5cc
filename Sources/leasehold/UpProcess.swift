import CLinux
import Linux
import ServiceKit

/// One daemon under `leasehold up`: what it is started with, and what it said since.
final class UpProcess {
    let name: ProcessName
    /// Where its lines come from. Both ends are ours for good, so that a restart, or a worker that outlives its scaler, writes on.
    let output: OutputPipe
    private(set) var state = State.stopped
    /// Since the first start.
    private(set) var restarts = 0
    /// The last STATUS= line.
    var status = ""
    private var lastBeat: Int64 = 0
    /// After a first strike of the watchdog.
    private var killAt: Int64?

    enum State: Equatable {
        /// No process. Leaves to starting.
        case stopped
        /// No READY=1 yet. Leaves to ready or stopped.
        case starting(pid: Int32)
        /// Leaves to stopped.
        case ready(pid: Int32)
    }

    init(_ name: ProcessName, output: OutputPipe) {
        self.name = name
        self.output = output
    }

    var pid: Int32? {
        switch state {
        case .stopped: nil
        case .starting(let pid), .ready(let pid): pid
        }
    }

    var isReady: Bool {
        switch state {
        case .ready: true
        case .stopped, .starting: false
        }
    }

    func started(_ pid: Int32, isRestart: Bool) {
        precondition(state == .stopped, "\(name.rawValue) was started twice")
        state = .starting(pid: pid)
        status = ""
        killAt = nil
        if isRestart { restarts += 1 }
    }

    func becameReady(at now: Int64) {
        guard case .starting(let pid) = state else { return }  // READY=1 again, after a reload
        state = .ready(pid: pid)
        lastBeat = now
    }

    func beat(at now: Int64) { lastBeat = now }

    func ended() {
        state = .stopped
        killAt = nil
    }

    /// When the watchdog strikes; like systemd's it runs from READY=1 on.
    func watchdogDeadline(_ interval: Int64) -> Int64 {
        if let killAt { return killAt }
        guard interval > 0, isReady else { return .max }
        return lastBeat + interval
    }

    /// SIGABRT first, for a core dump that says where it hung; a stopped process cannot take it, so SIGKILL follows. True at the first.
    func strike(at now: Int64, grace: Int64) -> Bool {
        if killAt != nil {
            signal(SIGKILL)
            killAt = .max
            return false
        }
        signal(SIGABRT)
        killAt = now + grace
        return true
    }

    func signal(_ number: Int32) {
        // It ended in this moment; its SIGCHLD is on the way.
        if let pid { _ = lh_kill(pid, number) }
    }
}
