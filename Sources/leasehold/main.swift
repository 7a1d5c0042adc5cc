import ArgumentParser
import ServiceKit

/// The operator's command.
struct Leasehold: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold", abstract: "One request, one worker of its own.", version: Version.current, subcommands: [Up.self, Demo.self])
}

Leasehold.main()
