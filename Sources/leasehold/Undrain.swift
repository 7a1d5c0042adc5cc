import ArgumentParser
import ServiceKit

/// `leasehold undrain ENDPOINT`.
struct Undrain: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Give a drained endpoint jobs again.")

    @OptionGroup var options: DaemonOptions

    @Argument(help: "Its UID, name or address, as `leasehold show endpoints` prints them.")
    var endpoint: String

    @Option(help: "Only in this pool; without it, in every pool that it is in.")
    var pool: String?

    func run() throws { try Operator(options).order(.poolKeeper, .undrain(endpoint: endpoint, pool: pool ?? "")) }
}
