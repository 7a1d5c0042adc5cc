import ArgumentParser
import Foundation
import Linux
import ServiceKit

/// `leasehold worker-exec POOL/PORT`: becomes the pool's worker. What leasehold-worker@.service runs.
struct WorkerExec: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker-exec", abstract: "Become a local worker, as the unit leasehold-worker@POOL-PORT does.", shouldDisplay: false)

    @OptionGroup var options: DaemonOptions

    @Argument(help: ArgumentHelp("The pool and the port, as systemd writes the unescaped instance.", valueName: "pool/port"))
    var place: String

    func run() throws {
        let parts = place.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0 else { throw ValidationError("'\(place)' is not POOL/PORT.") }
        let pool = try Operator.load(options.config).pool(named: String(parts[0]))
        guard let workers = pool?.workers, workers.ports.ports.contains(port) else {
            fail("\(options.config) has no local workers for pool '\(parts[0])' on port \(port)")
            throw ExitCode(ServiceKit.ExitStatus.configuration.rawValue)
        }
        let command = WorkerCommand(workers.command, pool: String(parts[0]), port: port)
        let program = command.arguments.first ?? ""
        guard let path = Executable.find(program) else {
            fail("no program '\(program)', neither beside \(Executable.ownDirectory())/leasehold nor in PATH")
            throw ExitCode(ServiceKit.ExitStatus.unavailable.rawValue)
        }
        let environment = environmentVariables(without: WorkerCommand.withheld) + command.environment
        fail("\(Executable.become(path, arguments: command.arguments, environment: environment))")
        throw ExitCode(ServiceKit.ExitStatus.system.rawValue)
    }

    private func fail(_ text: String) { FileHandle.standardError.write(Data("leasehold worker-exec: \(text)\n".utf8)) }
}
