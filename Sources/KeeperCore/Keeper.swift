import Model
import Wire

/// Who gets which endpoint, and in what order: the machine of the pool-keeper.
///
/// One door, ``handle(_:at:into:)``: an input, the time, and a buffer of orders. No clock, no descriptor, no logging and
/// no randomness inside; a copy is a snapshot. O(1) or O(log n) for every input about one job, at any number of
/// endpoints and tickets; what names many (a snapshot, the death of a dispatcher, a reload) costs its size.
///
/// After every input: no endpoint has more leases than slots unless they were asserted so, and no free endpoint has a
/// ticket that could take it. `checkInvariants()` says so at length.
public struct Keeper: Sendable {
    /// What is fixed for the life of the process.
    public struct Parameters: Sendable, Hashable {
        /// Greater than every earlier start's; on disk before the first grant.
        public var epoch: UInt64
        /// How long the leases in escrow and the tickets of a dead dispatcher wait for its successor.
        public var adoptWithin: Duration
        /// How long recovery waits for a dispatcher that is dead, at least: its workers may be at jobs for the longest `abandon`.
        public var recoveryGrace: Duration
        /// How long a node is avoided after its last dial time-out.
        public var nodeAvoidance: Duration
        /// How many of the newest decisions are remembered.
        public var decisions: Int

        public init(
            epoch: UInt64, adoptWithin: Duration = .zero, recoveryGrace: Duration = .seconds(2), nodeAvoidance: Duration = .seconds(30),
            decisions: Int = 8192
        ) {
            self.epoch = epoch
            self.adoptWithin = adoptWithin
            self.recoveryGrace = recoveryGrace
            self.nodeAvoidance = nodeAvoidance
            self.decisions = decisions
        }
    }

    let parameters: Parameters
    let started: Instant
    /// Nothing is granted before the first complete snapshot and the assertions of all who may hold leases.
    public private(set) var isRecovering = true
    /// The newest token granted or heard of.
    var latest: LeaseID
    var sequence: UInt64 = 0

    var pools = Slab<Pool>()
    var poolSlots = SlotTable()
    var poolOrder: [Slot] = []

    var endpoints = Slab<EndpointRecord>()
    var endpointSlots: [EndpointID: Slot] = [:]
    /// Whose an address is; and in the order in which they were named, all who claim one that has several.
    var owners: [SocketAddress: Slot] = [:]
    var contested: [SocketAddress: [Slot]] = [:]
    var members = Slab<Member>()
    /// What the source says of each member.
    var descriptions: ContiguousArray<Endpoint> = []
    /// Neighbours among the members of a pool, among its free and among its idle ones.
    var poolLinks: LinkColumn = []
    var freeLinks: LinkColumn = []
    var idleLinks: LinkColumn = []
    var nodes = Slab<NodeRecord>()
    var nodeSlots: [String: Slot] = [:]
    var nodeLinks: LinkColumn = []

    var leases = Slab<LeaseRecord>()
    /// Leases of this epoch by counter; those of earlier ones, which only recovery brings, apart.
    var leaseSlots = SlotTable()
    var inheritedLeases: [LeaseID: Slot] = [:]
    var leaseLinks: LinkColumn = []

    var tickets = Tickets()

    var dispatchers = Slab<DispatcherRecord>()
    var dispatcherOrder: [Slot] = []
    var linkSlots = SlotTable()
    /// Whose turn it is to probe.
    var nextProber = 0
    /// Set aside by an earlier pool-keeper, and not named by the source since our start.
    var inherited: [EndpointID: Instant] = [:]

    /// Drained by the operator, whether a source names them or not.
    var drained: Set<EndpointID> = []

    var staged: [EndpointsMessage]?
    var snapshots: UInt64 = 0
    /// What the watcher last said its knowledge is worth.
    public internal(set) var source = SourceHealth(state: .unknown)
    /// From changes at the source's side to our hearing of them, as far as the watcher knows.
    public internal(set) var propagation = LatencyHistogram()
    /// Scaler's drains that recovery keeps waiting for their answer.
    var heldDrains: [EndpointID] = []

    /// When the earliest ticket of each pool has waited long enough, by pool.
    var budgets = DeadlineHeap()
    /// Everything else that happens by time, by ``Timer`` number.
    var timers = DeadlineHeap()
    var touched: ContiguousArray<Slot> = []
    var ring: DecisionRing
    /// All that were heard of, by the numbers that decisions name them by.
    var seats: [String] = []
    /// Who was on the roster of the last start is not known.
    let hasLostRoster: Bool
    /// When the input at hand came, or the last one.
    var latestInput: Instant

    /// `roster` names the dispatchers that may hold leases of an earlier start, `setAside` the endpoints that it had set aside because
    /// their workers may still be at a job, `heldBack` what the operator had it hold back.
    public init(
        _ parameters: Parameters, policies: [PoolPolicy], roster: [RosterEntry] = [], setAside: [SetAside] = [],
        heldBack: HeldBack = HeldBack(), at now: Instant
    ) {
        self.parameters = parameters
        started = now
        latestInput = now
        ring = DecisionRing(capacity: parameters.decisions)
        latest = LeaseID(epoch: parameters.epoch, counter: 0)
        hasLostRoster = roster.contains(.unknown)
        for policy in policies { configure(policy, at: now) }
        for entry in roster {
            let d = addDispatcher(DispatcherRecord(instance: entry.instance, seat: entry.seat, phase: .expected))
            dispatchers[d].mayHoldUntold = true
            dispatchers[d].blocksRecovery = true
        }
        // The clock begins anew with the machine: a moment from before that may seem far away.
        let farthest = now + policies.reduce(Duration.zero) { max($0, $1.abandon, $1.quarantine.first) }
        for aside in setAside where aside.until > now { inherited[aside.endpoint] = min(aside.until, farthest) }
        drained = heldBack.drained
        for p in poolOrder {
            guard let refuses = heldBack.paused[pools[p].policy.id] else { continue }
            pools[p].state.isPaused = true
            pools[p].refusesWhilePaused = refuses
        }
        touched.removeAll()
        for p in poolOrder { pools[p].isTouched = false }
    }

    /// When ``Input/wake`` is due; ``Instant/never`` for not at all.
    public var nextWake: Instant { min(budgets.earliest, timers.earliest) }

    /// Takes one input and appends what is to be done. `now` never goes backwards.
    public mutating func handle(_ input: Input, at now: Instant, into actions: inout [Action]) {
        latestInput = now
        if nextWake <= now { runTimers(at: now, &actions) }
        switch input {
        case .request(let link, let request): requested(request, by: link, at: now, &actions)
        case .callerLeft(let instance, let ticket): callerLeft(ticket, of: instance, at: now, &actions)
        case .endpoints(let message): told(message, at: now, &actions)
        case .endpointsLost: staged = nil
        case .scaling(let request): scalingRequested(request, at: now, &actions)
        case .operated(let verb): operated(verb, at: now, &actions)
        case .dispatcherConnected(let link, let instance, let seat): connected(link, instance, seat, at: now, &actions)
        case .dispatcherLinkEnded(let link): linkEnded(link, at: now, &actions)
        case .dispatcherDied(let instance): died(instance, at: now, &actions)
        case .policiesChanged(let policies): policiesChanged(policies, at: now, &actions)
        case .wake: break
        }
        match(at: now, &actions)
        finish(&actions)
    }

    private mutating func requested(
        _ request: LeasingRequest, by link: DispatcherID, at now: Instant, _ actions: inout [Action]
    ) {
        let d = linkSlots[link.rawValue]
        guard d != .null else { return ignore(.lateRequest, &actions) }
        switch request {
        case .ticket(let ticket): ticketTold(ticket, by: d, at: now, &actions)
        case .cancel(let ticket): cancelled(ticket, by: d, at: now, &actions)
        case .unused(let lease): leaseReturned(lease, .released(.unused), by: d, at: now, &actions)
        case .dialFailed(let lease, let failure): leaseReturned(lease, .dialFailed(failure), by: d, at: now, &actions)
        case .ending(let lease): leaseEnding(lease, by: d, at: now, &actions)
        case .release(let lease, let outcome): leaseReturned(lease, .released(outcome), by: d, at: now, &actions)
        case .assertLease(let lease): leaseAsserted(lease, by: d, at: now, &actions)
        case .asserted: asserted(by: d, at: now, &actions)
        case .escrow(.worker(let worker)): workerEscrowed(worker.lease, by: d, &actions)
        case .escrow(.records), .escrow(.pipes), .escrow(.caller), .escrow(.callerGone): break
        }
    }

    /// What has a timer beside the tickets' budgets: the low bits of the timer's number.
    enum Timer: Slot {
        case endpoint, dispatcher, node

        func number(_ slot: Slot) -> Slot { slot &* 3 &+ rawValue }
    }

    /// Tickets whose budget has ended go first: no wait outlasts its budget, however late the wake-up came.
    private mutating func runTimers(at now: Instant, _ actions: inout [Action]) {
        while let p = budgets.due(at: now) {
            expireTickets(of: p, at: now, &actions)
            budgets.set(p, to: deadline(of: p))
        }
        while let number = timers.due(at: now) {
            timers.set(number, to: .never)
            guard let timer = Timer(rawValue: number % 3) else { continue }
            switch timer {
            case .endpoint: endpointTimer(number / 3, at: now, &actions)
            case .dispatcher: dispatcherTimer(number / 3, at: now, &actions)
            case .node: trust(number / 3, at: now, &actions)
            }
        }
        match(at: now, &actions)
    }

    /// Notes that the pool may have a match, and has something new to tell.
    @inline(__always)
    mutating func touch(_ p: Slot) {
        if pools[p].isTouched { return }
        pools[p].isTouched = true
        touched.append(p)
    }

    private mutating func finish(_ actions: inout [Action]) {
        while let p = touched.popLast() {
            pools[p].isTouched = false
            budgets.set(p, to: deadline(of: p))
            if pools[p].isReported { actions.append(.poolChanged(pools[p].policy.id)) }
            pools[p].isReported = pools[p].isConfigured
        }
    }

    /// Ends recovery once nothing is missing.
    mutating func recoverIfComplete(at now: Instant, _ actions: inout [Action]) {
        guard isRecovering, snapshots > 0 else { return }
        for d in dispatcherOrder where dispatchers[d].blocksRecovery { return }
        isRecovering = false
        for p in poolOrder { touch(p) }
        actions.append(.notice(.recovered(after: now - started)))
        let drains = heldDrains
        heldDrains = []
        for endpoint in drains { scalingRequested(.drain(endpoint), at: now, &actions) }
    }

    func ignore(_ race: Notice.Race, _ actions: inout [Action]) { actions.append(.notice(.ignored(race))) }
}
