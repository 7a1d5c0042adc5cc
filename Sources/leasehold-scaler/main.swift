import ArgumentParser
import ServiceKit

/// Starts and stops local workers to meet demand.
struct ScalerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-scaler", abstract: "Start and stop local workers to meet demand.", version: Version.current)

    @OptionGroup var options: DaemonOptions

    func run() throws {
        let service = try Service(.scaler, configurationPath: options.config, logLevel: options.logLevel)
        let shell = Shell(service)
        try withExtendedLifetime(shell) { try service.run() }
    }
}

ScalerCommand.main()
