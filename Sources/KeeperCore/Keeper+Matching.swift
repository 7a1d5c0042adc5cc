import Model
import Wire

// Who gets the next free endpoint.

extension Keeper {
    /// A ticket and the place that it is to have.
    struct Choice {
        var ticket: Slot
        var member: Slot
        var level: Int
        var share: Int
        var start: Int64
        /// It has waited for this endpoint alone.
        var isAffine: Bool
    }

    /// Gives free endpoints to waiting tickets. Where pools share endpoints, the more urgent goes first, then the earlier.
    mutating func match(at now: Instant, _ actions: inout [Action]) {
        for i in touched.indices {
            let p = touched[i]
            pools[p].queue.setTimes(pools[p].times, tickets, at: now)
        }
        if isRecovering { return }
        while true {
            var best: Choice?
            for i in touched.indices {
                guard let choice = choice(of: touched[i], at: now) else { continue }
                if touched.count == 1 {
                    best = choice
                    break
                }
                if let other = best, !isBefore(choice, other) { continue }
                best = choice
            }
            guard let best else { return }
            take(best, at: now, &actions)
        }
    }

    /// Whether endpoints of this pool are granted at all, and one is free.
    @inline(__always)
    func canGrant(_ p: Slot) -> Bool {
        pools[p].hasFree && pools[p].isConfigured && !pools[p].state.isPaused && !isRecovering
    }

    /// The order between tickets of different pools: shares mean nothing there.
    private mutating func isBefore(_ a: Choice, _ b: Choice) -> Bool {
        a.level != b.level ? a.level < b.level : tickets[a.ticket].order < tickets[b.ticket].order
    }

    /// The pool's first in line and the place that it is to have. It changes nothing: called on a machine that is being changed, a method that
    /// only reads is handed a copy of it by the compiler, a reference count for each table.
    @inline(__always)
    mutating func choice(of p: Slot, at now: Instant) -> Choice? {
        guard canGrant(p) else { return nil }
        let isAtReserve = pools[p].isAtReserve
        var best: Choice?
        if let front = pools[p].queue.front(tickets, at: now), front.level == 0 || !isAtReserve {
            best = Choice(
                ticket: front.ticket, member: endpoint(for: front.ticket, in: p), level: front.level, share: front.share, start: front.start,
                isAffine: false)
        }
        if pools[p].wanted.isEmpty { return best }
        for m in pools[p].wanted { chooseAmongAffine(m, p, isAtReserve, at: now, &best) }
        return best
    }

    /// Looks at the tickets that wait for this one place, of which there are few.
    private mutating func chooseAmongAffine(_ m: Slot, _ p: Slot, _ isAtReserve: Bool, at now: Instant, _ best: inout Choice?) {
        var t = pools[p].waits[m]?.head ?? .null
        while t != .null {
            let share = Int(tickets[t].share)
            let level = pools[p].queue.level(tickets[t].urgency, since: tickets[t].arrival, at: now)
            if !pools[p].queue.shares[share].isCapped, level == 0 || !isAtReserve {
                let choice = Choice(
                    ticket: t, member: m, level: level, share: share, start: pools[p].queue.start(share, level), isAffine: true)
                if let other = best, !isEarlier(choice, other) {} else { best = choice }
            }
            t = tickets.queueLinks[Int(t)].next
        }
    }

    /// The order inside a pool.
    private mutating func isEarlier(_ a: Choice, _ b: Choice) -> Bool {
        if a.level != b.level { return a.level < b.level }
        if a.share != b.share, a.start != b.start { return a.start < b.start }
        return tickets[a.ticket].order < tickets[b.ticket].order
    }

    /// The free place that a ticket is to have: the one that served its affinity key last, or the next.
    @inline(__always)
    private mutating func endpoint(for t: Slot, in p: Slot) -> Slot {
        if tickets[t].hasAffinity, let affinity = tickets.affinities[t] {
            let m = remembered(affinity.hash, in: p)
            if m != .null, members[m].state == .free { return m }
        }
        return pools[p].next
    }

    private mutating func take(_ choice: Choice, at now: Instant, _ actions: inout [Action]) {
        let t = choice.ticket
        let p = tickets[t].pool
        let isCharged = pools[p].queue.isShared
        if isCharged { pools[p].queue.charge(choice.share, choice.level, isFirst: !choice.isAffine) }
        let job = JobPlace(t, tickets)
        let (d, hash) = (tickets[t].dispatcher, tickets[t].hasAffinity ? tickets.affinities[t]?.hash : nil)
        forget(t, at: now)
        grant(
            choice.member, to: job, of: d, share: choice.share, charged: isCharged ? choice.level : -1, affinity: hash, at: now, &actions)
    }

    /// The place that a ticket which has just come can have at once; `Slot.null` for none. Where an endpoint is free, nobody waits who could
    /// have it, so whoever comes and may have it is first in line.
    @inline(__always)
    func offer(_ p: Slot, _ share: Int, _ urgency: Urgency, since arrival: Instant, _ affinity: UInt64?, until: Instant, at now: Instant) -> Slot {
        guard canGrant(p), !pools[p].queue.shares[share].isCapped else { return .null }
        if pools[p].isAtReserve, pools[p].queue.level(urgency, since: arrival, at: now) > 0 { return .null }
        guard let affinity else { return pools[p].next }
        let m = remembered(affinity, in: p)
        if m != .null, members[m].state == .free { return m }
        return awaits(m, p, since: arrival, until: until, at: now) ? .null : pools[p].next
    }
}
