import ArgumentParser
import CLinux
import Foundation
import Linux
import ServiceKit

/// `leasehold up`: every process in the foreground, for development.
struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run every process in the foreground.",
        discussion: """
            The same executables, sockets and protocols as under systemd. What ends is started again after 100 ms; a process that \
            misses its watchdog is replaced. Ctrl-C finishes the jobs in hand and ends everything, twice ends it at once. \
            SIGHUP reloads.
            """)

    @OptionGroup var options: DaemonOptions

    @Option(
        name: .customLong("ready-file"),
        help: ArgumentHelp("Write pids and listeners, as JSON, to this file once every process is ready.", valueName: "file"))
    var readyFile: String?

    @Option(help: ArgumentHelp("Seconds without a sign of life after which a process is replaced; 0 is never.", valueName: "seconds"))
    var watchdog = 10.0

    func validate() throws {
        guard watchdog >= 0, watchdog <= 86_400 else { throw ValidationError("--watchdog is a number of seconds from 0 to 86400.") }
    }

    func run() throws {
        let loaded: Configuration
        do throws(ConfigurationError) { loaded = try Configuration.load(path: options.config) } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            throw ExitCode(ServiceKit.ExitStatus.configuration.rawValue)
        }
        var settings = Supervisor.Options(configurationPath: options.config, logLevel: options.logLevel.rawValue)
        settings.watchdog = .milliseconds(Int64(watchdog * 1000))
        let readyFile = readyFile
        settings.onReady = { supervisor in
            supervisor.note("ready: " + supervisor.listenerReports.map { "\($0.name) on \($0.address)" }.joined(separator: ", "))
            if let readyFile { ReadyReport(supervisor).write(to: readyFile) }
        }
        let status: ServiceKit.ExitStatus
        do throws(SystemError) {
            status = try Supervisor(loaded, settings).run()
        } catch {
            FileHandle.standardError.write(Data("leasehold up: \(error)\n".utf8))
            throw ExitCode(ServiceKit.ExitStatus.unavailable.rawValue)
        }
        throw ExitCode(status.rawValue)
    }
}

/// What `--ready-file` tells.
struct ReadyReport: Codable {
    var pid: Int32
    /// By process name.
    var processes: [String: Int32]
    var listeners: [ListenerReport]
    var runtimeDirectory: String

    init(_ supervisor: Supervisor) {
        pid = getpid()
        processes = Dictionary(
            uniqueKeysWithValues: supervisor.processes.compactMap { process in process.pid.map { (process.name.rawValue, $0) } })
        listeners = supervisor.listenerReports
        runtimeDirectory = supervisor.configuration.runtimeDirectory
    }

    /// As a whole or not at all. A caller that named a place where it cannot be written waits for it in vain, so it is told.
    func write(to path: String) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            try encoder.encode(self).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            FileHandle.standardError.write(Data("leasehold up: the ready file cannot be written: \(error)\n".utf8))
        }
    }
}
