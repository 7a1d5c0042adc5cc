import ArgumentParser
import Foundation
import ServiceKit

/// Turns a source of endpoints and the scaler's local workers into one ordered feed.
struct Watcher: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-watcher",
        abstract: "Watch a source of endpoints and tell the pool-keeper of every change.", version: Version.current)

    @OptionGroup var options: DaemonOptions

    func run() throws {
        let service = try Service(.watcher, configurationPath: options.config, logLevel: options.logLevel)
        let shell = try Shell(service)
        try withExtendedLifetime(shell) { try service.run() }
    }
}

Watcher.main()
