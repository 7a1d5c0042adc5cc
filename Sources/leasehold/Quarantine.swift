import ArgumentParser
import ServiceKit

/// `leasehold quarantine ENDPOINT`.
struct Quarantine: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Set an endpoint aside for a while.")

    @OptionGroup var options: DaemonOptions

    @Argument(help: "Its UID, name or address, as `leasehold show endpoints` prints them.")
    var endpoint: String

    @Option(help: "Only in this pool; without it, in every pool that it is in.")
    var pool: String?

    @Option(name: .customLong("for"), help: "How long, like 30s or 10m.", transform: durationArgument)
    var duration = Duration.seconds(60)

    func validate() throws {
        guard duration > .zero else { throw ValidationError("--for 0 is no time; write at least 1ms") }
    }

    func run() throws {
        try Operator(options).order(.poolKeeper, .quarantine(endpoint: endpoint, pool: pool ?? "", duration: duration))
    }
}
