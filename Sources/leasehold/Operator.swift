import ArgumentParser
import CLinux
import Foundation
import Linux
import ServiceKit
import Wire

/// Asks running processes, and turns what goes wrong into one line with the remedy and a code of sysexits(3).
struct Operator {
    let configuration: Configuration
    let isVerbose: Bool

    init(_ configuration: Configuration, isVerbose: Bool = false) {
        self.configuration = configuration
        self.isVerbose = isVerbose
    }

    init(_ options: DaemonOptions) throws {
        self.init(try Self.load(options.config), isVerbose: options.logLevel <= .debug)
    }

    /// The file, or its diagnostics on standard error and 78.
    static func load(_ path: String) throws -> Configuration {
        do throws(ConfigurationError) {
            return try Configuration.load(path: path)
        } catch {
            Terminal.write("\(error)\n", to: 2)
            throw ExitCode(ExitStatus.configuration.rawValue)
        }
    }

    /// What went wrong with a question.
    struct Failure: Error {
        var status: Int32
        var message: String
        /// The process is away, or silent: its successor may answer.
        var mayPass = false

        /// The verb was right, and what it named is not there.
        var isNothingMatched: Bool { message == ControlAnswer.nothingMatched }

        /// Tells the operator, and ends the command.
        var exit: ExitCode {
            Terminal.error(message)
            return ExitCode(status)
        }
    }

    /// A change that a process is asked for; prints what it says.
    func order(_ process: ProcessName, _ request: ControlRequest) throws {
        do throws(Failure) {
            let result = try ask(process, request)
            if !result.message.isEmpty { Terminal.write(result.message + "\n") }
        } catch {
            throw error.exit
        }
    }

    /// A report, decoded.
    func report<Report: Decodable>(_ type: Report.Type, from process: ProcessName, _ name: String) throws(Failure) -> Report {
        try report(type, from: process, .show(name))
    }

    func report<Report: Decodable>(_ type: Report.Type, from process: ProcessName, _ request: ControlRequest) throws(Failure) -> Report {
        let result = try ask(process, request)
        do {
            return try JSONDecoder().decode(type, from: Data(result.text.utf8))
        } catch {
            throw Failure(
                status: ExitStatus.protocol.rawValue,
                message: "the \(process.rawValue) answered what this command (\(Version.current)) does not understand; "
                    + "compare versions with `leasehold show processes`, and restart the older one")
        }
    }

    func ask(_ process: ProcessName, _ request: ControlRequest) throws(Failure) -> ControlClient.Result {
        let path = configuration.controlPath(process)
        if isVerbose { Terminal.error("asking \(path): \(request)") }
        let result: ControlClient.Result
        do throws(ControlClient.Failure) {
            result = try ControlClient.call(path: path, request)
        } catch {
            throw Failure(error, process)
        }
        guard result.status == 0 else { throw Failure(status: Int32(result.status), message: result.message) }
        return result
    }
}

extension Operator.Failure {
    init(_ failure: ControlClient.Failure, _ process: ProcessName) {
        let name = process.rawValue
        switch failure {
        case .notRunning(let path):
            self.init(
                status: ExitStatus.unavailable.rawValue,
                message: "the \(name) is not running (nothing listens on \(path)); start it with "
                    + "`systemctl start leasehold-\(name)`, or everything in the foreground with `leasehold up`", mayPass: true)
        case .notPermitted(let path):
            let remedy = Self.group(of: path).map { "join the group \($0) (usermod -aG \($0) USER), or use sudo" } ?? "use sudo"
            self.init(status: ExitStatus.permission.rawValue, message: "no permission to ask the \(name) on \(path); \(remedy)")
        case .timedOut(let path):
            self.init(
                status: ExitStatus.temporary.rawValue,
                message: "the \(name) did not answer in time on \(path); see `systemctl status leasehold-\(name)`", mayPass: true)
        case .broken(let path, let detail):
            self.init(
                status: ExitStatus.protocol.rawValue,
                message: "the \(name) on \(path): \(detail); see `journalctl -u leasehold-\(name)`", mayPass: true)
        }
    }

    /// The group that may pass the first thing on the way to the socket that stops us; nil when that is root's, or ours already.
    private static func group(of path: String) -> String? {
        var path = path
        while path.count > 1 {
            let attributes = try? FileManager.default.attributesOfItem(atPath: path)
            if let name = attributes?[.groupOwnerAccountName] as? String { return name == "root" ? nil : name }
            path = URL(filePath: path).deletingLastPathComponent().path()
            if path.hasSuffix("/") { path.removeLast() }
        }
        return nil
    }
}
