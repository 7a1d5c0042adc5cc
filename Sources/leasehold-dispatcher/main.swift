import ArgumentParser
import Foundation
import ServiceKit

/// Holds callers, dials the workers that they are given, and moves bytes between the two.
struct Dispatcher: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-dispatcher",
        abstract: "Hold callers until a worker is free, and relay each job to a worker of its own.", version: Version.current)

    @OptionGroup var options: DaemonOptions

    func run() throws {
        let service = try Service(
            .dispatcher, configurationPath: options.config, logLevel: options.logLevel, acceptsDescriptors: true)
        let shell: Shell
        do {
            shell = try Shell(service)
        } catch let error as Listening.AddressMismatch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            throw ExitCode(ExitStatus.configuration.rawValue)
        }
        try withExtendedLifetime(shell) {
            try service.run()
            // Nothing is taken apart: the other threads still turn on what would be closed under them, and take that for lost connections,
            // which they end. What a successor adopts must be as a kill leaves it.
            _exit(0)
        }
    }
}

Dispatcher.main()
