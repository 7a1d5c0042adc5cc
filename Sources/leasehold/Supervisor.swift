import CLinux
import Foundation
import Linux
import Logging
import Model
import ServiceKit

/// What systemd does for the daemons, in the foreground: `leasehold up`.
///
/// Starts every daemon with the service manager's own protocols (LISTEN_FDS, NOTIFY_SOCKET, WATCHDOG_USEC), restarts what ends, and
/// leaves no process behind: daemons are sent a signal when the thread that started them ends (so even kill -9 of `up` ends
/// them), workers are ended by the scaler, and what is orphaned meanwhile becomes a child of ours and is ended at the end.
final class Supervisor {
    struct Options {
        var configurationPath: String
        var logLevel = "info"
        /// From READY=1; zero is off.
        var watchdog = Duration.seconds(10)
        /// Lines of the daemons and of ours; the default prints them.
        var onLine: ((ProcessName, ArraySlice<UInt8>) -> Void)?
        var onNote: ((String) -> Void)?
        /// Every daemon is ready for the first time.
        var onReady: (Supervisor) -> Void = { _ in }
    }

    let loop: Loop
    let configuration: Configuration
    let listeners: UpListeners
    /// The sockets of the asset cache and of the publisher, where the configuration has those sections.
    private let others: [ProcessName: UpListeners]
    private(set) var processes: [UpProcess] = []

    /// Every address that somebody can connect to.
    var listenerReports: [ListenerReport] { listeners.reports + ProcessName.allCases.flatMap { others[$0]?.reports ?? [] } }

    private let options: Options
    private let lines = UpLines()
    private let lock: Descriptor
    private var notify: NotifySocket?
    private var signals: SignalSource?
    private var watchdog: LoopTimer?
    /// When it strikes next.
    private var watchdogDue = Int64.max
    private var restart: LoopTimer?
    private var deadline: LoopTimer?
    private var restartDue: [ProcessName: Int64] = [:]
    private var wasReady = false
    private var phase = Phase.running
    private var stops = 0
    /// 0, or why it ended by itself.
    private var status = ServiceKit.ExitStatus.success

    private enum Phase: Comparable {
        case running
        /// The dispatcher finishes what it has.
        case draining
        /// The others end.
        case ending
    }

    /// RestartSec of the units.
    private static let restartAfter: Int64 = 100_000_000
    /// How long the watcher and the pool-keeper have to end before they are killed; the scaler has its workers' time on top.
    private static let endWithin = Duration.seconds(5)
    private static let abortGrace: Int64 = 1_000_000_000
    /// A watchdog that comes so late was not kept from running by the processes.
    private static let late: Int64 = 500_000_000

    /// Must be called before any thread of this process starts: children and threads inherit the blocked signals.
    init(_ configuration: Configuration, _ options: Options) throws(SystemError) {
        self.configuration = configuration
        self.options = options
        _ = lh_ignore_sigpipe()
        _ = try check(lh_raise_descriptor_limit(), "setrlimit", "RLIMIT_NOFILE")
        loop = try Loop()
        lock = try Self.lock(configuration.runtimeDirectory)
        listeners = try UpListeners(configuration.listeners)
        others = try Self.others(configuration)
        // Workers of a scaler that was killed become ours, and not init's.
        _ = try check(lh_prctl_subreaper(1), "prctl", "PR_SET_CHILD_SUBREAPER")
        notify = try NotifySocket(on: loop) { [unowned self] pid, message in heard(pid, message) }
        signals = try SignalSource([SIGTERM, SIGINT, SIGHUP, SIGCHLD], on: loop) { [unowned self] in received($0) }
        restart = loop.timer { [unowned self] now in restartWhatIsDue(now) }
        watchdog = loop.timer { [unowned self] now in strike(now) }
        deadline = loop.timer { [unowned self] _ in endOverdue() }
        for name in Self.names(configuration) {
            let output = try OutputPipe(on: loop) { [unowned self] line in write(name, line) }
            processes.append(UpProcess(name, output: output))
        }
    }

    private static func others(_ configuration: Configuration) throws(SystemError) -> [ProcessName: UpListeners] {
        var out: [ProcessName: UpListeners] = [:]
        if let cache = configuration.assetCache {
            let named = [(ProcessName.assetCache.rawValue, cache.address)] + cache.reverse.map { ("\(ProcessName.assetCache.rawValue)-reverse", $0.address) }
            out[.assetCache] = try UpListeners(named)
        }
        if let publisher = configuration.publisher {
            var named = [(ProcessName.publisher.rawValue, publisher.address)]
            if let external = publisher.externalMetrics { named.append(("external-metrics", external.address)) }
            if let keda = publisher.keda { named.append(("keda", keda.address)) }
            out[.publisher] = try UpListeners(named)
        }
        return out
    }

    /// The scaler runs only where a pool has local workers, the asset cache where it is configured, and alone where there are no pools. The
    /// order does not matter; this one reads well.
    private static func names(_ configuration: Configuration) -> [ProcessName] {
        ProcessName.allCases.filter { name in
            switch name {
            case .scaler: configuration.pools.contains { $0.workers != nil }
            case .watcher, .poolKeeper, .dispatcher, .assetCache, .publisher: configuration.names(name)
            }
        }
    }

    /// Starts everything and stays until it was stopped; nobody of ours is left when it returns.
    func run() throws(SystemError) -> ServiceKit.ExitStatus {
        for process in processes { try start(process, isRestart: false) }
        try loop.run()
        endOrphans()
        for process in processes { process.output.read() }
        return status
    }

    // MARK: Starting

    private func start(_ process: UpProcess, isRestart: Bool) throws(SystemError) {
        let program = "leasehold-\(process.name.rawValue)"
        guard let path = Executable.find(program) else { throw SystemError(ENOENT, "find", "\(program), beside this program or in PATH") }
        var environment = environmentVariables(without: [
            "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM",
            "LEASEHOLD_WORKERS",
        ])
        environment.append("NOTIFY_SOCKET=\(notify?.address ?? "")")
        if options.watchdog > .zero { environment.append("WATCHDOG_USEC=\(options.watchdog.microseconds)") }
        var spawn = Spawn(
            path: path, arguments: [program, "--config", options.configurationPath, "--log-level", options.logLevel], environment: [])
        // Not in our process group: Ctrl-C is for us, and we end them in order.
        spawn.newSession = true
        spawn.output = process.output.childEnd
        switch process.name {
        case .dispatcher:
            spawn.passed = listeners.descriptors
            environment.append("LISTEN_FDNAMES=\(listeners.names.joined(separator: ":"))")
            spawn.deathSignal = SIGKILL
        case .scaler:
            // SIGTERM, because it must end the workers before it goes; the others keep nothing that needs time.
            environment.append("LEASEHOLD_WORKERS=end-with-scaler")
            spawn.deathSignal = SIGTERM
        case .assetCache, .publisher:
            if let own = others[process.name] {
                spawn.passed = own.descriptors
                environment.append("LISTEN_FDNAMES=\(own.names.joined(separator: ":"))")
            }
            spawn.deathSignal = SIGKILL
        case .watcher, .poolKeeper: spawn.deathSignal = SIGKILL
        }
        spawn.environment = environment
        process.started(try spawn.start(), isRestart: isRestart)
    }

    private func restartWhatIsDue(_ now: Int64) {
        for process in processes where restartDue[process.name].map({ $0 <= now }) == true {
            restartDue[process.name] = nil
            do throws(SystemError) { try start(process, isRestart: true) } catch {
                note("\(process.name.rawValue) cannot be started: \(error); trying again")
                restartDue[process.name] = now + 1_000_000_000
            }
        }
        restart?.deadline = restartDue.values.min() ?? .max
    }

    // MARK: Hearing

    private func heard(_ pid: Int32, _ message: NotifySocket.Message) {
        // Only the daemon itself speaks for itself, like NotifyAccess=main.
        guard let process = processes.first(where: { $0.pid == pid }) else { return }
        switch message {
        case .ready:
            process.becameReady(at: loop.now)
            if !wasReady, processes.allSatisfy(\.isReady) {
                wasReady = true
                options.onReady(self)
            }
        case .status(let text): process.status = text
        case .watchdog: process.beat(at: loop.now)
        case .watchdogTrigger:
            note("\(process.name.rawValue) asks to be replaced")
            process.signal(SIGABRT)
        case .stopping: break
        }
        setWatchdog()
    }

    private func received(_ signal: Int32) {
        switch signal {
        case SIGCHLD: reap()
        case SIGHUP:
            // A terminal that closes says it the same way as an operator who wants a reload.
            if terminalIsGone() { return stop() }
            note("reloading")
            for process in processes { process.signal(SIGHUP) }
        case SIGTERM, SIGINT: stop()
        default: break  // only the four of `init` are blocked into the signalfd
        }
    }

    private func terminalIsGone() -> Bool {
        [Int32(0), 1, 2].contains { descriptor in
            var look = pollfd(fd: descriptor, events: 0, revents: 0)
            return poll(&look, 1, 0) == 1 && look.revents & Int16(POLLHUP) != 0 && isatty(descriptor) == 0 && errno == EIO
        }
    }

    private func reap() {
        while true {
            var word: Int32 = 0
            let pid = lh_reap(-1, &word)
            guard pid > 0 else { return }
            // Others are workers of a scaler that died: nobody else will take their last word.
            if let process = processes.first(where: { $0.pid == Int32(pid) }) { ended(process, ChildEnd(status: word)) }
        }
    }

    private func ended(_ process: UpProcess, _ end: ChildEnd) {
        process.output.read()
        process.ended()
        setWatchdog()
        switch phase {
        case .draining where process.name == .dispatcher: endTheOthers()
        case .running, .draining:
            // Jobs in hand may need the others until the dispatcher is done.
            if end == .exited(ServiceKit.ExitStatus.configuration.rawValue) {
                note("\(process.name.rawValue) refuses the configuration; stopping")
                status = .configuration
                return stop()
            }
            note("\(process.name.rawValue) \(Self.describe(end)); starting it again")
            restartDue[process.name] = loop.now + Self.restartAfter
            restart?.deadline = restartDue.values.min() ?? .max
        case .ending: if processes.allSatisfy({ $0.pid == nil }) { loop.stop() }
        }
    }

    private static func describe(_ end: ChildEnd) -> String {
        switch end {
        case .exited(let code): "exited with \(code)"
        case .signalled(let signal): "was ended by signal \(signal)"
        }
    }

    // MARK: Watchdog

    private func setWatchdog() {
        let interval = options.watchdog.nanoseconds
        watchdogDue = phase == .running ? processes.map { $0.watchdogDeadline(interval) }.min() ?? .max : .max
        watchdog?.deadline = watchdogDue
    }

    private func strike(_ now: Int64) {
        let interval = options.watchdog.nanoseconds
        // It is we who stood still (Ctrl-Z): what they said meanwhile has not been read.
        if now - watchdogDue > Self.late { for process in processes { process.beat(at: now) } }
        for process in processes where process.watchdogDeadline(interval) <= now {
            guard process.strike(at: now, grace: Self.abortGrace) else { continue }
            note("\(process.name.rawValue) has not spoken for \(options.watchdog.milliseconds) ms; replacing it")
        }
        setWatchdog()
    }

    // MARK: Stopping

    /// Once: the dispatcher drains, then the others end. Twice: at once.
    func stop() {
        stops += 1
        restartDue[.dispatcher] = nil
        if stops > 1 {
            note("stopping at once")
            phase = .ending
            restartDue = [:]
            for process in processes {
                // The scaler kills its workers at its second signal, whichever; two SIGTERM at once would be one.
                process.signal(process.name == .scaler ? SIGTERM : SIGKILL)
                if process.name == .scaler { process.signal(SIGINT) }
            }
            deadline?.set(loop.instant + .seconds(1))
        } else if let dispatcher = processes.first(where: { $0.name == .dispatcher }), dispatcher.pid != nil {
            phase = .draining
            note("stopping; jobs in hand are finished first (once more: at once)")
            dispatcher.signal(SIGTERM)
        } else {
            endTheOthers()
        }
        setWatchdog()
        if processes.allSatisfy({ $0.pid == nil }) { loop.stop() }
    }

    private func endTheOthers() {
        phase = .ending
        restartDue = [:]
        restart?.deadline = .max
        for process in processes { process.signal(SIGTERM) }
        let workers = configuration.pools.compactMap { $0.workers?.stopTimeout }.max() ?? .zero
        deadline?.set(loop.instant + Self.endWithin + max(workers, configuration.assetCache?.drain ?? .zero))
        if processes.allSatisfy({ $0.pid == nil }) { loop.stop() }
    }

    private func endOverdue() {
        for process in processes where process.pid != nil {
            note("\(process.name.rawValue) does not end; killing it")
            process.signal(SIGKILL)
        }
    }

    /// Whatever was orphaned under us, above all workers of a scaler that was killed at the end.
    private func endOrphans() {
        for _ in 0..<100 {
            let children = ProcessTable.ownChildren()
            if children.isEmpty { return }
            for pid in children {
                _ = lh_kill(-pid, SIGKILL)  // a worker leads its group
                _ = lh_kill(pid, SIGKILL)
                _ = waitpid(pid, nil, 0)
            }
        }
    }

    // MARK: Words

    func note(_ text: String) {
        if let onNote = options.onNote { onNote(text) } else { lines.note(text) }
    }

    private func write(_ process: ProcessName, _ line: ArraySlice<UInt8>) {
        if let onLine = options.onLine { onLine(process, line) } else { lines.write(process, line) }
    }

    /// One `up` for a runtime directory: two would replace each other's sockets. Held for as long as the process lives.
    private static func lock(_ directory: String) throws(SystemError) -> Descriptor {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
        } catch {
            throw SystemError(EACCES, "create directory (is runtime-directory right, and may this user write there?)", directory)
        }
        return try Files.lock(directory + "/up.lock", holder: "does another `leasehold up` run?")
    }
}
