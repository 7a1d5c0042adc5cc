import KeeperCore
import Model
import Wire

/// The line of each pool as an onlooker at the pool-keeper's door sees it: who came when, and who may be served.
struct Line {
    struct Place {
        var ticket: TicketID
        var instance: InstanceID
        var pool: PoolID
        /// In nanoseconds: when it was told, less the age that it told; a job that comes back at once keeps what it had.
        var arrival: Int64
        var budget: Duration?
        var isRequeued: Bool
        var urgency: Urgency
        var tenant: String
        var hasAffinity: Bool
        var bytes: UInt32
        var isTold: Bool
        var isEligible: Bool
        /// Became eligible by the input at hand.
        var isFresh = true
        /// Was eligible until the input at hand.
        var isLeaving = false
        /// Leaves the line with the input at hand.
        var isCancelled = false
    }

    private var places: [Place] = []
    private var asserting: Set<InstanceID> = []
    /// The jobs of open leases.
    private var leased: [LeaseID: Place] = [:]
    /// The job of the lease that each dispatcher returned last.
    private var last: [InstanceID: Place] = [:]

    mutating func returned(_ lease: LeaseID, by instance: InstanceID) { last[instance] = leased.removeValue(forKey: lease) }

    /// The lease that a dead predecessor was granted for this job and that nobody has used: its heir tells its ticket again.
    func unread(_ ticket: Ticket, by instance: InstanceID, where isOpen: (LeaseID) -> Bool) -> LeaseID? {
        guard asserting.contains(instance), !ticket.isRequeued, index(ticket.id, instance) == nil else { return nil }
        return leased.first { $0.value.ticket == ticket.id && $0.value.instance == instance && isOpen($0.key) }?.key
    }

    func hasEligible(in pool: PoolID, where isOpen: (Place) -> Bool = { _ in true }) -> Bool {
        places.contains { $0.pool == pool && $0.isEligible && isOpen($0) }
    }

    func count(in pool: PoolID, of tenant: String? = nil) -> Int {
        places.filter { $0.pool == pool && (tenant == nil || $0.tenant == tenant) }.count
    }

    func bytes(in pool: PoolID) -> Int { places.reduce(0) { $1.pool == pool ? $0 + Int($1.bytes) : $0 } }

    mutating func connected(_ instance: InstanceID) {
        suspend(instance)
        asserting.insert(instance)
        for i in places.indices where places[i].instance == instance { places[i].isTold = false }
    }

    /// `isBack`: the job of the lease that ended last.
    mutating func told(_ ticket: Ticket, by instance: InstanceID, at now: Instant, isBack: Bool) {
        if let i = index(ticket.id, instance) {
            places[i].isTold = true
            places[i].isRequeued = ticket.isRequeued
            return
        }
        var arrival = now.nanoseconds - ticket.age.nanoseconds
        if isBack || ticket.isRequeued, let job = last[instance], job.ticket == ticket.id { arrival = min(arrival, job.arrival) }
        places.append(
            Place(
                ticket: ticket.id, instance: instance, pool: ticket.pool, arrival: arrival,
                budget: ticket.budget, isRequeued: ticket.isRequeued, urgency: ticket.urgency, tenant: ticket.tenant,
                hasAffinity: !ticket.affinity.isEmpty, bytes: ticket.bytes, isTold: true, isEligible: !asserting.contains(instance)))
    }

    mutating func asserted(_ instance: InstanceID) {
        asserting.remove(instance)
        places.removeAll { $0.instance == instance && !$0.isTold }
        for i in places.indices where places[i].instance == instance {
            places[i].isEligible = true
            places[i].isFresh = true
        }
    }

    mutating func suspend(_ instance: InstanceID) {
        for i in places.indices where places[i].instance == instance {
            if places[i].isEligible { places[i].isLeaving = true }
            places[i].isEligible = false
        }
    }

    /// Everything of the dead one is its heir's, and still to be told.
    mutating func inherit(from dead: InstanceID, to heir: InstanceID) {
        guard dead != heir else { return }
        for i in places.indices where places[i].instance == dead {
            places[i].instance = heir
            places[i].isTold = false
        }
        for (lease, place) in leased where place.instance == dead { leased[lease]?.instance = heir }
        last[heir] = last.removeValue(forKey: dead)
    }

    mutating func forget(_ instance: InstanceID) {
        places.removeAll { $0.instance == instance }
        last[instance] = nil
    }

    /// The caller has left. A timer that was due before that may have granted its ticket: the grant crosses the cancel, and comes back
    /// unused.
    mutating func cancelled(_ ticket: TicketID, of instance: InstanceID) {
        guard let i = index(ticket, instance) else { return }
        places[i].isLeaving = places[i].isEligible
        places[i].isEligible = false
        places[i].isCancelled = true
    }

    @discardableResult
    mutating func remove(_ ticket: TicketID, of instance: InstanceID) -> Place? {
        index(ticket, instance).map { places.remove(at: $0) }
    }

    /// Takes the granted ticket out; says what is wrong with the choice. Timers that were due are worked off before the input, so
    /// who came by the input has no claim then, and who goes by it still may.
    mutating func granted(
        _ ticket: TicketID, _ lease: LeaseID, of instance: InstanceID, in pool: PoolID, timersDue: Bool
    ) -> String? {
        guard let granted = remove(ticket, of: instance) else { return "a ticket that does not wait was granted" }
        leased[lease] = granted
        guard granted.isEligible || (timersDue && granted.isLeaving) else { return "a ticket was granted whose dispatcher is not there" }
        // Between tenants and urgencies there are other rules, and one that waits for its endpoint may be passed.
        for other in places where other.pool == pool && other.isEligible && other.arrival < granted.arrival && other.tenant == granted.tenant
            && other.urgency == granted.urgency && !other.hasAffinity
        {
            if timersDue, other.isFresh { continue }
            return "ticket \(ticket.rawValue) was served before ticket \(other.ticket.rawValue), which came "
                + "\(Duration.nanoseconds(granted.arrival - other.arrival)) earlier"
        }
        return nil
    }

    /// The input at hand is done with.
    mutating func settle() {
        places.removeAll(where: \.isCancelled)
        for i in places.indices { (places[i].isFresh, places[i].isLeaving) = (false, false) }
    }

    private func index(_ ticket: TicketID, _ instance: InstanceID) -> Int? {
        places.firstIndex { $0.ticket == ticket && $0.instance == instance }
    }
}

/// What the watcher has told this pool-keeper, taken literally.
struct Feed {
    private var pools: [PoolID: Set<EndpointID>] = [:]
    private var staged: [PoolID: Set<EndpointID>]?
    private var source = SourceHealth.State.unknown
    /// A complete snapshot has come.
    private(set) var isKnown = false

    func count(of pool: PoolID) -> Int { pools[pool]?.count ?? 0 }

    /// Takes a message; names a pool that a snapshot has emptied.
    mutating func take(_ message: EndpointsMessage) -> PoolID? {
        switch message {
        case .source(let health): source = health.state
        case .propagated: break
        case .snapshotBegin: staged = [:]
        case .snapshotEnd:
            guard let whole = staged else { return nil }
            staged = nil
            if source == .unknown { return nil }
            let emptied = pools.keys.sorted().first { count(of: $0) > 0 && (whole[$0] ?? []).isEmpty }
            pools = whole
            isKnown = true
            return emptied
        case .upsert(let pool, let endpoint):
            if staged != nil { staged?[pool, default: []].insert(endpoint.id) } else { pools[pool, default: []].insert(endpoint.id) }
        case .remove(let pool, let id):
            if staged != nil { staged?[pool]?.remove(id) } else { pools[pool]?.remove(id) }
        }
        return nil
    }

    mutating func lost() { staged = nil }
}
