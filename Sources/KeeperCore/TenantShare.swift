import Model

/// One tenant's part of a pool.
struct TenantShare: Sendable {
    /// Virtual time of a grant to a tenant of weight 1.
    private static let unit: Int64 = 1 << 20

    var name: String
    /// Virtual time that one grant costs it: the inverse of its weight.
    var stride: Int64
    var maxLeased: UInt32
    var maxQueued: UInt32
    var leased: UInt32 = 0
    /// All its tickets, the suspended ones included.
    var queued: UInt32 = 0
    /// As many leases as it may have: its tickets are passed over.
    var isCapped = false
    /// Of which of its classes the first ticket is at each level: a bit for each urgency.
    var heads = SIMD8<UInt8>()
    /// Virtual time at which its next grant at each level begins, or earlier.
    var passes = SIMD8<Int64>()

    init(_ tenant: PoolPolicy.Tenant) {
        name = tenant.name
        stride = Self.unit / Int64(max(1, min(tenant.weight, 1 << 20)))
        maxLeased = tenant.maxLeased.map { UInt32(clamping: $0) } ?? .max
        maxQueued = tenant.maxQueued.map { UInt32(clamping: $0) } ?? .max
    }
}

/// The tickets of one tenant that came with one urgency: by arrival, so that the first is also the one that has aged most.
struct TicketClass: Sendable {
    /// Tickets that wait as long as the pool says.
    var standard = TicketQueue()
    /// Tickets that brought their own budget.
    var own = TicketQueue()
    var count: UInt32 = 0
    /// The first ticket and its effective urgency, as ``PoolQueue`` last looked: not kept while the class is the only one.
    var level: UInt8 = 0
    var head = SlotHeap.Entry(key: .max, tie: .max, slot: .null)
    /// Whether the level's heap and the clock know it.
    var isListed = false

    var isEmpty: Bool { count == 0 }

    /// `Slot.null` when empty. O(1).
    @inline(__always)
    func first(_ tickets: borrowing Tickets) -> Slot {
        let a = standard.first(tickets)
        if own.isEmpty { return a }
        let b = own.first(tickets)
        if a == .null { return b }
        return tickets[b].order < tickets[a].order ? b : a
    }
}
