import KeeperCore
import Model
import Wire

// Who is first in line, computed anew from the tickets each time.

extension ReferenceKeeper {
    func leased(_ tenant: String, in pool: PoolID) -> Int { leases.filter { $0.pool == pool && !$0.isProbe && $0.tenant == tenant }.count }

    func limits(_ tenant: String, in pool: PoolID) -> PoolPolicy.Tenant? { pools[pool]?.policy.tenants.first { $0.name == tenant } }

    func isCapped(_ tenant: String, in pool: PoolID) -> Bool {
        limits(tenant, in: pool)?.maxLeased.map { leased(tenant, in: pool) >= $0 } ?? false
    }

    /// The configured tenant that a job's word names, or the default one.
    func tenant(_ told: String, in pool: PoolID) -> String {
        let tenants = pools[pool]?.policy.tenants ?? []
        return tenants.dropFirst().contains { $0.name == told } ? told : tenants.first?.name ?? "default"
    }

    func tenant(_ told: TenantID, in pool: PoolID) -> String {
        let tenants = pools[pool]?.policy.tenants ?? []
        return tenants.dropFirst().first { TenantID(name: $0.name) == told }?.name ?? tenants.first?.name ?? "default"
    }

    func oldest(in pool: PoolID, _ tenant: String? = nil) -> Instant? {
        tickets.filter { $0.pool == pool && !$0.isSuspended && (tenant == nil || $0.tenant == tenant) }.map(\.arrival).min()
    }

    func level(_ ticket: Waiting) -> Int {
        let age = pools[ticket.pool]?.policy.ageAfter.nanoseconds ?? 0
        let told = Int64(ticket.urgency.rawValue)
        return Int(age > 0 ? max(0, told - (now - ticket.arrival).nanoseconds / age) : told)
    }

    /// Waits in line for any endpoint.
    private func isListed(_ ticket: Waiting) -> Bool { !ticket.isSuspended && ticket.awaited == nil }

    /// Tickets of more than one tenant or urgency are in line: grants are charged.
    private func isShared(_ pool: PoolID) -> Bool {
        Set(tickets.filter { $0.pool == pool && isListed($0) }.map { "\($0.tenant) \($0.urgency.rawValue)" }).count > 1
    }

    private func start(_ tenant: String, _ level: Int, _ pool: PoolID) -> Int64 {
        max(pools[pool]?.passes[tenant]?[level] ?? 0, pools[pool]?.virtual[level] ?? 0)
    }

    private func stride(_ tenant: String, _ pool: PoolID) -> Int64 { (1 << 20) / Int64(limits(tenant, in: pool)?.weight ?? 1) }

    func refund(_ lease: Lease) {
        guard let level = lease.charged else { return }
        let stride = stride(lease.tenant, lease.pool)
        pools[lease.pool]?.passes[lease.tenant, default: [:]][level, default: 0] -= stride
    }

    private func isFree(_ id: EndpointID, in pool: PoolID) -> Bool { state(id, in: pool) == .free }

    /// The endpoint that served the ticket's key last, as far as it has a place in the pool.
    private func served(_ ticket: Waiting) -> EndpointID? {
        guard let key = ticket.affinity, let id = pools[ticket.pool]?.served[key], state(id, in: ticket.pool) != nil else { return nil }
        return id
    }

    private func isAwaitable(_ id: EndpointID, in pool: PoolID) -> Bool {
        guard let place = workers[id]?.places[pool], !place.isGone else { return false }
        return switch state(id, in: pool) {
        case .leased, .ending, .recovering, .unready: true
        case .free, .quarantined, .draining, nil: false
        }
    }

    /// Whether a ticket that takes its place now waits for one endpoint alone.
    func awaited(_ ticket: Waiting) -> (endpoint: EndpointID, until: Instant)? {
        guard let id = served(ticket), isAwaitable(id, in: ticket.pool), let policy = pools[ticket.pool]?.policy else { return nil }
        let until = min(ticket.arrival + policy.affinityWait, ticket.arrival + budget(ticket.budget, ticket.pool))
        let others = tickets.filter { $0.pool == ticket.pool && $0.awaited?.endpoint == id }.count
        return until > now && others < Keeper.Limits.affinityWaits ? (id, until) : nil
    }

    /// Takes its place: for one endpoint, or in line.
    func enqueue(_ i: Int) {
        tickets[i].isSuspended = false
        tickets[i].awaited = awaited(tickets[i])
    }

    /// Those who wait for an endpoint that does not come back wait in line.
    func settleWaits() {
        for i in tickets.indices {
            guard let id = tickets[i].awaited?.endpoint else { continue }
            if !isAwaitable(id, in: tickets[i].pool), !isFree(id, in: tickets[i].pool) { tickets[i].awaited = nil }
        }
    }

    /// Whether an endpoint of the pool may go to a ticket of this tenant and level.
    private func isOpen(_ pool: PoolID, _ tenant: String, _ level: Int) -> Bool {
        guard let known = pools[pool], known.isConfigured, !known.isPaused, !isRecovering else { return false }
        let free = workers.keys.count { isFree($0, in: pool) }
        return free > 0 && !isCapped(tenant, in: pool) && (level == 0 || free > known.policy.reserve)
    }

    /// Whether a ticket that has just come can have an endpoint at once.
    func canHave(_ ticket: Waiting) -> Bool { isOpen(ticket.pool, ticket.tenant, level(ticket)) && awaited(ticket) == nil }

    private struct Rank {
        var ticket: Waiting
        var level: Int
        var start: Int64
    }

    /// The first in line of a pool; several where the design leaves the choice open.
    private func firsts(of pool: PoolID) -> [Rank] {
        let ranks = tickets.filter { $0.pool == pool && !$0.isSuspended }.map { Rank(ticket: $0, level: level($0), start: start($0.tenant, level($0), pool)) }
            .filter { rank in
                isOpen(pool, rank.ticket.tenant, rank.level) && (rank.ticket.awaited.map { isFree($0.endpoint, in: pool) } ?? true)
            }
        // Of one tenant's at one level, the first that came; only then the tenants beside each other.
        var heads: [String: Rank] = [:]
        for rank in ranks {
            let key = "\(rank.ticket.tenant) \(rank.level)"
            guard let other = heads[key] else {
                heads[key] = rank
                continue
            }
            if (rank.ticket.arrival, rank.ticket.sequence) < (other.ticket.arrival, other.ticket.sequence) { heads[key] = rank }
        }
        guard let best = heads.values.map({ ($0.level, $0.start, $0.ticket.arrival) }).min(by: <) else { return [] }
        return heads.values.filter { ($0.level, $0.start, $0.ticket.arrival) == best }
    }

    /// As long as somebody can have an endpoint, the first in line gets it.
    func match() throws {
        forgetWhatIsGone()
        markIdle()
        settleWaits()
        defer { markIdle() }
        guard !isRecovering else { return }
        while true {
            let lines = pools.keys.map { firsts(of: $0) }.filter { !$0.isEmpty }
            guard !lines.isEmpty else { return }
            guard let (link, granted) = replies.lazy.compactMap({ reply -> (DispatcherID, Grant)? in
                if case .grant(let grant) = reply.1 { (reply.0, grant) } else { nil }
            }).first, let rank = lines.joined().first(where: { $0.ticket.id == granted.ticket && processes[$0.ticket.instance]?.link == link })
            else { throw Disagreement(description: "first in line are \(lines.joined().map { "\($0.ticket) at \($0.level), \($0.start)" }), granted is another or none") }
            for line in lines where !line.contains(where: { $0.ticket.pool == rank.ticket.pool }) {
                if line.allSatisfy({ ($0.level, $0.ticket.arrival) < (rank.level, rank.ticket.arrival) }) {
                    throw Disagreement(description: "ticket \(granted.ticket) was overtaken in another pool")
                }
            }
            let isCharged = isShared(rank.ticket.pool)
            try grant(rank.ticket, charged: isCharged ? rank.level : nil)
            if isCharged {
                pools[rank.ticket.pool]?.virtual[rank.level] = rank.start
                let next = rank.start + stride(rank.ticket.tenant, rank.ticket.pool)
                pools[rank.ticket.pool]?.passes[rank.ticket.tenant, default: [:]][rank.level] = next
            }
            tickets.removeAll { $0.id == rank.ticket.id && $0.instance == rank.ticket.instance }
            forgetWhatIsGone()
            markIdle()
        }
    }

    func grant(_ ticket: Waiting, charged: Int? = nil) throws {
        guard let process = processes[ticket.instance], let link = process.link, process.phase == .up else {
            throw Disagreement(description: "a ticket waits for a dispatcher that is not up")
        }
        guard
            let granted = replies.lazy.compactMap({ reply -> Grant? in
                if reply.0 == link, case .grant(let grant) = reply.1, grant.ticket == ticket.id { grant } else { nil }
            }).first
        else { throw Disagreement(description: "ticket \(ticket.id) got no grant though an endpoint is free") }
        guard let first = replies.first(where: { if case .grant = $0.1 { true } else { false } }), first.1 == .grant(granted) else {
            throw Disagreement(description: "ticket \(ticket.id) was overtaken")
        }
        guard granted.pool == ticket.pool, state(granted.endpoint, in: ticket.pool) == .free, granted.lease > latest else {
            throw Disagreement(description: "an illegal grant \(granted)")
        }
        if let id = ticket.awaited?.endpoint, id != granted.endpoint {
            throw Disagreement(description: "a ticket that waits for one endpoint got another")
        }
        if let id = served(ticket), isFree(id, in: ticket.pool) {
            if id != granted.endpoint { throw Disagreement(description: "the endpoint of its key is free, and it got another") }
        } else if isAvoided(granted.endpoint) {
            let better = workers.keys.contains { isFree($0, in: ticket.pool) && !isAvoided($0) }
            if better { throw Disagreement(description: "an endpoint on an avoided node was preferred") }
        }
        guard workers[granted.endpoint]?.places[ticket.pool]?.description.addresses.first == granted.address else {
            throw Disagreement(description: "a wrong address")
        }
        try take("grant") { $0 == link && $1 == .grant(granted) }
        latest = granted.lease
        if let key = ticket.affinity { pools[ticket.pool]?.served[key] = granted.endpoint }
        leases.append(
            Lease(
                id: granted.lease, pool: ticket.pool, endpoint: granted.endpoint, instance: ticket.instance, told: process.assertion,
                job: Job(ticket: ticket.id, arrival: ticket.arrival), tenant: ticket.tenant, charged: charged))
    }

    /// Refuses those that have to go for a ticket that comes; nil when it may wait.
    func makeRoom(for entry: Waiting) throws -> Reason? {
        guard let policy = pools[entry.pool]?.policy else { return .noEndpoints }
        while true {
            let here = tickets.filter { $0.pool == entry.pool }
            let bytes = here.reduce(0) { $0 + Int($1.bytes) } + Int(entry.bytes)
            let own = here.filter { $0.tenant == entry.tenant }
            let isTenants = limits(entry.tenant, in: entry.pool)?.maxQueued.map { own.count >= $0 } ?? false
            guard isTenants || here.count >= policy.maxQueued || bytes > policy.maxBytes ?? .max else { return nil }
            let reason: Reason = isTenants ? .tenantLimit : .queueFull
            guard policy.shed == .oldest else { return reason }
            let listed = (isTenants ? own : here).filter { isListed($0) && $0.urgency.rawValue >= entry.urgency.rawValue }
            let victim = listed.min {
                ($1.urgency.rawValue, $0.arrival, $0.sequence) < ($0.urgency.rawValue, $1.arrival, $1.sequence)
            }
            guard let victim, !victim.isRequeued else { return reason }
            try refuse(victim, reason)
        }
    }

    /// The pool's tenants are others now.
    func regroup(_ pool: PoolID) {
        pools[pool]?.virtual = [:]
        pools[pool]?.passes = [:]
        for i in leases.indices where leases[i].pool == pool {
            leases[i].tenant = tenant(leases[i].tenant, in: pool)
            leases[i].charged = nil
        }
        let listed = tickets.filter { $0.pool == pool && !$0.isSuspended }.sorted { ($0.arrival, $0.sequence) < ($1.arrival, $1.sequence) }
        for i in tickets.indices where tickets[i].pool == pool {
            tickets[i].tenant = tenant(tickets[i].tenant, in: pool)
            tickets[i].awaited = nil
        }
        for ticket in listed {
            if let i = tickets.firstIndex(where: { $0.id == ticket.id && $0.instance == ticket.instance }) { enqueue(i) }
        }
    }
}
