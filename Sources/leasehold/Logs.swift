import ArgumentParser
import Linux
import Model
import ServiceKit

/// `leasehold logs`: the journal's lines of one job, one lease or one pool. Becomes journalctl.
struct Logs: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the journal's lines of a job, a lease or a pool.",
        discussion: "Which jobs get a line is `log-jobs` in the configuration. `leasehold up` prints its lines itself.")

    @Option(help: "The job, as a problem body, `show queue` and the journal name it.")
    var job: UInt64?

    @Option(help: "The lease: POOL/EPOCH.COUNTER, as Leasehold-Lease says it, or EPOCH.COUNTER.")
    var lease: String?

    @Option(help: "The pool's name.")
    var pool: String?

    @Flag(name: .shortAndLong, help: "Go on with what comes.")
    var follow = false

    @Flag(help: "Print JSON, one entry a line, with all fields.")
    var json = false

    func validate() throws {
        guard job != nil || lease != nil || pool != nil else { throw ValidationError("name what to look for: --job, --lease or --pool") }
        _ = try arguments()
    }

    /// What journalctl is called with.
    func arguments() throws -> [String] {
        var arguments = ["journalctl"]
        if follow { arguments.append("--follow") }
        if json { arguments.append("--output=json") }
        var pools = pool.map { [$0] } ?? []
        if let job { arguments.append("LEASEHOLD_JOB=\(job)") }
        if let lease {
            let parts = lease.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count <= 2, let id = parts.last.flatMap({ LeaseID(String($0)) }) else {
                throw ValidationError("'\(lease)' is no lease; write it like browsers/1795241801.7")
            }
            arguments.append("LEASEHOLD_LEASE=\(id)")
            if parts.count == 2 { pools.append(String(parts[0])) }
        }
        guard Set(pools).count <= 1 else { throw ValidationError("the lease is of pool \(pools[1]), and --pool says \(pools[0])") }
        if let pool = pools.first {
            // A newline ends nothing here, but no pool is named so.
            guard !pool.isEmpty, pool.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { throw ValidationError("there is no pool of that name") }
            arguments.append("LEASEHOLD_POOL=\(pool)")
        }
        return arguments
    }

    func run() throws {
        guard let path = Executable.find("journalctl") else {
            Terminal.error("journalctl is not in PATH; without systemd the lines are where the daemons' standard error goes")
            throw ExitCode(ServiceKit.ExitStatus.unavailable.rawValue)
        }
        Terminal.error("\(Executable.become(path, arguments: try arguments(), environment: environmentVariables()))")
        throw ExitCode(ServiceKit.ExitStatus.system.rawValue)
    }
}
