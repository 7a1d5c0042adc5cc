import CLinux
import Foundation
import Linux
import Model
import Synchronization
import TestKit

/// Plays systemd for the daemons: keeps their sockets, hears READY=1 and WATCHDOG=1, starts again what ended, and ends what
/// stands still. In a thread of its own.
final class Manager: Supervisor, @unchecked Sendable {
    // The sockets are made before the thread starts; `units` is locked; everything else is the thread's.

    private struct Unit {
        var process: Fleet.Process
        var sockets: [(name: String, descriptor: Int32)] = []
        var state = ProcessState()
        var pidfd: Int32 = -1
        var notify: Int32 = -1
        var lastBeat: Int64 = 0
        var killAt: Int64 = .max
        var startAt: Int64 = .max
    }

    /// WatchdogSec and TimeoutAbortSec.
    static let watchdog: Int64 = 3_000_000_000
    static let abortTime: Int64 = 300_000_000

    let fleet: Fleet
    private let units = Mutex<[Fleet.Process: Unit]>([:])
    private let wake = Int32(lh_eventfd())
    private let isOver = Gate()
    private let isStopping = Gate()
    /// READY=1 of a process, in the manager's thread.
    var onReady: @Sendable (Fleet.Process) -> Void = { _ in }
    var onEnd: @Sendable (Fleet.Process) -> Void = { _ in }
    private let surprises = Mutex<[String]>([])
    private let limits: [Fleet.Process: String]
    let processorWaits = ProcessorWaits()
    let timeline = Timeline()

    /// Opens every socket: the edges in the runtime directory, and `listeners` on ports of 127.0.0.1. `limits` are `ulimit` commands.
    init(_ fleet: Fleet, listeners: [String], limits: [Fleet.Process: String] = [:]) throws {
        self.fleet = fleet
        self.limits = limits
        let run = fleet.runtimeDirectory
        guard mkdir("\(run)/control", 0o755) == 0 else { throw TestFailure("mkdir control: errno \(errno)") }
        for process in Fleet.Process.allCases {
            var unit = Unit(process: process)
            let edges =
                switch process {
                case .watcher: ["endpoints", "workers"]
                case .poolKeeper: ["leases", "leasing", "scaling", "state"]
                case .dispatcher, .scaler, .publisher, .assetCache: [String]()
                }
            unit.sockets.append(("control", try Self.edge("\(run)/control/\(process.rawValue).sock")))
            for edge in edges { unit.sockets.append((edge, try Self.edge("\(run)/\(edge).sock"))) }
            let doors =
                switch process {
                case .dispatcher: listeners
                case .publisher, .assetCache: [process.rawValue]
                case .watcher, .poolKeeper, .scaler: [String]()
                }
            for door in doors {
                var socket = try Sockets.listen(SocketAddress(ip: "127.0.0.1", port: 0)!.inKernelForm, receiveBuffer: 64 * 1024)
                unit.sockets.append((door, socket.release()))
            }
            let made = unit
            units.withLock { $0[process] = made }
        }
    }

    private static func edge(_ path: String) throws -> Int32 {
        var socket = try Sockets.listenUnix(path)
        return socket.release()
    }

    /// Where a listener is.
    func address(_ listener: String) throws -> SocketAddress {
        let found = units.withLock { $0[.dispatcher]?.sockets.first { $0.name == listener }?.descriptor }
        guard let found, let address = SocketAddress(ip: "127.0.0.1", port: lh_local_address(found).port) else {
            throw TestFailure("no listener \(listener)")
        }
        return address
    }

    func bind(_ door: String) -> String { "127.0.0.1:0" }

    func watchdog(of process: Fleet.Process) -> Int64 { Self.watchdog }

    func state(_ process: Fleet.Process) -> ProcessState { units.withLock { $0[process]?.state ?? ProcessState() } }

    /// Ends and restarts that nobody here had asked for.
    var unexpected: [String] { surprises.withLock { $0 } }

    func start() throws {
        for process in Fleet.Process.allCases { try begin(process) }
        Thread.inBackground("manager") { [self] in run() }
    }

    /// Kills all and ends the thread.
    func stop() throws {
        isStopping.open()
        var one: UInt64 = 1
        _ = lh_write(wake, &one, 8)
        try isOver.wait("the manager's end")
        units.withLock { all in
            for unit in all.values { for socket in unit.sockets { _ = lh_close(socket.descriptor) } }
        }
        _ = lh_close(wake)
    }

    /// Sends a signal to the process that is there now; the monotonic instant right before it.
    @discardableResult
    func signal(_ process: Fleet.Process, _ number: Int32) -> Int64 {
        units.withLock { all in
            let now = monotonicNow()
            guard let unit = all[process], unit.pidfd >= 0 else { return now }
            if number == SIGSTOP { all[process]?.state.isStopped = true }
            if number == SIGKILL {
                all[process]?.state.isKilled = true
                all[process]?.state.isReady = false
            }
            if number == SIGCONT {
                all[process]?.state.isStopped = false
                // Its silence was no fault of its own.
                all[process]?.lastBeat = now
            }
            if number != SIGSTOP && number != SIGCONT { expected(process, in: &all) }
            timeline.note(process, "signal \(number)")
            _ = lh_pidfd_signal(unit.pidfd, number)
            return now
        }
    }

    private let expectedEnds = Mutex<Set<Int32>>([])
    private func expected(_ process: Fleet.Process, in all: inout [Fleet.Process: Unit]) {
        if let pid = all[process]?.state.pid { _ = expectedEnds.withLock { $0.insert(pid) } }
    }

    // MARK: In the thread

    private func begin(_ process: Fleet.Process) throws {
        guard var unit = units.withLock({ $0[process] }) else { return }
        let path = "\(fleet.directory)/notify.\(process.rawValue).\(unit.state.starts)"
        let raw = lh_socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue))
        guard raw >= 0, lh_bind_unix(Int32(raw), path) >= 0 else { throw TestFailure("cannot bind \(path)") }
        unit.notify = Int32(raw)
        // WATCHDOG_PID is left out: the shell in between has the pid that the program will have.
        unit.state.pid = try fleet.startManaged(
            process, sockets: unit.sockets,
            environment: [
                "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "\(Self.watchdog / 1000)",
                // As in the units: with it, a process that is sent SIGABRT lives on after its backtrace was written.
                "SWIFT_BACKTRACE": "enable=no",
            ], limits: limits[process] ?? "")
        unit.pidfd = Int32(lh_pidfd_open(unit.state.pid))
        unit.state.starts += 1
        unit.state.isReady = false
        unit.state.isStopped = false
        unit.state.isKilled = false
        unit.killAt = .max
        unit.startAt = .max
        let made = unit
        units.withLock { $0[process] = made }
        timeline.note(process, "started")
    }

    private func run() {
        while !isStopping.isOpen {
            let all = Array(units.withLock { $0 }.values)
            var waits = [pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
            for unit in all {
                waits.append(pollfd(fd: unit.notify, events: Int16(POLLIN), revents: 0))
                waits.append(pollfd(fd: unit.pidfd, events: Int16(POLLIN), revents: 0))
            }
            _ = poll(&waits, nfds_t(waits.count), 20)
            if let dispatcher = all.first(where: { $0.process == .dispatcher }), dispatcher.pidfd >= 0 { processorWaits.look(dispatcher.state.pid) }
            for (index, unit) in all.enumerated() {
                // Whatever poll said: this thread may have stood still since, and nobody is late whose beat has come.
                let heardAt = monotonicNow()
                if unit.pidfd >= 0 { hear(unit) }
                if waits[2 + 2 * index].revents != 0 { ended(unit) }
                check(unit.process, heardAt: heardAt)
            }
        }
        for unit in units.withLock({ $0 }).values where unit.pidfd >= 0 {
            _ = lh_pidfd_signal(unit.pidfd, SIGKILL)
            var status: Int32 = 0
            _ = waitpid(unit.state.pid, &status, 0)
            _ = lh_close(unit.pidfd)
            _ = lh_close(unit.notify)
        }
        isOver.open()
    }

    private func hear(_ unit: Unit) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = lh_recv(unit.notify, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            let text = String(decoding: buffer[..<count], as: UTF8.self)
            let now = monotonicNow()
            var becameReady = false
            units.withLock { all in
                if text.contains("WATCHDOG=1") { all[unit.process]?.lastBeat = now }
                guard text.contains("READY=1"), let state = all[unit.process]?.state, !state.isReady, !state.isKilled else { return }
                all[unit.process]?.state.isReady = true
                all[unit.process]?.lastBeat = now
                becameReady = true
            }
            guard becameReady else { continue }
            timeline.note(unit.process, "ready")
            onReady(unit.process)
        }
    }

    /// Its last words were heard: poll had said that it was over before they were read.
    private func ended(_ unit: Unit) {
        var status: Int32 = 0
        guard waitpid(unit.state.pid, &status, WNOHANG) == unit.state.pid else { return }
        if expectedEnds.withLock({ $0.remove(unit.state.pid) }) == nil {
            let how = status & 0x7f == 0 ? "status \((status >> 8) & 0xff)" : "signal \(status & 0x7f)"
            surprises.withLock { $0.append("\(unit.process.rawValue), start \(unit.state.starts), ended by itself: \(how)") }
        }
        _ = lh_close(unit.pidfd)
        _ = lh_close(unit.notify)
        unlink("\(fleet.directory)/notify.\(unit.process.rawValue).\(unit.state.starts - 1)")
        units.withLock { all in
            all[unit.process]?.pidfd = -1
            all[unit.process]?.notify = -1
            all[unit.process]?.state.isReady = false
            all[unit.process]?.startAt = monotonicNow()
        }
        timeline.note(unit.process, "ended")
        onEnd(unit.process)
    }

    /// - Parameter heardAt: every beat before this time was heard.
    private func check(_ process: Fleet.Process, heardAt: Int64) {
        let now = monotonicNow()
        var starts = false
        units.withLock { all in
            guard let unit = all[process] else { return }
            if unit.pidfd < 0 {
                starts = unit.startAt <= now
            } else if unit.killAt <= now {
                all[process]?.killAt = .max
                _ = lh_pidfd_signal(unit.pidfd, SIGKILL)
            } else if unit.state.isReady, unit.killAt == .max, heardAt - unit.lastBeat > Self.watchdog {
                // One that was killed can take seconds to end on a busy machine: its other threads still give back memory.
                if !unit.state.isStopped, !expectedEnds.withLock({ $0.contains(unit.state.pid) }) {
                    surprises.withLock { $0.append("\(process.rawValue), start \(unit.state.starts): the watchdog struck") }
                }
                expected(process, in: &all)
                all[process]?.killAt = now + Self.abortTime
                // As systemd does: SIGCONT behind it, so that a stopped process meets it.
                _ = lh_pidfd_signal(unit.pidfd, SIGABRT)
                _ = lh_pidfd_signal(unit.pidfd, SIGCONT)
            }
        }
        guard starts, !isStopping.isOpen else { return }
        do { try begin(process) } catch { surprises.withLock { $0.append("\(error)") } }
    }
}
