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
        let oldest = pools[p].first(tickets)
        if oldest != .null { state.oldestWait = now - tickets[oldest].arrival }
        return state
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

    /// The pool's waiting jobs, first in line first, then those whose dispatcher is away; O(n log n).
    public func ticketReports(of pool: PoolID, at now: Instant) -> [TicketReport] {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null else { return [] }
        let waiting = (pools[p].standard.slots(tickets) + pools[p].own.slots(tickets)).sorted { tickets[$0].order < tickets[$1].order }
        let suspended = dispatcherOrder.flatMap { dispatchers[$0].tickets.slots(tickets.ownerLinks) }
            .filter { tickets[$0].pool == p && tickets[$0].place == .suspended }
        return (waiting + suspended).map { t in
            let ticket = tickets[t]
            let deadline = ticket.arrival.advanced(by: pools[p].budget(own: ticket.budget))
            return TicketReport(
                ticket: ticket.id, pool: pool, seat: dispatchers[ticket.dispatcher].seat, age: now - ticket.arrival,
                remaining: ticket.place == .suspended ? nil : deadline - now, urgency: ticket.urgency, bytes: ticket.bytes,
                isRequeued: ticket.isRequeued)
        }
    }
}
