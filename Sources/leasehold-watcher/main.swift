import ArgumentParser
import Foundation
import ServiceKit

/// Turns a source of endpoints and the scaler's local workers into one ordered feed.
struct Watcher: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-watcher",
        abstract: "Watch a source of endpoints and tell the pool-keeper of every change.", version: Version.current)

    @OptionGroup var options: DaemonOptions

    @Flag(help: "Ask the API server who we are and what it does not let us do, and end: 0, 69 unreachable, 77 refused, 78 configured wrongly.")
    var checkAccess = false

    @Flag(help: "With --check-access: print JSON.")
    var json = false

    func validate() throws {
        if json, !checkAccess { throw ValidationError("--json goes with --check-access") }
    }

    func run() throws {
        if checkAccess { return try CheckAccess.run(options.config, json: json) }
        let service = try Service(.watcher, configurationPath: options.config, logLevel: options.logLevel)
        let shell = try Shell(service)
        try withExtendedLifetime(shell) { try service.run() }
    }
}

Watcher.main()
