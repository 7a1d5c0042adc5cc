import ArgumentParser
import Foundation
import KubernetesClient
import ServiceKit

/// `--check-access`: who we are at the API server, and what it does not let us do. Starts nothing.
enum CheckAccess {
    /// Prints what is known, as lines that a YAML file may hold or as one line of JSON, and what is wrong on standard error; ends with
    /// 0, 69 (the server cannot be reached), 77 (it refuses something) or 78 (configured wrongly).
    static func run(_ path: String, json: Bool) throws {
        let configuration: Configuration
        do throws(ConfigurationError) { configuration = try Configuration.load(path: path) } catch {
            write("\(error)", to: .standardError)
            throw ExitCode(ExitStatus.configuration.rawValue)
        }
        guard let kubernetes = configuration.source?.kubernetes else {
            return write(json ? #"{"outcome":"not-needed"}"# : "# access: no API server is asked: there is no source.kubernetes")
        }
        let report = wait(
            for: AccessCheck(kubernetes.access, scopes: configuration.scopes.sorted(), userAgent: "leasehold-watcher/\(Version.current)"))
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            write(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            for line in report.lines { write("# \(line)") }
        }
        for warning in report.warnings { write("warning: \(warning)", to: .standardError) }
        if let problem = report.problem { write("error: source.kubernetes: \(problem)", to: .standardError) }
        throw ExitCode(report.outcome.status.rawValue)
    }

    private static func write(_ line: String, to handle: FileHandle = .standardOutput) {
        // Nobody is left to tell that nobody reads.
        try? handle.write(contentsOf: Data((line + "\n").utf8))
    }

    /// The command has nothing else to do meanwhile.
    private static func wait(for check: AccessCheck) -> AccessReport {
        final class Box: @unchecked Sendable {
            // Written before the signal, read after it.
            var report: AccessReport?
        }
        let box = Box()
        let done = DispatchSemaphore(value: 0)
        Task {
            box.report = await check.run()
            done.signal()
        }
        done.wait()
        guard let report = box.report else { preconditionFailure("the check ended without a report") }
        return report
    }
}

extension AccessReport.Outcome {
    /// How `--check-access` ends.
    var status: ExitStatus {
        switch self {
        case .allowed: .success
        case .denied: .permission
        case .unreachable: .unavailable
        case .misconfigured: .configuration
        }
    }
}
