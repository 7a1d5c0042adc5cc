import Model

extension PoolQueue {
    /// How many of the tickets that wait would be granted before one of this class that has `before` of its own class before it, if nobody
    /// came, left or rose meanwhile. O(tenants).
    func ahead(share: Int, urgency: Urgency, before: UInt32, arrival: Instant) -> UInt32 {
        let u = Int(urgency.rawValue)
        var sum: UInt64 = 0
        for other in 0..<u { sum += UInt64(count(at: other)) }
        if isShared {
            let (tag, overflow) = start(share, u).addingReportingOverflow(shares[share].stride &* Int64(before))
            for other in shares.indices where other != share && !shares[other].isCapped {
                let waiting = count(of: other, at: u)
                if waiting == 0 { continue }
                let gap = overflow ? .max : tag - start(other, u)
                // Of its tickets those with an earlier start; with the same one, the tenant that has waited longer goes first.
                var earlier = gap <= 0 ? 0 : (gap - 1) / shares[other].stride + 1
                if gap >= 0, gap % shares[other].stride == 0, oldest(of: other, at: u) < arrival { earlier += 1 }
                sum += UInt64(min(Int64(waiting), earlier))
            }
        }
        return UInt32(clamping: sum + UInt64(before))
    }

    /// How many of its class are before a ticket that waits in it: 0 for the first, guessed from the order of telling for the others. O(1).
    func before(_ t: Slot, _ tickets: borrowing Tickets) -> UInt32 {
        let share = Int(tickets[t].share)
        let waiting = count(of: share, at: Int(tickets[t].urgency.rawValue))
        let (first, last) = ends(share, tickets[t].urgency, tickets)
        guard waiting > 1, first != .null, last != .null, first != t else { return 0 }
        let (from, to, mine) = (tickets[first].sequence, tickets[last].sequence, tickets[t].sequence)
        guard to > from, mine > from else { return 1 }
        let share1024 = min(1024, (mine - from) * 1024 / (to - from))
        return UInt32(clamping: max(1, share1024 * UInt64(waiting - 1) / 1024))
    }
}
