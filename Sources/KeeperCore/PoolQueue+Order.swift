import Model

// Who is next: levels of effective urgency, the tenants' shares in each, and the first ticket of each class.

extension PoolQueue {
    /// The ticket whose turn it is.
    struct Front {
        var ticket: Slot
        var level: Int
        var share: Int
        /// Virtual time at which its grant begins.
        var start: Int64
    }

    /// The effective urgency of a ticket. It rises when it has waited for `age-after`, and again each time that it has.
    @inline(__always)
    func level(_ urgency: Urgency, since arrival: Instant, at now: Instant) -> Int {
        let waited = now.nanoseconds - arrival.nanoseconds
        if waited < times.ageAfter || times.ageAfter <= 0 { return Int(urgency.rawValue) }
        return Int(max(0, Int64(urgency.rawValue) - waited / times.ageAfter))
    }

    /// When it rises next.
    func rise(_ urgency: Urgency, _ level: Int, since arrival: Instant) -> Instant {
        guard level > 0, times.ageAfter > 0 else { return .never }
        let (wait, overflow) = times.ageAfter.multipliedReportingOverflow(by: Int64(Int(urgency.rawValue) - level + 1))
        return overflow ? .never : arrival.advanced(by: wait)
    }

    /// Files a class under the level of its first ticket and the time at which that is to be looked at again. It must not be empty.
    ///
    /// A time that turns out to be later is not moved unless `isDue`: each grant would move one, and that the clock rings once too early for a
    /// class costs one more look.
    mutating func look(at c: Int, _ tickets: borrowing Tickets, _ now: Instant, isDue: Bool = false) {
        let t = classes[c].first(tickets)
        let (urgency, arrival) = (tickets[t].urgency, tickets[t].arrival)
        let level = level(urgency, since: arrival, at: now)
        // Every class with tickets is in the clock, whether anything is due or not: that is how the last one is found.
        let due = min(expiry(of: c, tickets).at, rise(urgency, level, since: arrival), Self.undue)
        let number = Slot(truncatingIfNeeded: c)
        if isDue || !classes[c].isListed || due < clock.deadline(of: number) { clock.set(number, to: due) }
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

    mutating func unlist(_ c: Int) {
        guard classes[c].isListed else { return }
        let (level, share) = (Int(classes[c].level), c >> 3)
        classes[c].isListed = false
        shares[share].heads[level] &= ~(UInt8(1) << UInt8(c & 7))
        weigh(share, level)
        clock.set(Slot(truncatingIfNeeded: c), to: .never)
    }

    /// Brings a tenant's place at a level in line with its first tickets there.
    mutating func weigh(_ share: Int, _ level: Int) {
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
    func oldest(_ share: Int, _ heads: UInt8) -> Int {
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
}
