import Model
import Wire

// What the operator and subscribers are shown.

/// One endpoint in one pool.
public struct EndpointReport: Hashable, Sendable {
    public var pool: PoolID
    public var endpoint: Endpoint
    public var state: EndpointState
    /// Its source names it no more.
    public var isGone: Bool
    public var isDrained: Bool
    public var slots: Int
    public var leases: Int
    /// Of a quarantine or of settling.
    public var remaining: Duration?
    public var isNodeAvoided: Bool
}

/// One open lease.
public struct LeaseReport: Hashable, Sendable {
    public var lease: LeaseID
    public var pool: PoolID
    public var endpoint: EndpointID
    public var address: SocketAddress?
    public var seat: String
    public var instance: InstanceID
    public var age: Duration
    public var isEnding: Bool
    public var isProbe: Bool
    /// Its worker's connection is in escrow.
    public var isEscrowed: Bool
}

/// One waiting job.
public struct TicketReport: Hashable, Sendable {
    public var ticket: TicketID
    public var pool: PoolID
    public var seat: String
    public var age: Duration
    /// Until it is refused; nil while its dispatcher is away.
    public var remaining: Duration?
    public var urgency: Urgency
    /// The urgency that it has risen to.
    public var level: Int
    public var tenant: String
    /// It waits for the endpoint that served its affinity key last.
    public var isAffine: Bool
    public var bytes: UInt32
    public var isRequeued: Bool
}

extension Keeper {
    /// A pool's numbers; nil for one that configuration does not name. O(1).
    public func state(of pool: PoolID, at now: Instant) -> PoolState? {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null, pools[p].isConfigured else { return nil }
        var state = pools[p].state
        state.isRecovering = isRecovering
        let oldest = oldestArrival(in: p)
        if oldest != .never { state.oldestWait = now - oldest }
        if pools[p].queue.shares.count > 1 { describeTenants(p, at: now, &state) }
        return state
    }

    private func describeTenants(_ p: Slot, at now: Instant, _ state: inout PoolState) {
        let shares = pools[p].queue.shares.elements
        var oldest = shares.indices.map { pools[p].queue.isEmpty ? Instant.never : pools[p].queue.oldest(of: $0, tickets) }
        for wait in pools[p].waitDeadlines.entries {
            let share = Int(tickets[wait.slot].share)
            oldest[share] = min(oldest[share], tickets[wait.slot].arrival)
        }
        let all = zip(shares, oldest).map { share, oldest in
            TenantState(name: share.name, queued: share.queued, leased: share.leased, oldestWait: oldest == .never ? .zero : now - oldest)
        }
        state.tenants = Array(all.prefix(Bounds.stateTenants))
        guard all.count > Bounds.stateTenants else { return }
        state.otherTenants = all[Bounds.stateTenants...].reduce(into: TenantState(name: "")) { sum, one in
            sum.queued &+= one.queued
            sum.leased &+= one.leased
            sum.oldestWait = max(sum.oldestWait, one.oldestWait)
        }
    }

    /// The pool's tickets whose dispatcher is there, by arrival; O(n log n).
    func waiting(in p: Slot) -> [Slot] {
        (pools[p].queue.slots(tickets) + pools[p].waitDeadlines.entries.map(\.slot)).sorted { tickets[$0].order < tickets[$1].order }
    }

    /// The configured pools, in configured order.
    public var configuredPools: [PoolPolicy] { poolOrder.filter { pools[$0].isConfigured }.map { pools[$0].policy } }

    /// O(n).
    public func endpointReports(of pool: PoolID, at now: Instant) -> [EndpointReport] {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null else { return [] }
        return pools[p].members.slots(poolLinks).compactMap { m in
            guard let state = members[m].state else { return nil }
            let endpoint = endpoints[members[m].endpoint]
            let isTimed = endpoint.isQuarantined || endpoint.recovery == .settling
            return EndpointReport(
                pool: pool, endpoint: descriptions[Int(m)], state: state, isGone: members[m].isGone, isDrained: endpoint.isDraining,
                slots: Int(endpoint.slots), leases: Int(endpoint.used),
                remaining: isTimed ? timer(of: members[m].endpoint) - now : nil,
                isNodeAvoided: endpoint.node != .null && nodes[endpoint.node].isAvoided)
        }
    }

    /// Free endpoints of the pool, those whose last job was longest ago first; O(free).
    public func longestIdle(in pool: PoolID, most: Int) -> [Endpoint] {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null else { return [] }
        // Where the least recently used is taken first, it also stands first.
        let free = pools[p].avoided.slots(freeLinks) + pools[p].free.slots(freeLinks)
        let ordered = pools[p].policy.order == .spread ? free : free.reversed()
        return ordered.filter { endpoints[members[$0].endpoint].used == 0 }.prefix(max(0, most)).map { descriptions[Int($0)] }
    }

    /// The state of each endpoint that a pool counts, in the order in which it came to know them, the first `most` of them; and how many there
    /// are. O(n), a few nanoseconds for each.
    public func cells(of pool: PoolID, most: Int) -> (total: Int, states: [UInt8])? {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null, pools[p].isConfigured else { return nil }
        var states: [UInt8] = []
        let total = Int(pools[p].state.total)
        states.reserveCapacity(min(most, total))
        var m = pools[p].members.head
        while m != .null, states.count < most {
            if let state = members[m].state { states.append(state.rawValue) }
            m = poolLinks[Int(m)].next
        }
        return (total, states)
    }

    /// Every open lease, by holder; O(n).
    public func leaseReports(at now: Instant) -> [LeaseReport] {
        dispatcherOrder.flatMap { d in
            dispatchers[d].leases.slots(leaseLinks).map { l in
                let lease = leases[l]
                let m = member(of: lease.endpoint, in: lease.pool)
                return LeaseReport(
                    lease: lease.id, pool: pools[lease.pool].policy.id, endpoint: endpoints[lease.endpoint].id,
                    address: m == .null ? nil : members[m].address, seat: dispatchers[d].seat, instance: dispatchers[d].instance,
                    age: now - lease.since, isEnding: lease.isEnding, isProbe: lease.isProbe,
                    isEscrowed: lease.isEscrowed)
            }
        }
    }

    /// The pool's tickets in the order in which they would be granted, if nobody came, left or rose meanwhile; those that wait for one
    /// endpoint at the place that they would have without. O(n log n).
    private func inOrder(_ p: Slot, at now: Instant) -> [Slot] {
        let queue = pools[p].queue
        let waiting = waiting(in: p).map { t in (ticket: t, level: queue.level(tickets[t].urgency, since: tickets[t].arrival, at: now)) }
        var begun: [Int: Int64] = [:]
        return waiting.enumerated().map { place, one in
            let share = Int(tickets[one.ticket].share)
            let start = begun[share << 3 | one.level] ?? queue.start(share, one.level)
            begun[share << 3 | one.level] = start &+ queue.shares[share].stride
            return (one.ticket, one.level, start, place)
        }.sorted { ($0.1, $0.2, $0.3) < ($1.1, $1.2, $1.3) }.map(\.0)
    }

    /// The pool's waiting jobs, first in line first, then those whose dispatcher is away; O(n log n).
    public func ticketReports(of pool: PoolID, at now: Instant) -> [TicketReport] {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null else { return [] }
        let waiting = inOrder(p, at: now)
        let suspended = dispatcherOrder.flatMap { d in
            dispatchers[d].ticketSlots.slots.filter { tickets[$0].pool == p && tickets[$0].place == .suspended }
                .sorted { tickets[$0].sequence < tickets[$1].sequence }
        }
        return (waiting + suspended).map { t in
            let ticket = tickets[t]
            let deadline = ticket.arrival.advanced(by: pools[p].budget(own: ticket.budget))
            return TicketReport(
                ticket: ticket.id, pool: pool, seat: dispatchers[ticket.dispatcher].seat, age: now - ticket.arrival,
                remaining: ticket.place == .suspended ? nil : deadline - now, urgency: ticket.urgency,
                level: pools[p].queue.level(ticket.urgency, since: ticket.arrival, at: now),
                tenant: pools[p].queue.shares[Int(ticket.share)].name, isAffine: ticket.place == .affine, bytes: ticket.bytes,
                isRequeued: ticket.isRequeued)
        }
    }
}
