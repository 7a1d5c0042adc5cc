/// The tenants that have jobs of one effective urgency at the fronts of their classes, in the order of their shares.
struct QueueLevel: Sendable {
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
