import Model

// Budgets that end, and tickets that rise.

extension PoolQueue {
    /// The first ticket of a class whose budget ends, its own apart, and when.
    @inline(__always)
    func expiry(of c: Int, _ tickets: borrowing Tickets) -> (ticket: Slot, at: Instant) {
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
            look(at: Int(c), tickets, now, isDue: true)
        }
        return .null
    }

    /// Takes new durations; O(classes) where they differ.
    @inline(__always)
    mutating func setTimes(_ times: Times, _ tickets: borrowing Tickets, at now: Instant) {
        if times != self.times { takeTimes(times, tickets, at: now) }
    }

    mutating func takeTimes(_ times: Times, _ tickets: borrowing Tickets, at now: Instant) {
        self.times = times
        if sole >= 0 { return }
        for c in classes.indices where !classes[c].isEmpty { look(at: c, tickets, now, isDue: true) }
    }
}
