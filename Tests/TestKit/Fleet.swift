import CLinux
import Foundation
import Linux
import Model
import Wire

/// The built executables on a directory of their own, as one node runs them: started, killed, asked, and always cleaned up.
public final class Fleet: @unchecked Sendable {
    // Used by the thread of its test.

    public enum Process: String, Sendable, CaseIterable {
        case watcher
        case poolKeeper = "pool-keeper"
        case dispatcher
        case scaler
        case publisher
        case assetCache = "asset-cache"

        public static let core: [Process] = [.watcher, .poolKeeper, .dispatcher]
        /// Those that need no section of their own in the configuration.
        public static let node: [Process] = core + [.scaler]
    }

    /// `/tmp/lh.XXXXXX`
    public let directory: String
    private let group: Launch.Guard
    private var daemons: [Process: Daemon] = [:]
    private var all: [Daemon] = []
    private var workers: [TestWorker] = []
    private var starts = 0

    public var configurationPath: String { isInstalled ? "/etc/leasehold/leasehold.yaml" : directory + "/leasehold.yaml" }
    public var runtimeDirectory: String { isInstalled ? "/run/leasehold" : directory + "/run" }
    public var stateDirectory: String { isInstalled ? "/var/lib/leasehold" : directory + "/state" }
    public var endpointsDirectory: String { isInstalled ? "/etc/leasehold/endpoints.d" : directory + "/endpoints.d" }
    /// On the file system of the endpoints' directory, for `rename`.
    private var stagingDirectory: String { isInstalled ? "/etc/leasehold/staging" : directory + "/staging" }
    /// The package is installed here and systemd runs it: only the places are the fleet's.
    public let isInstalled: Bool

    /// Writes the configuration: the directories are added to what is given, and a directory of endpoints where it needs a source and names none.
    public init(_ configuration: String, isInstalled: Bool = false) throws {
        self.isInstalled = isInstalled
        var template = Array("/tmp/lh.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: errno \(errno)") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        group = try Launch.Guard(directory: directory)
        for path in [runtimeDirectory, stateDirectory, endpointsDirectory, stagingDirectory] {
            guard mkdir(path, 0o755) == 0 || isInstalled && errno == EEXIST else { throw TestFailure("mkdir \(path): errno \(errno)") }
        }
        try configure(configuration)
    }

    deinit { close() }

    /// Starts `processes`, runs `body`, and ends everything; what the processes wrote is printed if `body` throws.
    public static func run<T>(
        _ configuration: String, _ processes: [Process] = Process.core, _ body: (Fleet) throws -> T
    ) throws -> T {
        let fleet = try Fleet(configuration)
        defer { fleet.close() }
        do {
            try fleet.start(processes)
            return try body(fleet)
        } catch {
            fleet.printOutputs()
            throw error
        }
    }

    /// Replaces the configuration file (SIGHUP is up to the test).
    public func configure(_ configuration: String) throws {
        let directories = """
            runtime-directory: \(runtimeDirectory)
            state-directory: \(stateDirectory)

            """
        if isInstalled { return try write("source: { directory: \(endpointsDirectory) }\n" + configuration, to: configurationPath) }
        let needsSource = configuration.contains("service:") && !configuration.contains("source:")
        let source = needsSource ? "source: { directory: \(endpointsDirectory) }\n" : ""
        try write(directories + source + configuration, to: configurationPath)
    }

    /// Ends every process and removes the directory.
    public func close() {
        for worker in workers { worker.stop() }
        workers = []
        group.end()
        for daemon in all { _ = try? daemon.waitForExit() }
        all = []
        daemons = [:]
    }

    public func printOutputs() {
        for daemon in all {
            let text = daemon.output
            print("---- \(daemon.name), pid \(daemon.pid), \(daemon.look().map { "\($0)" } ?? "running") (\(directory))")
            print(text.utf8.count > 20_000 ? "…" + String(decoding: text.utf8.suffix(20_000), as: UTF8.self) : text)
        }
    }

    /// A worker that stops when the fleet does.
    @discardableResult
    public func own(_ worker: TestWorker) -> TestWorker {
        workers.append(worker)
        return worker
    }

    // MARK: Processes

    /// Starts all of them and waits until each has said READY=1.
    public func start(_ processes: [Process] = Process.core) throws {
        for process in processes { try launch(process) }
        for process in processes { try self[process].waitForNotification("READY=1") }
    }

    /// Starts one without waiting. `sockets` are passed by the LISTEN_FDS protocol; `descriptorLimit` is RLIMIT_NOFILE; with
    /// `user` it runs as somebody without privileges, to whom the fleet's directories are opened.
    @discardableResult
    public func launch(
        _ process: Process, sockets: [(name: String, descriptor: Int32)] = [], environment extra: [String: String] = [:],
        descriptorLimit: Int? = nil, user: UInt32? = nil
    ) throws -> Daemon {
        var environment = extra
        let program = "\(Launch.bin)/leasehold-\(process.rawValue)"
        let arguments = ["--config", configurationPath, "--log-level", "debug"]
        if let descriptorLimit {
            var become = ""
            if let user {
                for path in [directory, runtimeDirectory] where chmod(path, 0o777) != 0 { throw TestFailure("chmod \(path): errno \(errno)") }
                for name in try FileManager.default.contentsOfDirectory(atPath: runtimeDirectory) { chmod("\(runtimeDirectory)/\(name)", 0o777) }
                become = "setpriv --reuid \(user) --regid \(user) --clear-groups "
            }
            let daemon = try spawn(
                process.rawValue, "/bin/sh", ["-c", "ulimit -n \(descriptorLimit); exec \(become)\"$0\" \"$@\"", program] + arguments,
                environment: environment)
            daemons[process] = daemon
            return daemon
        }
        guard !sockets.isEmpty else {
            let daemon = try spawn(process.rawValue, program, arguments, environment: environment)
            daemons[process] = daemon
            return daemon
        }
        environment["LISTEN_FDS"] = "\(sockets.count)"
        environment["LISTEN_FDNAMES"] = sockets.map(\.name).joined(separator: ":")
        // LISTEN_PID must be the pid that the program will have: the shell sets it and becomes the program.
        let daemon = try spawn(
            process.rawValue, "/bin/sh", ["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\"", program] + arguments, environment: environment,
            descriptors: sockets.map(\.descriptor))
        daemons[process] = daemon
        return daemon
    }

    /// Runs `leasehold` with the fleet's configuration, to its end: what it wrote and how it ended.
    public func leasehold(_ arguments: String...) throws -> (output: String, exit: Daemon.Exit) {
        let command = try spawn("leasehold", "\(Launch.bin)/leasehold", arguments + ["--config", configurationPath])
        let exit = try command.waitForExit()
        return (command.output, exit)
    }

    /// Where an executable is.
    public static func executable(_ name: String) -> String { "\(Launch.bin)/\(name)" }

    /// Starts any program in the fleet's process group.
    public func spawn(
        _ name: String, _ program: String, _ arguments: [String], environment extra: [String: String] = [:], descriptors: [Int32] = []
    ) throws -> Daemon {
        starts += 1
        let notifyPath = "\(directory)/notify.\(starts)"
        let raw = lh_socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue))
        guard raw >= 0, lh_bind_unix(Int32(raw), notifyPath) >= 0 else { throw TestFailure("cannot bind \(notifyPath)") }
        chmod(notifyPath, 0o777)
        let notify = Descriptor(owning: Int32(raw))
        var environment = ["LEASEHOLD_FLEET": directory, "PATH": "\(Launch.bin):/usr/local/bin:/usr/bin:/bin", "NOTIFY_SOCKET": notifyPath]
        environment.merge(extra) { $1 }
        let output = "\(directory)/\(name).\(starts).log"
        let pid = try Launch.start(
            program, arguments, environment: environment, output: output, group: group.group, descriptors: descriptors)
        let daemon = try Daemon(name: name, pid: pid, outputPath: output, notify: notify)
        all.append(daemon)
        return daemon
    }

    /// Starts an executable of ours with sockets by the LISTEN_FDS protocol, as its manager; whoever calls reaps it. Appends to `NAME.log`.
    public func startManaged(
        _ process: Process, sockets: [(name: String, descriptor: Int32)], environment extra: [String: String], limits: String = ""
    ) throws -> Int32 {
        var environment = ["LEASEHOLD_FLEET": directory, "PATH": "\(Launch.bin):/usr/local/bin:/usr/bin:/bin"]
        environment["LISTEN_FDS"] = "\(sockets.count)"
        environment["LISTEN_FDNAMES"] = sockets.map(\.name).joined(separator: ":")
        environment.merge(extra) { $1 }
        return try Launch.start(
            "/bin/sh",
            ["-c", "\(limits)ulimit -c 0; LISTEN_PID=$$ exec \"$0\" --config \"$1\" --log-level notice",
                "\(Launch.bin)/leasehold-\(process.rawValue)", configurationPath],
            environment: environment, output: "\(directory)/\(process.rawValue).log", group: group.group,
            descriptors: sockets.map(\.descriptor))
    }

    public subscript(process: Process) -> Daemon {
        get throws {
            guard let daemon = daemons[process] else { throw TestFailure("\(process.rawValue) was not started") }
            return daemon
        }
    }

    /// kill -9, then a new process of the same kind, which is ready when this returns.
    public func restart(_ process: Process) throws {
        try self[process].kill()
        try launch(process)
        try self[process].waitForNotification("READY=1")
    }

    /// SIGHUP, and the end of the reload.
    public func reload(_ process: Process) throws {
        try self[process].signal(SIGHUP)
        try self[process].waitForNotification("RELOADING=1")
        try self[process].waitForNotification("READY=1")
    }

    // MARK: Endpoints

    /// Puts a file into the endpoints' directory in one step: written elsewhere, then renamed.
    public func publish(_ text: String, as file: String = "endpoints.yaml") throws {
        try write(text, to: "\(stagingDirectory)/\(file)")
        guard rename("\(stagingDirectory)/\(file)", "\(endpointsDirectory)/\(file)") == 0 else {
            throw TestFailure("rename \(file): errno \(errno)")
        }
    }

    public func publish(_ pods: [Pod], of service: String = "shop/pods", as file: String = "endpoints.yaml") throws {
        try publish(Pod.manifest(pods, of: service), as: file)
    }

    /// Removes a file from the endpoints' directory.
    public func unpublish(_ file: String = "endpoints.yaml") throws {
        guard unlink("\(endpointsDirectory)/\(file)") == 0 else { throw TestFailure("unlink \(file): errno \(errno)") }
    }

    /// Publishes and waits until the pool-keeper knows them.
    public func serve(_ pods: [Pod], pool name: String = "pods") throws {
        try publish(pods)
        try waitPool(name, "\(pods.count) endpoints") { $0.total == pods.count && !$0.waitsForRecovery }
    }

    private func write(_ text: String, to path: String) throws {
        do { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) } catch { throw TestFailure("\(path): \(error)") }
    }
}
