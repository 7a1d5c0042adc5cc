import KeeperCore
import Model
import Wire

/// The keeper again: slow, without a single counter, list or timer kept between inputs, and meant to be read.
///
/// It computes every state anew from plain facts. Where the design leaves a choice (which of several free endpoints),
/// it follows the keeper and checks that the choice was a legal one.
final class ReferenceKeeper {
    struct Lease {
        var id: LeaseID
        var pool: PoolID
        var endpoint: EndpointID
        var instance: InstanceID
        var told: Int
        var isEnding = false
        var isProbe = false
        var isEscrowed = false
        /// What it was granted to, as far as this keeper granted it.
        var job: Job?
        var tenant = "default"
        /// The level at which its tenant was charged.
        var charged: Int?
    }

    struct Job {
        var ticket: TicketID
        var arrival: Instant
    }

    struct Waiting {
        var id: TicketID
        var pool: PoolID
        var instance: InstanceID
        var arrival: Instant
        var sequence: Int
        var budget: Duration?
        var isRequeued: Bool
        var isSuspended: Bool
        var told: Int
        var urgency: Urgency
        /// As the pool knows it.
        var tenant: String
        /// As the ticket says it.
        var tenantTold: String
        /// Of the tenant and the key.
        var affinity: String?
        var keyTold: String
        var bytes: UInt32
        /// The endpoint that it waits for alone, and until when.
        var awaited: (endpoint: EndpointID, until: Instant)?
    }

    struct Place {
        var description: Endpoint
        var isGone: Bool
        /// Gone, and remembered for its address only.
        var isKept = false
        var seen = 0
        var idleSince: Instant?
    }

    enum Recovery: Equatable {
        case none
        case settling(until: Instant)
        case awaitingReady
    }

    struct Worker {
        var places: [PoolID: Place] = [:]
        var drainedByOperator = false
        var drainedByScaler = false
        var owesDrained = false
        var isUsedUp = false
        var recovery = Recovery.none
        var quarantinedUntil: Instant?
        /// The quarantine began with a cut; until then no readiness ends it.
        var cutUntil: Instant?
        var repeats = 0
        var node = ""
    }

    struct Pool {
        var policy: PoolPolicy
        var isConfigured: Bool
        var isPaused = false
        var refuses = false
        /// Virtual time at each level, and where each tenant's next grant begins.
        var virtual: [Int: Int64] = [:]
        var passes: [String: [Int: Int64]] = [:]
        var served: [String: EndpointID] = [:]
    }

    enum Phase { case expected, asserting, up, away, dead }

    struct Process {
        var seat: String
        var link: DispatcherID?
        var phase: Phase
        var assertion = 0
        /// On the roster that this start began with, which may have been lost, and not asserted since.
        var mayHoldUntold = false
        var blocks = false
        var adoptUntil: Instant?
        /// The job of the lease that it gave back last.
        var returned: Job?
        /// By the jobs that they were granted to: leases that its predecessor may not have used.
        var unread: [TicketID: LeaseID] = [:]
        var blocksUntil: Instant?
    }

    struct Node {
        var timeouts = 0
        var avoidedUntil: Instant?
    }

    struct Disagreement: Error, CustomStringConvertible {
        var description: String
    }

    let parameters: Keeper.Parameters
    var pools: [PoolID: Pool] = [:]
    var workers: [EndpointID: Worker] = [:]
    /// Who has an address, in the order in which they were named.
    var claims: [SocketAddress: [EndpointID]] = [:]
    var nodes: [String: Node] = [:]
    var drained: Set<EndpointID> = []
    var leases: [Lease] = []
    var tickets: [Waiting] = []
    var processes: [InstanceID: Process] = [:]
    var processOrder: [InstanceID] = []
    var staged: [EndpointsMessage]?
    var snapshots = 0
    var sourceIsUnknown = true
    var isRecovering = true
    var hasLostRoster = false
    var latest: LeaseID
    var sequence = 0
    var heldDrains: [EndpointID] = []

    // What the keeper did with the input at hand, still to be explained.
    var replies: [(DispatcherID, LeasingReply)] = []
    var expected: [Keeper.Action] = []
    var now = Instant.zero

    init(_ parameters: Keeper.Parameters, policies: [PoolPolicy], roster: [RosterEntry]) {
        self.parameters = parameters
        latest = LeaseID(epoch: parameters.epoch, counter: 0)
        for policy in policies { pools[policy.id] = Pool(policy: policy, isConfigured: true) }
        for entry in roster { processes[entry.instance] = Process(seat: entry.seat, phase: .expected, mayHoldUntold: true, blocks: true) }
        hasLostRoster = roster.contains(.unknown)
        processOrder = roster.map(\.instance)
    }

    // Plain facts.

    func unknown(_ id: EndpointID) -> Worker { Worker(drainedByOperator: drained.contains(id)) }

    func open(_ id: EndpointID) -> [Lease] { leases.filter { $0.endpoint == id } }

    func slots(_ worker: Worker) -> Int {
        max(1, worker.places.filter { !$0.value.isKept }.keys.compactMap { pools[$0] }.filter(\.isConfigured).map(\.policy.slots).min() ?? 1)
    }

    func isWilling(_ worker: Worker) -> Bool {
        !worker.drainedByOperator && !worker.drainedByScaler && !worker.isUsedUp && worker.recovery == .none
            && worker.quarantinedUntil == nil
    }

    func has(_ id: EndpointID, _ address: SocketAddress, named: Bool) -> Bool {
        workers[id]?.places.values.contains { $0.description.addresses.contains(address) && !(named && $0.isGone) } ?? false
    }

    func claim(_ address: SocketAddress, _ id: EndpointID) {
        dropClaims()
        if claims[address]?.last != id { claims[address] = (claims[address] ?? []).filter { $0 != id } + [id] }
    }

    func dropClaims() {
        for (address, all) in claims { claims[address] = all.filter { has($0, address, named: false) } }
    }

    /// A job may be running at its addresses.
    func holdsAddress(_ id: EndpointID) -> Bool {
        !open(id).isEmpty || (workers[id]?.quarantinedUntil != nil && workers[id]?.cutUntil != nil)
    }

    /// A dial could reach another endpoint's worker: it has a lease there, or was named there later.
    func isShadowed(_ id: EndpointID) -> Bool {
        claims.contains { address, all in
            guard has(id, address, named: false) else { return false }
            let present = all.filter { has($0, address, named: false) }
            if present.contains(where: { $0 != id && holdsAddress($0) }) { return true }
            return present.last { has($0, address, named: true) }.map { $0 != id } ?? false
        }
    }

    func state(_ id: EndpointID, in pool: PoolID) -> EndpointState? {
        guard let worker = workers[id], let place = worker.places[pool], !place.isKept else { return nil }
        let open = open(id)
        let couldRun = isWilling(worker) && !isShadowed(id) && place.description.isUsable && !place.isGone
        if !open.isEmpty {
            if couldRun, open.count < slots(worker) { return .free }
            return open.allSatisfy(\.isEnding) ? .ending : .leased
        }
        if place.isGone { return nil }
        if worker.drainedByOperator || worker.drainedByScaler || worker.isUsedUp { return .draining }
        if !place.description.isUsable || isShadowed(id) { return .unready }
        if worker.quarantinedUntil != nil { return .quarantined }
        return worker.recovery == .none ? .free : .recovering
    }

    func exists(_ pool: PoolID) -> Bool { workers.values.contains { $0.places[pool].map { !$0.isGone } ?? false } }

    func budget(_ own: Duration?, _ pool: PoolID) -> Duration {
        guard let policy = pools[pool]?.policy else { return .zero }
        if snapshots == 0 { return own ?? max(policy.holdTimeout, policy.noEndpointsTimeout) }
        if exists(pool) { return own ?? policy.holdTimeout }
        return own.map { min($0, policy.noEndpointsTimeout) } ?? policy.noEndpointsTimeout
    }

    func state(of pool: PoolID) -> PoolState? {
        guard let known = pools[pool], known.isConfigured else { return nil }
        var result = PoolState(pool: pool)
        result.isPaused = known.isPaused
        result.isRecovering = isRecovering
        for (id, worker) in workers {
            guard let place = worker.places[pool], let state = state(id, in: pool) else { continue }
            switch state {
            case .unready: result.unready += 1
            case .free: result.free += 1
            case .leased: result.leased += 1
            case .ending: result.ending += 1
            case .recovering: result.recovering += 1
            case .quarantined: result.quarantined += 1
            case .draining: result.draining += 1
            }
            if state != .unready, state != .draining, !place.description.isLocal { result.remote += 1 }
        }
        result.leases = UInt32(leases.filter { $0.pool == pool && !$0.isProbe }.count)
        result.queued = UInt32(tickets.filter { $0.pool == pool }.count)
        if let oldest = oldest(in: pool) { result.oldestWait = now - oldest }
        for ticket in tickets where ticket.pool == pool { result.queuedByUrgency[Int(ticket.urgency.rawValue)] += 1 }
        if known.policy.tenants.count > 1 {
            result.tenants = known.policy.tenants.map { tenant in
                TenantState(
                    name: tenant.name, queued: UInt32(tickets.filter { $0.pool == pool && $0.tenant == tenant.name }.count),
                    leased: UInt32(leased(tenant.name, in: pool)), oldestWait: oldest(in: pool, tenant.name).map { now - $0 } ?? .zero)
            }
        }
        return result
    }

    // One input.

    /// Follows the keeper through one input; throws where it did something else than it should have.
    func follow(_ input: Keeper.Input, at now: Instant, _ actions: [Keeper.Action]) throws {
        self.now = now
        expected = []
        replies = actions.compactMap { if case .reply(let link, let reply) = $0 { (link, reply) } else { nil } }
        try runTimers()
        try apply(input)
        try match()
        forgetWhatIsGone()

        let rest = replies.map { Keeper.Action.reply($0.0, $0.1) }
        guard rest.isEmpty else { throw Disagreement(description: "unexplained replies \(rest)") }
        let told = actions.filter { action in
            switch action {
            case .scaling, .closeDispatcher, .operated, .handOver, .closeWorker, .fence, .watchCallers, .dropEscrow: true
            case .reply, .poolChanged, .rosterChanged, .notice: false
            }
        }
        guard told.count == expected.count, Set(told) == Set(expected) else {
            throw Disagreement(description: "told \(told), expected \(expected)")
        }
    }

    func take(_ what: String, where matches: (DispatcherID, LeasingReply) -> Bool) throws {
        guard let i = replies.firstIndex(where: { matches($0.0, $0.1) }) else { throw Disagreement(description: "missing: \(what)") }
        replies.remove(at: i)
    }

    private func runTimers() throws {
        for i in tickets.indices where tickets[i].awaited.map({ $0.until <= now }) ?? false { tickets[i].awaited = nil }
        for ticket in tickets where !ticket.isSuspended && ticket.arrival + budget(ticket.budget, ticket.pool) <= now {
            try refuse(ticket)
        }
        for (id, worker) in workers {
            if let until = worker.quarantinedUntil, until <= now { endQuarantine(id) }
            if case .settling(let until) = worker.recovery, until <= now { workers[id]?.recovery = .none }
        }
        for (name, node) in nodes where node.avoidedUntil.map({ $0 <= now }) ?? false { nodes[name] = Node() }
        forgetWhatIsGone()
        for instance in processes.keys { endAdoption(instance) }
        for (instance, process) in processes where process.phase == .dead { bury(instance, process) }
        recoverIfComplete()
        markIdle()
        try followProbes()
        try match()
        forgetWhatIsGone()
    }

    private func followProbes() throws {
        for (link, reply) in replies {
            guard case .probe(let probe) = reply else { continue }
            guard let (instance, _) = processes.first(where: { $0.value.link == link && $0.value.phase == .up }) else {
                throw Disagreement(description: "a probe for a dispatcher that is not up")
            }
            guard !isRecovering, pools[probe.pool].map({ !$0.isPaused && $0.policy.health != nil }) ?? false,
                state(probe.endpoint, in: probe.pool) == .free, open(probe.endpoint).isEmpty, probe.lease > latest
            else { throw Disagreement(description: "probe \(probe) of an endpoint that is not idle") }
            latest = probe.lease
            leases.append(
                Lease(
                    id: probe.lease, pool: probe.pool, endpoint: probe.endpoint, instance: instance,
                    told: processes[instance]?.assertion ?? 0, isProbe: true))
            try take("probe") { $1 == reply }
        }
    }

    func isAvoided(_ id: EndpointID) -> Bool {
        guard let worker = workers[id], !worker.node.isEmpty else { return false }
        return nodes[worker.node]?.avoidedUntil != nil
    }

    func reason(_ pool: PoolID, _ tenant: String, isRequeued: Bool) -> Reason {
        guard let known = pools[pool], known.isConfigured else { return .noEndpoints }
        if known.isPaused { return .paused }
        if isRecovering { return .keeperUnavailable }
        if isRequeued { return .dialFailed }
        if !exists(pool) { return .noEndpoints }
        return isCapped(tenant, in: pool) ? .tenantLimit : .holdTimeout
    }

    func refuse(_ ticket: Waiting, _ reason: Reason? = nil) throws {
        let reason = reason ?? self.reason(ticket.pool, ticket.tenant, isRequeued: ticket.isRequeued)
        tickets.removeAll { $0.id == ticket.id && $0.instance == ticket.instance }
        try refuse(ticket.id, ticket.instance, reason)
    }

    func refuse(_ id: TicketID, _ instance: InstanceID, _ reason: Reason) throws {
        guard let link = processes[instance]?.link else { return }
        try take("refusal of \(id) for \(reason)") {
            if case .refuse(let refusal) = $1 { $0 == link && refusal.ticket == id && refusal.reason == reason } else { false }
        }
    }

    /// Local endpoints without a job, since when.
    func markIdle() {
        for (id, worker) in workers {
            for (pool, place) in worker.places {
                let isIdle =
                    place.description.isLocal && !place.isGone && place.description.isUsable && isWilling(worker)
                    && !isShadowed(id) && open(id).allSatisfy(\.isProbe)
                if isIdle != (place.idleSince != nil) { workers[id]?.places[pool]?.idleSince = isIdle ? now : nil }
            }
        }
    }

    /// Endpoints that no source names are remembered only as long as they could do harm.
    func forgetWhatIsGone() {
        for (id, worker) in workers {
            var isSettling = false
            if case .settling = worker.recovery { isSettling = true }
            if open(id).isEmpty, worker.quarantinedUntil == nil, !isSettling {
                let named = worker.places.values.filter { !$0.isGone }.flatMap(\.description.addresses)
                for (pool, place) in worker.places where place.isGone {
                    let isKept = place.description.addresses.first.map { address in named.contains { $0.isOnHost(of: address) } } ?? false
                    workers[id]?.places[pool]?.isKept = isKept
                    if !isKept { workers[id]?.places[pool] = nil }
                }
            }
            if workers[id]?.places.isEmpty ?? false { workers[id] = nil }
        }
        dropClaims()
        nodes = nodes.filter { name, _ in workers.values.contains { $0.node == name } }
    }

    func bury(_ instance: InstanceID, _ process: Process) {
        var process = process
        if let until = process.blocksUntil, until <= now {
            process.blocksUntil = nil
            process.blocks = false
        }
        processes[instance] = process.adoptUntil == nil && process.blocksUntil == nil ? nil : process
    }

    func recoverIfComplete() {
        guard isRecovering, snapshots > 0, !processes.values.contains(where: \.blocks) else { return }
        isRecovering = false
        for id in heldDrains { drain(id) }
        heldDrains = []
    }
}
