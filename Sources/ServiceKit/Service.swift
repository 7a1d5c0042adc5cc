import CLinux
import Foundation
import Linux
import Logging
import Model
import Systemd
import Wire

/// The daemons, by the name of their unit and of their control socket.
public enum ProcessName: String, Sendable, CaseIterable {
    case watcher
    case poolKeeper = "pool-keeper"
    case dispatcher
    case scaler
    case assetCache = "asset-cache"
    case publisher
}

/// The skeleton of every daemon: configuration, journal, signals, readiness, watchdog, control edge and links, on one loop.
///
/// A daemon makes one, sets the hooks that it needs, opens its edges, says `ready` and calls `run()`.
public final class Service {
    public let name: ProcessName
    public let loop: Loop
    public let outbox: Outbox
    public let logger: Logger
    /// What the publisher is told of this process.
    public let vitals: Vitals
    /// The stable name of this instance (LEASEHOLD_SEAT, or "0"); it outlives the process.
    public let seat: String
    /// Drawn at every start: tells a restart from a reconnect.
    public let instance = UInt64.random(in: 1 ... .max)
    public let configurationPath: String
    public private(set) var configuration: Configuration
    /// Sockets that the manager opened, until the daemon takes them.
    public var listenDescriptors: ListenDescriptors
    /// The soft limit on descriptors after it was raised to the hard one.
    public let descriptorLimit: Int

    /// SIGHUP brought a valid configuration; returns what of it was put in force, in one line.
    public var onReload: (_ old: Configuration, _ new: Configuration) -> Void = { _, _ in }
    /// SIGTERM or SIGINT. The default stops at once.
    public var onTerminate: (_ isFirst: Bool) -> Void
    /// SIGUSR2: hand over to the next process in the seat. The default stops at once.
    public var onHandOver: () -> Void
    /// Everything but `show process`, which the skeleton answers.
    public var onControl: (ControlRequest) -> ControlAnswer = { _ in .failed(status: 64, "this process does not know that request") }
    /// For `show process`.
    public var counters: () -> [String: UInt64] = { [:] }
    /// Whether all of the process's loops make progress; false withholds WATCHDOG=1.
    public var isHealthy: () -> Bool = { true }

    private let operators = Operators()
    private let started = monotonicNow()
    private var isReady = false
    private var status = "Starting"
    private var statusDirty = false
    private var control: ControlServer?
    private var signals: SignalSource?
    private var watchdog: LoopTimer?
    private var terminations = 0

    /// Reads the configuration, joins the journal or the terminal, and opens the control edge. Exits with 78 and the reasons when the
    /// configuration is wrong.
    /// With `acceptsDescriptors`, peers are told how many descriptors they may send.
    public init(
        _ name: ProcessName, configurationPath: String, logLevel: Logger.Level, acceptsDescriptors: Bool = false
    ) throws(SystemError) {
        self.name = name
        self.configurationPath = configurationPath
        _ = lh_ignore_sigpipe()
        descriptorLimit = try check(lh_raise_descriptor_limit(), "setrlimit", "RLIMIT_NOFILE")
        listenDescriptors = try ListenDescriptors()
        let events = EventLog()
        logger = Service.makeLogger(for: name, level: logLevel, events)
        seat = ProcessInfo.processInfo.environment["LEASEHOLD_SEAT"] ?? "0"
        // Before the configuration, so that one which is wrong does not make a manager turn in a circle.
        Service.slowDown(name, seat: seat, logger)
        configuration = Service.loadOrExit(configurationPath)
        loop = try Loop()
        outbox = Outbox(loop: loop, descriptorBudget: acceptsDescriptors ? Service.descriptorBudget(of: descriptorLimit) : 0)
        onTerminate = { _ in }
        onHandOver = {}
        try Service.prepareDirectories(configuration)
        let hello = Hello(edge: .vitals, seat: seat, instance: instance)
        vitals = try Vitals(
            name, path: configuration.vitalsPath(name), listener: listenDescriptors.take("vitals").first, hello: hello, outbox: outbox,
            events: events, started: started)
        let loop = self.loop
        onTerminate = { _ in loop.stop() }
        onHandOver = { loop.stop() }
        signals = try SignalSource([SIGTERM, SIGINT, SIGHUP, SIGUSR2], on: loop) { [unowned self] in received($0) }
        control = try ControlServer(
            path: controlPath(name), listener: listenDescriptors.take("control").first, hello: self.hello(.control), outbox: outbox
        ) { [unowned self] request, link in answer(request, link) }
        if let interval = Notify.watchdogInterval() {
            watchdog = loop.timer { [unowned self] now in
                if isHealthy() { Notify.watchdog() }
                watchdog?.deadline = now + interval
            }
            watchdog?.deadline = monotonicNow() + interval
        }
        loop.atTurnEnd { [unowned self] in
            guard statusDirty, isReady else { return }
            statusDirty = false
            Notify.status(status)
        }
    }

    /// What a process with this limit on descriptors (RLIMIT_NOFILE) takes from its peers: all but a reserve for its own.
    public static func descriptorBudget(of limit: Int) -> UInt32 { UInt32(clamping: limit - min(1024, limit / 2)) }

    // MARK: Edges

    /// Threads of one process are instances of their own: `thread` counts from 0.
    public func hello(_ edge: Edge, seat: String? = nil, thread: Int = 0) -> Hello {
        Hello(edge: edge, seat: seat ?? self.seat, instance: instance &+ UInt64(thread), descriptorBudget: edge.carriesDescriptors ? outbox.descriptorBudget : 0)
    }

    public func socketPath(_ edge: Edge) -> String { "\(configuration.runtimeDirectory)/\(edge.name).sock" }
    public func controlPath(_ process: ProcessName) -> String { configuration.controlPath(process) }

    /// Opens the listening end of an edge: the manager's socket of that name, or the path in the runtime directory.
    public func listen(_ edge: Edge) throws(SystemError) -> LinkServer {
        let server: LinkServer
        if let given = listenDescriptors.take(edge.name).first {
            server = try LinkServer(owning: given, hello: hello(edge), outbox: outbox)
        } else {
            server = try LinkServer(path: socketPath(edge), hello: hello(edge), outbox: outbox)
        }
        let members = EdgeMembers(edge)
        server.accepts = { members.admits($0) }
        let logger = self.logger
        server.onRefused = { reason in
            logger.warning(
                "A link was refused, continuing without it",
                metadata: ["edge": "\(edge.name)", "reason": "\(reason)", LogKey.messageID: "\(MessageID.linkRefused)"])
        }
        return server
    }

    /// The connecting end of an edge; `start()` it when its hooks are set. A `loop` other than the service's has its own outbox.
    public func connect(_ edge: Edge, seat: String? = nil, thread: Int = 0, outbox: Outbox? = nil) -> LinkClient {
        LinkClient(path: socketPath(edge), hello: hello(edge, seat: seat, thread: thread), outbox: outbox ?? self.outbox)
    }

    // MARK: Life

    /// READY=1, once.
    public func ready(status text: String) {
        status = text
        guard !isReady else { return }
        refuseLeftoverSockets()
        isReady = true
        Notify.ready(status: text)
        logger.notice("Ready", metadata: ["status": "\(text)", LogKey.messageID: "\(MessageID.ready)"])
    }

    /// A socket that the manager holds and nobody here takes: callers would wait in its backlog for ever.
    private func refuseLeftoverSockets() {
        guard !listenDescriptors.entries.isEmpty else { return }
        let names = listenDescriptors.entries.map(\.name).joined(separator: ", ")
        logger.critical(
            "A socket unit passes a socket that the configuration does not name: add a listener of that name, or disable the unit",
            metadata: ["sockets": "\(names)", LogKey.messageID: "\(MessageID.unknownSocket)"])
        exit(ExitStatus.configuration.rawValue)
    }

    /// The STATUS line; sent at the end of the turn.
    public func setStatus(_ text: String) {
        guard text != status else { return }
        status = text
        statusDirty = true
    }

    /// Turns the loop until it is stopped, then says so.
    public func run() throws(SystemError) {
        try loop.run()
        outbox.flush()
        logger.notice("Stopped", metadata: [LogKey.messageID: "\(MessageID.stopped)"])
    }

    private func received(_ signal: Int32) {
        switch signal {
        case SIGTERM, SIGINT:
            terminations += 1
            Notify.stopping()
            logger.notice(
                "Stopping", metadata: ["signal": "\(signal)", "at-once": "\(terminations > 1)", LogKey.messageID: "\(MessageID.stopping)"])
            onTerminate(terminations == 1)
        case SIGUSR2: onHandOver()
        case SIGHUP: reload()
        default: break  // only the four of `init` are blocked into the signalfd
        }
    }

    private func reload() {
        Notify.reloading()
        defer { Notify.ready(status: status) }
        let new: Configuration
        do throws(ConfigurationError) {
            new = try Configuration.load(path: configurationPath)
        } catch {
            logger.error(
                "The new configuration is not valid; the old one stays in force",
                metadata: ["errors": "\(error)", LogKey.messageID: "\(MessageID.reloadRefused)"])
            return
        }
        let fixed = new.changesNeedingRestart(from: configuration)
        guard fixed.isEmpty else {
            logger.error(
                "The new configuration changes what only a restart can change; the old one stays in force",
                metadata: ["changes": "\(fixed.joined(separator: ", "))", LogKey.messageID: "\(MessageID.reloadRefused)"])
            return
        }
        let old = configuration
        configuration = new
        onReload(old, new)
        logger.notice("Configuration reloaded", metadata: [LogKey.messageID: "\(MessageID.reloaded)"])
    }

    private func answer(_ request: ControlRequest, _ link: Link) -> ControlAnswer {
        guard operators.may(request.changesSomething ? .change : .look, link) else {
            logger.warning(
                "A request was refused for want of rights, continuing",
                metadata: ["uid": "\(link.credentials.uid)", LogKey.messageID: "\(MessageID.notPermitted)"])
            return .failed(
                status: UInt8(ExitStatus.permission.rawValue),
                "uid \(link.credentials.uid) may not do that: join \(request.changesSomething ? Operators.changers : Operators.lookers)")
        }
        guard case .show("process") = request else { return onControl(request) }
        let report = ProcessReport(
            process: name.rawValue, seat: seat, pid: getpid(), version: Version.current, instance: String(instance, radix: 16),
            ready: isReady, status: status, uptimeSeconds: Double(monotonicNow() - started) / 1e9, counters: counters())
        return .json(report)
    }

    /// This daemon's own directory for what a successor of the same boot wants: the manager's RuntimeDirectory, else the shared one.
    public var privateRuntimeDirectory: String { Service.managersDirectory ?? configuration.runtimeDirectory }

    private static var managersDirectory: String? {
        ProcessInfo.processInfo.environment["RUNTIME_DIRECTORY"].map { String($0.prefix { $0 != ":" }) }
    }

    /// A process that keeps dying waits a moment, so that it does not take the machine's time from those that work. Only where a manager
    /// gives it a directory: `leasehold up` is watched by somebody. Signals are not blocked yet: whatever the manager sends ends it at once.
    private static func slowDown(_ name: ProcessName, seat: String, _ logger: Logger) {
        guard let directory = managersDirectory else { return }
        let history = StartHistory(path: "\(directory)/\(name.rawValue)-\(seat.filter { $0 != "/" }).starts")
        guard history.record(at: monotonicNow()) else { return }
        Notify.status("Started \(StartHistory.most) times within \(StartHistory.within.components.seconds) s: waiting a moment")
        logger.warning(
            "Started too often, continuing after a moment",
            metadata: ["ms": "\(StartHistory.pause.milliseconds)", LogKey.messageID: "\(MessageID.startsTooOften)"])
        Thread.sleep(forTimeInterval: Double(StartHistory.pause.milliseconds) / 1000)
    }

    /// This daemon's own directory for what must outlive it: `state-directory/NAME`, made if missing.
    public func stateDirectory() throws(SystemError) -> String {
        let path = "\(configuration.stateDirectory)/\(name.rawValue)"
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
        } catch {
            throw SystemError(EACCES, "create directory (is state-directory right, and may this user write there?)", path)
        }
        return path
    }

    private static func prepareDirectories(_ configuration: Configuration) throws(SystemError) {
        for directory in ["", "/control", "/vitals"].map({ configuration.runtimeDirectory + $0 }) {
            do {
                try FileManager.default.createDirectory(
                    atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
            } catch {
                throw SystemError(EACCES, "create directory (is runtime-directory right, and may this user write there?)", directory)
            }
        }
    }

    private static func makeLogger(for name: ProcessName, level: Logger.Level, _ events: EventLog) -> Logger {
        let label = "leasehold-\(name.rawValue)"
        var socket: JournalSocket?
        if JournalSocket.isStandardError() {
            do throws(SystemError) { socket = try JournalSocket() } catch {
                // Standard error still reaches the journal as plain lines.
                socket = nil
            }
        }
        return Logger(label: label) { label in
            if let socket { return EventTee(JournalLogHandler(label: label, level: level, sink: socket), events) }
            return EventTee(TerminalLogHandler(label: label, level: level), events)
        }
    }

    private static func loadOrExit(_ path: String) -> Configuration {
        do throws(ConfigurationError) { return try Configuration.load(path: path) } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(ExitStatus.configuration.rawValue)
        }
    }
}

extension Configuration {
    /// Whether the file is for that process too.
    public func names(_ process: ProcessName) -> Bool {
        switch process {
        case .watcher, .poolKeeper, .dispatcher, .scaler: !pools.isEmpty
        case .assetCache: assetCache != nil
        case .publisher: publisher != nil
        }
    }

    /// Where a process listens for the operator's command.
    public func controlPath(_ process: ProcessName) -> String { "\(runtimeDirectory)/control/\(process.rawValue).sock" }

    /// Where a process tells the publisher of its vitals.
    public func vitalsPath(_ process: ProcessName) -> String { "\(runtimeDirectory)/vitals/\(process.rawValue).sock" }
}

extension ControlAnswer {
    /// A report as compact JSON with sorted keys.
    public static func json(_ value: some Encodable) -> ControlAnswer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return .report(String(decoding: try encoder.encode(value), as: UTF8.self))
        } catch {
            return .failed(status: 70, "the report could not be encoded: \(error)")
        }
    }
}
