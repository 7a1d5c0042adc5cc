import ArgumentParser
import Logging

/// What every command and daemon takes on its command line. Anything else ends with ``ExitStatus/usage``.
public struct DaemonOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The configuration file.", valueName: "file"), completion: .file(extensions: ["yaml", "yml"]))
    public var config = Configuration.standardPath

    @Option(name: .long, help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "level"))
    public var logLevel = Logger.Level.info

    public init() {}
}

extension Logger.Level: @retroactive ExpressibleByArgument {}

/// A duration on the command line, written as in the configuration file; for `transform:`.
public func durationArgument(_ text: String) throws -> Duration {
    do throws(Complaint) { return try parseDuration(text) } catch { throw ValidationError("\(error.message); \(error.remedy)") }
}
