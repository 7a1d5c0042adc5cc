import Model

extension Keeper {
    /// Checks a pool's queue against its tickets, one by one: counts, places, and who is first; O(n).
    func checkQueue(_ p: Slot) {
        let pool = pools[p]
        let queued = pool.queue.slots(tickets)
        precondition(
            queued.allSatisfy { (tickets[$0].place == .listed || tickets[$0].place == .late) && tickets[$0].pool == p },
            "a queue holds another's ticket")
        var tenants = [UInt32](repeating: 0, count: pool.queue.shares.count)
        var urgencies = SIMD8<UInt32>()
        var bytes: UInt64 = 0
        var leased = tenants
        for d in dispatcherOrder {
            for t in dispatchers[d].ticketSlots.slots where tickets[t].pool == p {
                tenants[Int(tickets[t].share)] += 1
                urgencies[Int(tickets[t].urgency.rawValue)] += 1
                bytes += UInt64(tickets[t].bytes)
                precondition(tickets[t].hasAffinity == (tickets.affinities[t] != nil), "a ticket's affinity is lost")
            }
            for l in dispatchers[d].leases.slots(leaseLinks) where leases[l].pool == p && !leases[l].isProbe { leased[Int(leases[l].share)] += 1 }
        }
        precondition(pool.queue.shares.elements.map(\.queued) == tenants, "a tenant's tickets are miscounted")
        precondition(pool.queue.shares.elements.map(\.leased) == leased, "a tenant's leases are miscounted")
        precondition(pool.queue.shares.elements.allSatisfy { $0.isCapped == ($0.leased >= $0.maxLeased) }, "a tenant is capped, or is not")
        precondition(pool.state.queuedByUrgency == urgencies, "urgencies are miscounted")
        precondition(pool.bytes == bytes, "bytes are miscounted")
        var copy = self
        precondition(isRecovering || copy.choice(of: p, at: latestInput) == nil, "an endpoint is idle while a ticket waits for it")
        pool.queue.check(tickets)
        checkOrder(p, queued)
        checkWaits(p)
    }

    /// Place in line: of those who may have any endpoint, the first by effective urgency, then share, then arrival.
    private func checkOrder(_ p: Slot, _ queued: [Slot]) {
        let queue = pools[p].queue
        func rank(_ t: Slot) -> (Int, Int64, SlotHeap.Entry) {
            let level = queue.level(tickets[t].urgency, since: tickets[t].arrival, at: latestInput)
            let share = Int(tickets[t].share)
            return (level, queue.isShared ? queue.start(share, level) : 0, tickets[t].order)
        }
        func isBefore(_ a: (Int, Int64, SlotHeap.Entry), _ b: (Int, Int64, SlotHeap.Entry)) -> Bool {
            if a.0 != b.0 { return a.0 < b.0 }
            if a.1 != b.1 { return a.1 < b.1 }
            // Of two tenants whose first tickets came at the same moment, either.
            return a.2.key < b.2.key
        }
        let eligible = queued.filter { !queue.shares[Int(tickets[$0].share)].isCapped }
        guard let front = queue.front(tickets, at: latestInput) else {
            return precondition(eligible.isEmpty, "nobody is first in line")
        }
        let first = rank(front.ticket)
        precondition(front.level == first.0, "the first ticket has another urgency than is known")
        precondition(!eligible.contains { isBefore(rank($0), first) }, "the first in line is not the first")
    }

    private func checkWaits(_ p: Slot) {
        let pool = pools[p]
        var waiting = 0
        for (m, list) in pool.waits {
            precondition(members[m].pool == p && members[m].isWanted && !list.isEmpty, "nobody waits for a place that is wanted")
            precondition(!members[m].isGone, "tickets wait for an endpoint that is gone")
            precondition(isAwaitable(members[m].state) || members[m].state == .free, "tickets wait for an endpoint that does not come back")
            precondition((members[m].state == .free) == pool.wanted.contains(m), "a free endpoint that is waited for is not known")
            for t in list.slots(tickets.queueLinks) {
                precondition(
                    tickets[t].place == .affine && tickets[t].pool == p && tickets.affinities[t]?.member == m, "a wait holds another's ticket")
                waiting += 1
            }
        }
        precondition(waiting == pool.waitDeadlines.entries.count, "waits are lost")
        precondition(pool.wanted.allSatisfy { pool.waits[$0] != nil }, "an endpoint is wanted by nobody")
    }
}
