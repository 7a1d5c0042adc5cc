import DispatcherCore
import Model
import Testing
import Wire

/// A scripted talk with the machine of one dispatcher loop: inputs in, orders out in words, invariants after every input.
struct JobTalk {
    var machine: JobMachine
    var now = Instant(nanoseconds: 1_000_000_000_000)
    private var leases: UInt64 = 0

    static let pool = PoolID(name: "browsers")
    static let address = SocketAddress(v4: 0x0a00_0001, port: 8080)
    static let alternate = SocketAddress(family: .v6, high: 0xfd00 << 48, low: 1, port: 8080)

    /// With `up`, the pool-keeper is there.
    init(up: Bool = true, _ change: (inout PoolPolicy) -> Void = { _ in }) {
        var policy = PoolPolicy(name: "browsers")
        change(&policy)
        machine = JobMachine(policies: [policy])
        if up { _ = say(.keeperUp) }
    }

    mutating func say(_ input: JobMachine.Input) -> [String] {
        var actions: [JobMachine.Action] = []
        machine.handle(input, at: now, into: &actions)
        machine.checkInvariants()
        return actions.map { words($0) }
    }

    mutating func pass(_ duration: Duration) { now = now + duration }

    private func words(_ action: JobMachine.Action) -> String {
        switch action {
        case .sendTicket(let id):
            let ticket = machine.ticket(of: id, at: now)
            return "ticket \(id.slot) aged \(ticket.age)" + (ticket.isRequeued ? " again" : "")
        case .sendCancel(let ticket): return "cancel \(JobID(ticket).slot)"
        case .sendUnused(let lease): return "unused \(lease)"
        case .sendDialFailed(let lease, let failure): return "dial failed \(lease) \(failure.name)"
        case .sendEnding(let lease): return "ending \(lease)"
        case .sendRelease(let lease, let outcome): return "release \(lease) \(outcome.name)"
        case .sendAssert(let id):
            let asserted = machine.assertion(of: id, at: now)
            return "assert \(asserted.lease) aged \(asserted.age)" + (asserted.isEnding ? " ending" : "") + (asserted.isProbe ? " probe" : "")
        case .sendAssertEnded(let lease): return "assert ended \(lease.lease) aged \(lease.age)"
        case .sendAsserted: return "asserted"
        case .dial(let id, let by): return "dial \(id.slot) at \(machine[id]?.address.description ?? "?") by \(by == .never ? "never" : "\(by - now)")"
        case .abandonDial(let id): return "abandon \(id.slot)"
        case .refuse(let id, let reason, _): return "refuse \(id.slot) \(reason.token)"
        case .cut(let id): return "cut \(id.slot)"
        case .probe(let probe): return "probe \(probe.lease)"
        }
    }

    // What is said.

    /// A job arrives; what is ordered then is the caller's to look at through `said`.
    mutating func arrive(_ request: JobRequest = JobRequest(pool: pool), said: inout [String]) -> JobID {
        let id = machine.reserve()
        said = say(.arrived(id, request))
        return id
    }

    mutating func arrive() -> JobID {
        var ignored: [String] = []
        return arrive(said: &ignored)
    }

    mutating func grant(_ id: JobID, alternate: SocketAddress? = nil) -> [String] {
        leases += 1
        return say(
            .reply(
                .grant(
                    Grant(
                        ticket: id.ticket, lease: LeaseID(epoch: 7, counter: leases), pool: Self.pool, endpoint: EndpointID(high: 0, low: 1),
                        address: Self.address, alternate: alternate, dialBy: .seconds(2)))))
    }

    mutating func probe(_ id: JobID) -> [String] {
        leases += 1
        return say(
            .probing(
                id,
                Probe(
                    lease: LeaseID(epoch: 7, counter: leases), pool: Self.pool, endpoint: EndpointID(high: 0, low: 1), address: Self.address,
                    timeout: .seconds(1))))
    }

    mutating func refuse(_ id: JobID, _ reason: Reason) -> [String] {
        say(.reply(.refuse(Refusal(ticket: id.ticket, reason: reason, retryAfter: .seconds(1)))))
    }

    /// A job that has come to this phase.
    mutating func job(in phase: JobPhase) -> JobID {
        let id = arrive()
        if phase == .waiting { return id }
        _ = grant(id)
        if phase == .dialing { return id }
        _ = say(.dialed(id))
        if phase == .serving { return id }
        _ = say(.callerLeft(id, reachedWorker: true))
        return id
    }
}
