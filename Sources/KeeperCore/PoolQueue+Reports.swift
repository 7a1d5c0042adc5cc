import Model

// What others want to know of a queue.

extension PoolQueue {
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
                let rise = rise(tickets[classes[c].head.slot].urgency, Int(classes[c].level), since: Instant(nanoseconds: classes[c].head.key))
                precondition(clock.deadline(of: Slot(c)) <= min(expiry(of: c, tickets).at, rise), "a class is looked at too late")
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
