import ArgumentParser
import Logging

/// What every daemon takes on its command line.
public struct DaemonOptions: ParsableArguments {
    @Option(name: .long, help: "The configuration file.")
    public var config = "/etc/leasehold/leasehold.yaml"

    @Option(name: .customLong("log-level"), help: "trace, debug, info, notice, warning, error or critical.")
    public var logLevel = Logger.Level.info

    public init() {}
}

extension Logger.Level: @retroactive ExpressibleByArgument {}
