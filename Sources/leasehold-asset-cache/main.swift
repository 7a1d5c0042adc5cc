import ArgumentParser
import Foundation
import ServiceKit
import Systemd

/// Serves S3's clients from this node's disk.
struct AssetCache: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-asset-cache", abstract: "Keep assets on this node's disk and serve them over the S3 API.",
        version: Version.current)

    @OptionGroup var options: DaemonOptions

    func run() throws {
        let service = try Service(.assetCache, configurationPath: options.config, logLevel: options.logLevel)
        let shell: Shell
        do {
            shell = try Shell(service)
        } catch {
            guard error is Shell.Unconfigured || error is Listening.AddressMismatch || error is Authority.SecretError || error is OriginClient.TrustError
            else { throw error }
            service.logger.critical("The configuration does not fit", metadata: [LogKey.messageID: "\(MessageID.configurationWrong)", "problem": "\(error)"])
            throw ExitCode(ServiceKit.ExitStatus.configuration.rawValue)
        }
        try withExtendedLifetime(shell) { try service.run() }
        shell.end()
    }
}

AssetCache.main()
