import ArgumentParser
import ServiceKit

/// `leasehold pause POOL`.
struct Pause: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Hold every new job of a pool; those that run go on.")

    @OptionGroup var options: DaemonOptions

    @Argument(help: "The pool's name.")
    var pool: String

    @Flag(help: "Answer new jobs with 503 at once instead of holding them.")
    var refuse = false

    func run() throws { try Operator(options).order(.poolKeeper, .pause(pool: pool, refuse: refuse)) }
}
