import ArgumentParser
import Linux
import Model
import ServiceKit

/// `leasehold wait-idle ENDPOINT`: what a worker's preStop hook runs.
struct WaitIdle: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait-idle", abstract: "Drain an endpoint, and wait until its last job has ended.",
        discussion: """
            For a worker's preStop hook: a pod that is about to be stopped takes nothing new and keeps what it has. Ends with 0 when the \
            endpoint has no lease left, or is not known; with 75 when --timeout is over.
            """)

    @OptionGroup var options: DaemonOptions

    @Argument(help: "Its UID or name, as `leasehold show endpoints` prints them.")
    var endpoint: String?

    @Option(help: "Its address instead, with or without the port: in a pod, its status.podIP.")
    var address: String?

    @Option(help: "How long to wait, like 10m; keep it below terminationGracePeriodSeconds.", transform: durationArgument)
    var timeout = Duration.seconds(600)

    func validate() throws {
        switch (endpoint, address) {
        case (nil, nil): throw ValidationError("name the endpoint, or write --address ADDRESS")
        case (.some, .some): throw ValidationError("name the endpoint or write --address, not both")
        case (nil, .some(let address)):
            guard SocketAddress(address) != nil || SocketAddress(ip: address, port: 0) != nil else {
                throw ValidationError("'\(address)' is no IP address")
            }
        case (.some, nil): break
        }
        guard timeout > .zero else { throw ValidationError("--timeout 0 is no time; write at least 1s") }
    }

    /// As the pool-keeper compares it.
    private var name: String {
        guard let address else { return endpoint ?? "" }
        return SocketAddress(address)?.description ?? SocketAddress(ip: address, port: 0)?.ip ?? address
    }

    func run() throws {
        let asked = try Operator(options)
        let end = monotonicNow() + timeout.nanoseconds
        var isDrained = false
        var lastFailure: Operator.Failure?
        while true {
            do throws(Operator.Failure) {
                if !isDrained { isDrained = try drain(asked) }
                // Nobody knows it, so nobody has a job there.
                if !isDrained { return }
                if try isIdle(asked) { return }
                lastFailure = nil
            } catch {
                // What a second look cannot mend. A pool-keeper that is away comes back and still knows the leases, also one that went in
                // the middle of its answer.
                let isFinal = error.status == ExitStatus.permission.rawValue || error.status == ExitStatus.protocol.rawValue
                if isFinal, !error.mayPass { throw error.exit }
                lastFailure = error
            }
            guard monotonicNow() < end else { break }
            Terminal.pause(min(.milliseconds(200), .nanoseconds(max(1, end - monotonicNow()))))
        }
        if let lastFailure { throw lastFailure.exit }
        Terminal.error("\(name) still has a job after \(timeout.milliseconds / 1000) s; it is drained")
        throw ExitCode(ExitStatus.temporary.rawValue)
    }

    /// False when there is no such endpoint and the pool-keeper knows all that there are.
    private func drain(_ asked: Operator) throws(Operator.Failure) -> Bool {
        do throws(Operator.Failure) {
            _ = try asked.ask(.poolKeeper, .drain(endpoint: name, pool: ""))
            return true
        } catch {
            // Right after its own start it does not know yet.
            guard error.isNothingMatched else { throw error }
            if try isRecovering(asked) { throw error }
            return false
        }
    }

    private func isRecovering(_ asked: Operator) throws(Operator.Failure) -> Bool {
        try asked.report([PoolReport].self, from: .poolKeeper, "pools").contains { $0.waitsForRecovery }
    }

    private func isIdle(_ asked: Operator) throws(Operator.Failure) -> Bool {
        // Leases may be told again until recovery is over, so this comes first.
        guard try !isRecovering(asked) else { return false }
        let name = self.name
        let rows = try asked.report([EndpointReport].self, from: .poolKeeper, "endpoints")
        return rows.filter { $0.uid == name || $0.name == name || $0.has(address: name) }.allSatisfy { $0.leases == 0 }
    }
}

extension EndpointReport {
    /// With or without the port.
    fileprivate func has(address: String) -> Bool {
        addresses.contains { $0 == address || SocketAddress($0)?.ip == address }
    }
}
