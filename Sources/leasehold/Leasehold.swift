import ArgumentParser
import ServiceKit

/// The operator's command. Each subcommand has its own file.
struct Leasehold: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold",
        abstract: "Give every request one specific worker of its own.",
        discussion: """
            Exit codes follow sysexits(3): 0 done, 1 refused, 64 usage, 69 a process is not running, 75 no answer in time, \
            76 another version, 77 no permission, 78 configuration.
            """,
        version: Version.current,
        subcommands: [VersionCommand.self, Completions.self, WorkerExec.self],
        groupedSubcommands: [
            CommandGroup(name: "Run", subcommands: [Up.self, Demo.self]),
            CommandGroup(name: "Look", subcommands: [Check.self, Show.self, Explain.self, Top.self, Logs.self]),
            CommandGroup(name: "Assets", subcommands: [CacheCommand.self, ProfilesCommand.self]),
            CommandGroup(name: "Change", subcommands: [Drain.self, Undrain.self, WaitIdle.self, Quarantine.self, Pause.self, Resume.self]),
        ])
}
