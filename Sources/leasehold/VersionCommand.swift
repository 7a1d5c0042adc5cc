import ArgumentParser
import ServiceKit

/// `leasehold version`.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

    @Flag(help: "Print JSON.")
    var json = false

    func run() { Terminal.write(json ? "{\"version\":\"\(Version.current)\"}\n" : "leasehold \(Version.current)\n") }
}
