import ArgumentParser
import ServiceKit

/// `leasehold resume POOL`.
struct Resume: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Let a paused pool's jobs go on.")

    @OptionGroup var options: DaemonOptions

    @Argument(help: "The pool's name.")
    var pool: String

    func run() throws { try Operator(options).order(.poolKeeper, .resume(pool: pool)) }
}
