import Model

/// The tickets of one pool that could be granted any endpoint, in the order in which they are to be.
///
/// Effective urgency first: the ticket's own, one less for each `age-after` that it has waited. Then the tenant's share: start-time fair
/// queueing (Goyal, Vin and Cheng 1996) at each level, where a grant costs a tenant the inverse of its weight. Then arrival.
///
/// A ticket stays in the queue of its class (tenant and urgency) until it leaves. Within a class the first to come is also the first to
/// rise, so only the first ticket of each class is ever looked at: O(log classes) for a grant, O(1) for a ticket that goes to the end of
/// its class. While only one class has tickets, which is how a pool without tenants lives, nothing but its list is kept.
struct PoolQueue: Sendable {
    /// The durations that order and end waits, in nanoseconds.
    struct Times: Sendable, Equatable {
        var ageAfter: Int64 = 0
        /// The budget of tickets without one.
        var budget: Int64 = 0
        /// What no budget outlasts while no endpoint exists.
        var limit = Int64.max
    }

    var times = Times()
    var shares = Row<TenantShare>()
    /// By tenant, then urgency.
    var classes = Row<TicketClass>()
    var levels = Row<QueueLevel>()
    /// Levels whose heap is not empty, as bits.
    var activeLevels: UInt8 = 0
    /// Classes with tickets.
    var occupied = 0
    /// Tickets by urgency.
    var counts = SIMD8<UInt32>()
    /// The only class with tickets, or -1.
    var sole = -1
    /// When each class is to be looked at: no later than one of its budgets ends or its first ticket rises. Not kept for a sole class.
    var clock = DeadlineHeap()
    var ownDeadlines = SlotHeap()
    private var slots = SlotTable()

    /// In the clock, and never due.
    static let undue = Instant(nanoseconds: .max - 1)

    init(_ tenants: [PoolPolicy.Tenant]) {
        for tenant in tenants.isEmpty ? [.standard] : tenants {
            let id = TenantID(name: tenant.name).rawValue
            if shares.count > 0, slots[id] == .null { slots.insert(id, Slot(truncatingIfNeeded: shares.count)) }
            shares.append(TenantShare(tenant))
        }
        classes = Row(ContiguousArray(repeating: TicketClass(), count: shares.count * 8))
        levels = Row(ContiguousArray(repeating: QueueLevel(shares: shares.count), count: 8))
    }

    var isEmpty: Bool { occupied == 0 }

    // MARK: Tenants

    /// The tenant of that name, or the default one. O(1), unless two configured names have one hash.
    @inline(__always)
    func share(named name: String) -> Int {
        if shares.count == 1 || name.isEmpty { return 0 }
        return namedShare(name)
    }

    private func namedShare(_ name: String) -> Int {
        let slot = slots[TenantID(name: name).rawValue]
        if slot == .null { return 0 }
        return shares[Int(slot)].name == name ? Int(slot) : shares.elements.firstIndex { $0.name == name } ?? 0
    }

    /// The tenant with that id, or the default one. O(1).
    func share(of tenant: TenantID) -> Int { max(0, Int(slots[tenant.rawValue])) }

    @inline(__always)
    mutating func countTicket(_ share: Int, by change: UInt32) { shares[share].queued &+= change }

    /// Counts a lease in or out; a tenant that reaches its cap is passed over until it is below it again.
    @inline(__always)
    mutating func countLease(_ share: Int, by change: UInt32) {
        shares[share].leased &+= change
        let isCapped = shares[share].leased >= shares[share].maxLeased
        if isCapped != shares[share].isCapped { cap(share, isCapped) }
    }

    mutating func cap(_ share: Int, _ isCapped: Bool) {
        shares[share].isCapped = isCapped
        for level in 0..<8 where shares[share].heads[level] != 0 { weigh(share, level) }
    }

    // MARK: In and out

    static func index(_ ticket: TicketRecord) -> Int { Int(ticket.share) << 3 | Int(ticket.urgency.rawValue) }

    mutating func insert(_ t: Slot, _ tickets: inout Tickets, at now: Instant) {
        let c = Self.index(tickets[t])
        let wasEmpty = classes[c].isEmpty
        classes[c].count &+= 1
        counts[c & 7] &+= 1
        if tickets[t].hasOwnBudget {
            classes[c].own.insert(t, &tickets)
            let deadline = tickets[t].arrival.advanced(by: tickets[t].budget)
            ownDeadlines.insert(
                SlotHeap.Entry(key: deadline.nanoseconds, tie: tickets[t].sequence, slot: t), &tickets.deadlinePositions)
        } else {
            classes[c].standard.insert(t, &tickets)
        }
        if wasEmpty {
            occupied += 1
            if occupied == 1 {
                sole = c
                return
            }
            if sole >= 0 {
                let first = sole
                sole = -1
                look(at: first, tickets, now)
            }
            look(at: c, tickets, now)
        } else if sole < 0, isFirst(t, c, tickets) {
            look(at: c, tickets, now)
        }
    }

    /// `t` must be in this queue; it is suspended afterwards.
    mutating func remove(_ t: Slot, _ tickets: inout Tickets, at now: Instant) {
        let c = Self.index(tickets[t])
        let wasFirst = sole < 0 && isFirst(t, c, tickets)
        classes[c].count &-= 1
        counts[c & 7] &-= 1
        if tickets[t].hasOwnBudget {
            classes[c].own.remove(t, &tickets)
            ownDeadlines.remove(t, &tickets.deadlinePositions)
        } else {
            classes[c].standard.remove(t, &tickets)
        }
        if classes[c].isEmpty {
            occupied -= 1
            if sole == c {
                sole = -1
                return
            }
            unlist(c)
            if occupied == 1, let last = clock.first {
                unlist(Int(last))
                sole = Int(last)
            }
        } else if wasFirst {
            look(at: c, tickets, now)
        }
    }

    /// Whether the ticket is the first of its class's two queues.
    @inline(__always)
    func isFirst(_ t: Slot, _ c: Int, _ tickets: borrowing Tickets) -> Bool {
        tickets[t].hasOwnBudget ? classes[c].own.first(tickets) == t : classes[c].standard.first(tickets) == t
    }
}
