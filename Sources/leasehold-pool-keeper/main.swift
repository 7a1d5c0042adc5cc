import ArgumentParser
import ServiceKit

/// Decides who gets which endpoint, and in what order.
struct PoolKeeper: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-pool-keeper", abstract: "Decide which job gets which worker, and in what order.", version: Version.current)

    @OptionGroup var options: DaemonOptions

    func run() throws {
        let service = try Service(.poolKeeper, configurationPath: options.config, logLevel: options.logLevel, acceptsDescriptors: true)
        let shell = try Shell(service)
        try service.run()
        shell.stopped()
    }
}

PoolKeeper.main()
