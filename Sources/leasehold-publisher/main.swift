import ArgumentParser
import Foundation
import ServiceKit
import Systemd

/// Tells the outside what is going on.
struct PublisherCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-publisher", abstract: "Serve metrics, health and a status page.", version: Version.current)

    @OptionGroup var options: DaemonOptions

    func run() throws {
        let service = try Service(.publisher, configurationPath: options.config, logLevel: options.logLevel)
        let shell: Shell
        do {
            shell = try Shell(service)
        } catch {
            guard error is Shell.Unconfigured || error is Listening.AddressMismatch || error is Certificate.Unusable else { throw error }
            service.logger.critical(
                "The configuration does not fit", metadata: [LogKey.messageID: "\(MessageID.configurationWrong)", "problem": "\(error)"])
            throw ExitCode(ServiceKit.ExitStatus.configuration.rawValue)
        }
        try withExtendedLifetime(shell) { try service.run() }
    }
}

PublisherCommand.main()
