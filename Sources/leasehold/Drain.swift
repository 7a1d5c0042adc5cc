import ArgumentParser
import ServiceKit

/// `leasehold drain ENDPOINT`, `leasehold drain --idle N --pool POOL`.
struct Drain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give an endpoint no new jobs; those that it has go on.",
        discussion: "With --idle, that many endpoints of the pool that have no job, the longest idle first; each is printed by its UID.")

    @OptionGroup var options: DaemonOptions

    @Argument(help: "Its UID, name or address, as `leasehold show endpoints` prints them.")
    var endpoint: String?

    @Option(help: "How many idle endpoints to drain.")
    var idle: UInt32?

    @Option(help: "Only in this pool; without it, in every pool that it is in.")
    var pool: String?

    func validate() throws {
        switch (endpoint, idle) {
        case (nil, nil): throw ValidationError("name an endpoint, or write --idle N --pool POOL")
        case (.some, .some): throw ValidationError("name an endpoint or write --idle, not both")
        case (nil, .some(0)): throw ValidationError("--idle 0 drains nothing; write at least 1")
        case (nil, .some): if pool == nil { throw ValidationError("--idle needs the pool: write --pool POOL") }
        case (.some, nil): break
        }
    }

    func run() throws {
        if let endpoint { return try Operator(options).order(.poolKeeper, .drain(endpoint: endpoint, pool: pool ?? "")) }
        try Operator(options).order(.poolKeeper, .drainIdle(pool: pool ?? "", most: idle ?? 0))
    }
}
