import ArgumentParser
import ServiceKit

/// `leasehold drain ENDPOINT`.
struct Drain: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Give an endpoint no new jobs; those that it has go on.")

    @OptionGroup var options: DaemonOptions

    @Argument(help: "Its UID, name or address, as `leasehold show endpoints` prints them.")
    var endpoint: String

    @Option(help: "Only in this pool; without it, in every pool that it is in.")
    var pool: String?

    func run() throws { try Operator(options).order(.poolKeeper, .drain(endpoint: endpoint, pool: pool ?? "")) }
}
