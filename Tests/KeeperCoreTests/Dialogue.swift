import KeeperCore
import Model
import Testing
import Wire

/// A scripted talk with a keeper: says inputs, keeps the answers, moves time, checks invariants after every input.
final class Dialogue {
    var keeper: Keeper
    var now = Instant(nanoseconds: 1_000_000_000_000)
    let policies: [PoolPolicy]
    /// Everything since `clear()`.
    private(set) var actions: [Keeper.Action] = []
    private var links: UInt64 = 0
    private var generation: UInt64 = 0

    static let firstLink = DispatcherID(rawValue: 1)

    /// With `serving`, one dispatcher is connected and an empty snapshot has come.
    init(
        _ policies: PoolPolicy..., parameters: Keeper.Parameters = Keeper.Parameters(epoch: 7), roster: [RosterEntry] = [],
        setAside: [SetAside] = [], heldBack: HeldBack = HeldBack(), serving: Bool = true
    ) {
        self.policies = policies
        keeper = Keeper(parameters, policies: policies, roster: roster, setAside: setAside, heldBack: heldBack, at: now)
        guard serving else { return }
        snapshot()
        connect(instance: 100)
        clear()
    }

    var pool: PoolID { policies[0].id }

    // What is said.

    @discardableResult
    func say(_ input: Keeper.Input) -> [Keeper.Action] {
        let start = actions.count
        keeper.handle(input, at: now, into: &actions)
        keeper.checkInvariants()
        return Array(actions[start...])
    }

    func clear() { actions = [] }

    /// Moves time on, with a wake-up at every moment that the keeper asks for.
    func pass(_ duration: Duration) {
        let end = now + duration
        while keeper.nextWake <= end {
            now = max(now, keeper.nextWake)
            say(.wake)
        }
        now = end
    }

    /// A dispatcher with nothing in hand, unless `asserting`.
    @discardableResult
    func connect(instance: UInt64, asserting: Bool = false) -> DispatcherID {
        links += 1
        let link = DispatcherID(rawValue: links)
        say(.dispatcherConnected(link, instance: InstanceID(rawValue: instance), seat: "seat-\(instance)"))
        if !asserting { say(.request(link, .asserted)) }
        return link
    }

    func request(_ request: LeasingRequest, on link: DispatcherID = firstLink) { say(.request(link, request)) }

    func snapshot(_ endpoints: [(PoolID, Endpoint)] = []) {
        generation += 1
        say(.endpoints(.source(SourceHealth(state: .live))))
        say(.endpoints(.snapshotBegin(generation: generation)))
        for (pool, endpoint) in endpoints { say(.endpoints(.upsert(pool: pool, endpoint))) }
        say(.endpoints(.snapshotEnd(generation: generation)))
    }

    func upsert(_ endpoint: Endpoint, in pool: PoolID? = nil) { say(.endpoints(.upsert(pool: pool ?? self.pool, endpoint))) }
    func remove(_ endpoint: Endpoint, from pool: PoolID? = nil) { say(.endpoints(.remove(pool: pool ?? self.pool, endpoint.id))) }

    enum Answer: Equatable {
        case granted(Grant)
        case refused(Reason)
        case held
    }

    @discardableResult
    func ask(
        _ id: UInt64, in pool: PoolID? = nil, age: Duration = .zero, budget: Duration? = nil, requeued: Bool = false, urgency: UInt8 = 3,
        tenant: String = "", affinity: String = "", bytes: UInt32 = 0, on link: DispatcherID = firstLink
    ) -> Answer {
        let ticket = Ticket(
            id: TicketID(rawValue: id), pool: pool ?? self.pool, age: age, budget: budget, urgency: Urgency(rawValue: urgency) ?? .standard,
            tenant: tenant, affinity: affinity, bytes: bytes, isRequeued: requeued)
        for action in say(.request(link, .ticket(ticket))) {
            guard case .reply(_, let reply) = action else { continue }
            if case .grant(let grant) = reply, grant.ticket == ticket.id { return .granted(grant) }
            if case .refuse(let refusal) = reply, refusal.ticket == ticket.id { return .refused(refusal.reason) }
        }
        return .held
    }

    /// Asks, and must get a grant at once.
    func lease(
        _ id: UInt64, in pool: PoolID? = nil, on link: DispatcherID = firstLink, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Grant {
        guard case .granted(let grant) = ask(id, in: pool, on: link) else {
            Issue.record("ticket \(id) got no lease at once", sourceLocation: sourceLocation)
            throw Silence()
        }
        return grant
    }

    struct Silence: Error {}

    func release(_ lease: LeaseID, _ outcome: Outcome = .served, on link: DispatcherID = firstLink) {
        request(.release(lease, outcome), on: link)
    }

    // What was answered since `clear()`.

    var replies: [LeasingReply] {
        actions.compactMap { if case .reply(_, let reply) = $0 { reply } else { nil } }
    }
    var grants: [Grant] { replies.compactMap { if case .grant(let grant) = $0 { grant } else { nil } } }
    var refusals: [Refusal] { replies.compactMap { if case .refuse(let refusal) = $0 { refusal } else { nil } } }
    var probes: [Probe] { replies.compactMap { if case .probe(let probe) = $0 { probe } else { nil } } }
    var revoked: [LeaseID] { replies.compactMap { if case .revoke(let lease) = $0 { lease } else { nil } } }
    var drained: [EndpointID] { actions.compactMap { if case .scaling(.drained(let id)) = $0 { id } else { nil } } }
    var notices: [Notice] { actions.compactMap { if case .notice(let notice) = $0 { notice } else { nil } } }
    var races: [Notice.Race] { notices.compactMap { if case .ignored(let race) = $0 { race } else { nil } } }
    var closed: [Keeper.CloseReason] { actions.compactMap { if case .closeDispatcher(_, let reason) = $0 { reason } else { nil } } }
    var grantedTickets: [UInt64] { grants.map(\.ticket.rawValue) }
    var refusedTickets: [UInt64] { refusals.map(\.ticket.rawValue) }

    var state: PoolState { state(of: pool) }
    func state(of pool: PoolID) -> PoolState { keeper.state(of: pool, at: now) ?? PoolState(pool: pool) }
    func endpointState(_ endpoint: Endpoint, in pool: PoolID? = nil) -> EndpointState? {
        keeper.endpointReports(of: pool ?? self.pool, at: now).first { $0.endpoint.id == endpoint.id }?.state
    }
    func remaining(_ endpoint: Endpoint) -> Duration? {
        keeper.endpointReports(of: pool, at: now).first { $0.endpoint.id == endpoint.id }?.remaining
    }
}

/// The numbered endpoint of a test.
func worker(
    _ n: UInt64, port: UInt16 = 8080, _ conditions: Endpoint.Conditions = .ready, node: String = "", local: Bool = false
) -> Endpoint {
    Endpoint(
        id: EndpointID(high: 0, low: n), uid: "uid-\(n)", name: "worker-\(n)",
        addresses: [SocketAddress(v4: 0x0a00_0000 + UInt32(truncatingIfNeeded: n), port: port)], conditions: conditions, node: node,
        isLocal: local)
}

/// A policy with some of it changed.
func policy(_ name: String = "browsers", _ change: (inout PoolPolicy) -> Void = { _ in }) -> PoolPolicy {
    var policy = PoolPolicy(name: name)
    change(&policy)
    return policy
}
