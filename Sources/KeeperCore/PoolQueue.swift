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

    /// The ticket whose turn it is.
    struct Front {
        var ticket: Slot
        var level: Int
        var share: Int
        /// Virtual time at which its grant begins.
        var start: Int64
    }

    private struct Level: Sendable {
        /// Tenants by virtual time, then by the arrival of their first ticket.
        var heap = SlotHeap()
        var positions: SlotHeap.Positions
        /// Where the last grant began.
        var virtual: Int64 = 0

        init(shares: Int) { positions = SlotHeap.Positions(repeating: -1, count: shares) }

        func has(_ share: Int) -> Bool { positions[share] >= 0 }

        mutating func place(_ entry: SlotHeap.Entry) {
            if has(Int(entry.slot)) { heap.update(entry, &positions) } else { heap.insert(entry, &positions) }
        }

        mutating func withdraw(_ slot: Slot) { if has(Int(slot)) { heap.remove(slot, &positions) } }
    }

    private(set) var times = Times()
    private(set) var shares = Row<TenantShare>()
    /// By tenant, then urgency.
    private var classes = Row<TicketClass>()
    private var levels = Row<Level>()
    /// Levels whose heap is not empty, as bits.
    private var activeLevels: UInt8 = 0
    /// Classes with tickets.
    private var occupied = 0
    /// Tickets by urgency.
    private var counts = SIMD8<UInt32>()
    /// The only class with tickets, or -1.
    private var sole = -1
    /// When each class has a budget that ends, or a first ticket that rises. Not kept for a sole class.
    private var clock = DeadlineHeap()
    private var ownDeadlines = SlotHeap()
    private var slots = SlotTable()

    /// In the clock, and never due.
    private static let undue = Instant(nanoseconds: .max - 1)

    init(_ tenants: [PoolPolicy.Tenant]) {
        for tenant in tenants.isEmpty ? [.standard] : tenants {
            let id = TenantID(name: tenant.name).rawValue
            if shares.count > 0, slots[id] == .null { slots.insert(id, Slot(truncatingIfNeeded: shares.count)) }
            shares.append(TenantShare(tenant))
        }
        classes = Row(ContiguousArray(repeating: TicketClass(), count: shares.count * 8))
        levels = Row(ContiguousArray(repeating: Level(shares: shares.count), count: 8))
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

    private mutating func cap(_ share: Int, _ isCapped: Bool) {
        shares[share].isCapped = isCapped
        for level in 0..<8 where shares[share].heads[level] != 0 { weigh(share, level) }
    }

    // MARK: In and out

    private static func index(_ ticket: TicketRecord) -> Int { Int(ticket.share) << 3 | Int(ticket.urgency.rawValue) }

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
    private func isFirst(_ t: Slot, _ c: Int, _ tickets: borrowing Tickets) -> Bool {
        tickets[t].hasOwnBudget ? classes[c].own.first(tickets) == t : classes[c].standard.first(tickets) == t
    }

    // MARK: Order

    /// The effective urgency of a ticket. It rises when it has waited for `age-after`, and again each time that it has.
    @inline(__always)
    func level(_ urgency: Urgency, since arrival: Instant, at now: Instant) -> Int {
        let waited = now.nanoseconds - arrival.nanoseconds
        if waited < times.ageAfter || times.ageAfter <= 0 { return Int(urgency.rawValue) }
        return Int(max(0, Int64(urgency.rawValue) - waited / times.ageAfter))
    }

    /// When it rises next.
    private func rise(_ urgency: Urgency, _ level: Int, since arrival: Instant) -> Instant {
        guard level > 0, times.ageAfter > 0 else { return .never }
        let (wait, overflow) = times.ageAfter.multipliedReportingOverflow(by: Int64(Int(urgency.rawValue) - level + 1))
        return overflow ? .never : arrival.advanced(by: wait)
    }

    /// Files a class under the level of its first ticket and the time at which that is to be looked at again. It must not be empty.
    private mutating func look(at c: Int, _ tickets: borrowing Tickets, _ now: Instant) {
        let t = classes[c].first(tickets)
        let (urgency, arrival) = (tickets[t].urgency, tickets[t].arrival)
        let level = level(urgency, since: arrival, at: now)
        // Every class with tickets is in the clock, whether anything is due or not: that is how the last one is found.
        let due = min(expiry(of: c, tickets).at, rise(urgency, level, since: arrival), Self.undue)
        clock.set(Slot(truncatingIfNeeded: c), to: due)
        let (old, share, bit) = (Int(classes[c].level), c >> 3, UInt8(1) << UInt8(c & 7))
        classes[c].head = tickets[t].order
        classes[c].head.slot = t
        classes[c].level = UInt8(truncatingIfNeeded: level)
        if classes[c].isListed, old != level {
            shares[share].heads[old] &= ~bit
            weigh(share, old)
        }
        classes[c].isListed = true
        shares[share].heads[level] |= bit
        weigh(share, level)
    }

    private mutating func unlist(_ c: Int) {
        guard classes[c].isListed else { return }
        let (level, share) = (Int(classes[c].level), c >> 3)
        classes[c].isListed = false
        shares[share].heads[level] &= ~(UInt8(1) << UInt8(c & 7))
        weigh(share, level)
        clock.set(Slot(truncatingIfNeeded: c), to: .never)
    }

    /// Brings a tenant's place at a level in line with its first tickets there.
    private mutating func weigh(_ share: Int, _ level: Int) {
        let slot = Slot(truncatingIfNeeded: share)
        let heads = shares[share].heads[level]
        if heads == 0 || shares[share].isCapped {
            levels[level].withdraw(slot)
            if levels[level].heap.isEmpty { activeLevels &= ~(UInt8(1) << UInt8(level)) }
            return
        }
        let arrival = classes[share << 3 | oldest(share, heads)].head.key
        let tie = UInt64(bitPattern: arrival &- .min)
        levels[level].place(SlotHeap.Entry(key: start(share, level), tie: tie, slot: slot))
        activeLevels |= UInt8(1) << UInt8(level)
    }

    /// The urgency among `heads`, which must not be 0, whose first ticket of this tenant came first.
    @inline(__always)
    private func oldest(_ share: Int, _ heads: UInt8) -> Int {
        var best = heads.trailingZeroBitCount
        var rest = heads & (heads - 1)
        while rest != 0 {
            let urgency = rest.trailingZeroBitCount
            if classes[share << 3 | urgency].head < classes[share << 3 | best].head { best = urgency }
            rest &= rest - 1
        }
        return best
    }

    /// Virtual time at which a grant to the tenant at this level begins.
    @inline(__always)
    func start(_ share: Int, _ level: Int) -> Int64 { max(shares[share].passes[level], levels[level].virtual) }

    /// The ticket whose turn it is, among the tenants that are below their caps. O(1).
    @inline(__always)
    func front(_ tickets: borrowing Tickets, at now: Instant) -> Front? {
        if sole >= 0 {
            let share = sole >> 3
            if shares[share].isCapped { return nil }
            let t = classes[sole].first(tickets)
            // What the urgency alone gives is right for all that have not waited long, and dear to compute for those that have.
            let level = level(tickets[t].urgency, since: tickets[t].arrival, at: now)
            return Front(ticket: t, level: level, share: share, start: start(share, level))
        }
        guard activeLevels != 0 else { return nil }
        let level = activeLevels.trailingZeroBitCount
        guard let first = levels[level].heap.first else { return nil }
        let share = Int(first.slot)
        let c = share << 3 | oldest(share, shares[share].heads[level])
        return Front(ticket: classes[c].head.slot, level: level, share: share, start: first.key)
    }

    /// Whether grants are charged to the tenants' shares: while more than one class waits.
    var isShared: Bool { occupied > 1 }

    /// A ticket of this tenant is granted at this level while others wait: its next one is due a stride later. One that is the first of its
    /// class is removed next, and the tenant's place is set right then.
    mutating func charge(_ share: Int, _ level: Int, isFirst: Bool) {
        let start = start(share, level)
        levels[level].virtual = start
        shares[share].passes[level] = start &+ shares[share].stride
        if !isFirst, levels[level].has(share) { weigh(share, level) }
    }

    /// The grant reached no worker: it has cost the tenant nothing.
    mutating func refund(_ share: Int, _ level: Int) {
        shares[share].passes[level] &-= shares[share].stride
        if levels[level].has(share) { weigh(share, level) }
    }

    // MARK: Time

    /// The first ticket of a class whose budget ends, its own apart, and when.
    @inline(__always)
    private func expiry(of c: Int, _ tickets: borrowing Tickets) -> (ticket: Slot, at: Instant) {
        var earliest: (ticket: Slot, at: Instant) = (.null, .never)
        let first = classes[c].standard.first(tickets)
        if first != .null { earliest = (first, tickets[first].arrival.advanced(by: times.budget)) }
        if times.limit == .max || classes[c].own.isEmpty { return earliest }
        let own = classes[c].own.first(tickets)
        let end = tickets[own].arrival.advanced(by: times.limit)
        return end < earliest.at ? (own, end) : earliest
    }

    /// The next moment at which a budget ends, or, where `withRises`, at which the first ticket of a class rises. O(1).
    @inline(__always)
    func deadline(_ tickets: borrowing Tickets, withRises: Bool, at now: Instant) -> Instant {
        let own = ownDeadlines.first.map { Instant(nanoseconds: $0.key) } ?? .never
        guard sole >= 0 else { return clock.earliest == Self.undue ? own : min(own, clock.earliest) }
        let ends = min(own, expiry(of: sole, tickets).at)
        guard withRises else { return ends }
        let t = classes[sole].first(tickets)
        let (urgency, arrival) = (tickets[t].urgency, tickets[t].arrival)
        return min(ends, rise(urgency, level(urgency, since: arrival, at: now), since: arrival))
    }

    /// A ticket whose budget has ended, or `Slot.null`. Tickets that were to rise have risen.
    mutating func expired(_ tickets: borrowing Tickets, at now: Instant) -> Slot {
        if let own = ownDeadlines.first, own.key <= now.nanoseconds { return own.slot }
        if sole >= 0 {
            let (t, at) = expiry(of: sole, tickets)
            return at <= now ? t : .null
        }
        while let c = clock.due(at: now) {
            let (t, at) = expiry(of: Int(c), tickets)
            if at <= now { return t }
            look(at: Int(c), tickets, now)
        }
        return .null
    }

    /// Takes new durations; O(classes) where they differ.
    @inline(__always)
    mutating func setTimes(_ times: Times, _ tickets: borrowing Tickets, at now: Instant) {
        if times != self.times { takeTimes(times, tickets, at: now) }
    }

    private mutating func takeTimes(_ times: Times, _ tickets: borrowing Tickets, at now: Instant) {
        self.times = times
        if sole >= 0 { return }
        for c in classes.indices where !classes[c].isEmpty { look(at: c, tickets, now) }
    }

    // MARK: Reports

    /// Every ticket, unordered; O(n).
    func slots(_ tickets: borrowing Tickets) -> [Slot] {
        classes.elements.flatMap { $0.isEmpty ? [] : $0.standard.slots(tickets) + $0.own.slots(tickets) }
    }

    /// When the ticket that has waited longest came; O(classes).
    func oldest(_ tickets: borrowing Tickets) -> Instant {
        if sole >= 0 { return tickets[classes[sole].first(tickets)].arrival }
        return Instant(nanoseconds: classes.elements.reduce(.max) { $1.isEmpty ? $0 : min($0, $1.head.key) })
    }

    /// The same for one tenant; O(1).
    func oldest(of share: Int, _ tickets: borrowing Tickets) -> Instant {
        if sole >= 0 { return sole >> 3 == share ? tickets[classes[sole].first(tickets)].arrival : .never }
        return Instant(nanoseconds: classes.elements[share << 3..<(share + 1) << 3].reduce(.max) { $1.isEmpty ? $0 : min($0, $1.head.key) })
    }

    /// Tickets of one urgency; those of one tenant among them.
    func count(at urgency: Int) -> UInt32 { counts[urgency] }
    func count(of share: Int, at urgency: Int) -> UInt32 { classes[share << 3 | urgency].count }

    /// When the first ticket of a class came, which must not be the only class.
    func oldest(of share: Int, at urgency: Int) -> Instant { Instant(nanoseconds: classes[share << 3 | urgency].head.key) }

    /// The first and the last ticket of a class; `Slot.null` where nothing is known.
    func ends(_ share: Int, _ urgency: Urgency, _ tickets: borrowing Tickets) -> (first: Slot, last: Slot) {
        let c = share << 3 | Int(urgency.rawValue)
        return (classes[c].first(tickets), classes[c].standard.list.tail == .null ? classes[c].own.list.tail : classes[c].standard.list.tail)
    }

    /// The ticket that has waited longest among the least urgent, as they came, if it is no more urgent than `urgency`; of one tenant, or of
    /// all. O(tenants).
    func leastUrgent(of share: Int?, atMost urgency: Urgency, _ tickets: borrowing Tickets) -> Slot {
        for u in stride(from: 7, through: Int(urgency.rawValue), by: -1) where counts[u] > 0 {
            var oldest = Slot.null
            for candidate in share.map({ $0..<$0 + 1 }) ?? 0..<shares.count where classes[candidate << 3 | u].count > 0 {
                let t = classes[candidate << 3 | u].first(tickets)
                if oldest == .null || tickets[t].order < tickets[oldest].order { oldest = t }
            }
            if oldest != .null { return oldest }
        }
        return .null
    }

    /// Traps where a heap, a bit or a count says something else than the classes do; O(n).
    func check(_ tickets: borrowing Tickets) {
        precondition(classes.elements.count { !$0.isEmpty } == occupied, "classes are miscounted")
        precondition((occupied == 1) == (sole >= 0), "the only class is not known")
        for c in classes.indices {
            let held = classes[c].standard.slots(tickets) + classes[c].own.slots(tickets)
            precondition(held.count == Int(classes[c].count), "a class is miscounted")
            precondition(held.allSatisfy { Self.index(tickets[$0]) == c }, "a class holds another's ticket")
            precondition(classes[c].isListed == (sole < 0 && !classes[c].isEmpty), "a class is not in line")
            precondition(!classes[c].isListed || clock.deadline(of: Slot(c)) != .never, "a class has no time")
            if classes[c].isListed {
                precondition(classes[c].head.slot == classes[c].first(tickets), "a class's first ticket is another")
                precondition(shares[c >> 3].heads[Int(classes[c].level)] & 1 << UInt8(c & 7) != 0, "a class is at another level")
            }
        }
        for level in 0..<8 {
            for share in shares.indices {
                let isIn = levels[level].has(share)
                precondition(isIn == (shares[share].heads[level] != 0 && !shares[share].isCapped), "a tenant is not in line")
                guard isIn else { continue }
                let entry = levels[level].heap.entries[Int(levels[level].positions[share])]
                precondition(entry.slot == Slot(share) && entry.key == start(share, level), "a tenant's share has changed unnoticed")
            }
            precondition((activeLevels >> UInt8(level) & 1 == 1) == !levels[level].heap.isEmpty, "a level is not known to be in use")
        }
    }
}
