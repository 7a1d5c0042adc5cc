import Foundation
import Linux
import Model
import Synchronization
import TestKit

/// The installed package under a real systemd, struck with `systemctl kill` and `systemctl restart`. Tests/Systemd makes the sockets
/// of the listeners `tcp` and `tcp-scarce`, which the package does not have.
final class Systemd: Supervisor, @unchecked Sendable {
    // `onReady` is set before the thread starts; everything else is locked.

    let fleet: Fleet
    let processorWaits = ProcessorWaits()
    let timeline = Timeline()
    var onReady: @Sendable (Fleet.Process) -> Void = { _ in }
    private let states = Mutex<[Fleet.Process: ProcessState]>([:])
    /// From when until when systemctl was at it; an end in the future while it is. The process that it met started before that end.
    private struct Strike {
        var from: Int64
        var to: Int64
    }
    private let strikes = Mutex<[Fleet.Process: [Strike]]>([:])
    /// When the process that was last seen started.
    private let started = Mutex<[Fleet.Process: Int64]>([:])
    private let surprises = Mutex<[String]>([])
    private let isStopping = Gate()
    private let isOver = Gate()

    private static let doors = [
        "http": "127.0.0.1:8080", "tcp": "127.0.0.1:8091", "tcp-scarce": "127.0.0.1:8092", "publisher": "127.0.0.1:9808", "asset-cache": "127.0.0.1:9900",
    ]
    private static func unit(_ process: Fleet.Process) -> String { "leasehold-\(process.rawValue).service" }

    init(_ fleet: Fleet) { self.fleet = fleet }

    var unexpected: [String] { surprises.withLock { $0 } }

    func state(_ process: Fleet.Process) -> ProcessState { states.withLock { $0[process] ?? ProcessState() } }

    func bind(_ door: String) -> String { Self.doors[door] ?? "" }

    func address(_ listener: String) throws -> SocketAddress {
        guard let address = SocketAddress(bind(listener)) else { throw TestFailure("no listener \(listener)") }
        return address
    }

    func watchdog(of process: Fleet.Process) -> Int64 {
        switch process {
        case .dispatcher, .poolKeeper: 5_000_000_000
        case .scaler, .publisher, .assetCache: 10_000_000_000
        case .watcher: 30_000_000_000
        }
    }

    func start() throws {
        try systemctl(["start", "leasehold.target"] + Fleet.Process.allCases.map(Self.unit))
        Thread.inBackground("systemd") { [self] in
            while !isStopping.isOpen {
                do { try look() } catch { surprises.withLock { $0.append("\(error)") } }
                _ = poll(nil, 0, 20)
            }
            isOver.open()
        }
    }

    func stop() throws {
        isStopping.open()
        try isOver.wait("the end of the thread that asks systemd")
        try systemctl(["stop", "leasehold.target"])
    }

    func signal(_ process: Fleet.Process, _ number: Int32) -> Int64 {
        let now = monotonicNow()
        timeline.note(process, "signal \(number)")
        states.withLock { all in
            if number == SIGSTOP || number == SIGCONT { all[process]?.isStopped = number == SIGSTOP }
            if number == SIGKILL {
                all[process]?.isKilled = true
                all[process]?.isReady = false
            }
        }
        // A stopped one may meet its watchdog.
        if number != SIGCONT { strikes.withLock { $0[process, default: []].append(Strike(from: now, to: .max)) } }
        defer {
            if number != SIGCONT {
                strikes.withLock { all in
                    for i in (all[process] ?? []).indices where all[process]?[i].from == now { all[process]?[i].to = monotonicNow() }
                }
            }
        }
        // Between two processes there is nobody to strike, and systemctl says so.
        _ = try? systemctl(
            number == SIGUSR2
                ? ["restart", "--no-block", Self.unit(process)] : ["kill", "--kill-who=main", "--signal=\(number)", Self.unit(process)])
        return now
    }

    /// One look at all units.
    private func look() throws {
        let text = try systemctl(["show", "--property=MainPID,ActiveState,SubState,ExecMainStartTimestampMonotonic"] + Fleet.Process.allCases.map(Self.unit))
        var ready: [Fleet.Process] = []
        for (process, block) in zip(Fleet.Process.allCases, text.components(separatedBy: "\n\n")) {
            let lines = block.split(separator: "\n")
            guard let pid = lines.first(where: { $0.hasPrefix("MainPID=") }).flatMap({ Int32($0.dropFirst(8)) }) else {
                throw TestFailure("systemctl show \(process.rawValue): \(block)")
            }
            let from = lines.first { $0.hasPrefix("ExecMainStartTimestampMonotonic=") }.flatMap { Int64($0.split(separator: "=").last ?? "") } ?? 0
            let runs = lines.contains("ActiveState=active") && lines.contains("SubState=running")
            states.withLock { all in
                var state = all[process] ?? ProcessState()
                if pid != 0, pid != state.pid {
                    let isFirst = state.starts == 0
                    state = ProcessState(pid: pid, starts: state.starts + 1)
                    if !isExpected(process, startedAt: from * 1000), !isFirst {
                        surprises.withLock { $0.append("\(process.rawValue), start \(state.starts): nobody had struck its predecessor") }
                    }
                }
                let isReady = runs && pid == state.pid && !state.isKilled
                let isNew = isReady && !state.isReady
                state.isReady = isReady
                all[process] = state
                if isNew { ready.append(process) }
            }
            if process == .dispatcher, pid != 0 { processorWaits.look(pid) }
        }
        for process in ready {
            timeline.note(process, "ready")
            onReady(process)
        }
    }

    /// Whether a strike of ours can have ended the process before this one, also one that lived between two looks.
    private func isExpected(_ process: Fleet.Process, startedAt: Int64) -> Bool {
        let before = started.withLock { $0.updateValue(startedAt, forKey: process) } ?? 0
        return strikes.withLock { all in
            let isStruck = (all[process] ?? []).contains { $0.to >= before && $0.from <= startedAt }
            all[process]?.removeAll { $0.to < startedAt }
            return isStruck
        }
    }

    @discardableResult private func systemctl(_ arguments: [String]) throws -> String {
        let command = Foundation.Process()
        command.executableURL = URL(fileURLWithPath: "/usr/bin/systemctl")
        command.arguments = arguments
        let output = Pipe()
        command.standardOutput = output
        command.standardError = output
        try command.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        command.waitUntilExit()
        guard command.terminationStatus == 0 else { throw TestFailure("systemctl \(arguments): exit \(command.terminationStatus): \(text)") }
        return text
    }
}
