import Model

/// A waiting job.
struct TicketRecord: Sendable {
    /// Where the record is filed.
    enum Place: UInt8, Sendable {
        /// Its dispatcher is away or still tells what it holds: counted, never granted. Leaves to listed or late.
        case suspended
        /// In its queue's list. Leaves by grant, refusal, cancel, or to suspended.
        case listed
        /// In its queue's heap, because it came after younger ones. Leaves as listed does.
        case late
        /// It waits for one endpoint, the one that served its affinity key last. Leaves as listed does, and to listed or late.
        case affine
    }

    var id: TicketID
    var connection: ConnectionID
    var arrival: Instant
    var sequence: UInt64
    /// Nanoseconds from arrival; negative takes the pool's.
    var budget: Int64
    var pool: Slot
    var dispatcher: Slot
    var place: Place
    var isRequeued: Bool
    /// Its key is in ``Tickets/affinities``.
    var hasAffinity: Bool
    var urgency: Urgency
    /// Its tenant's number in its pool.
    var share: UInt16
    /// The assertion of its dispatcher that named it last; 0 for one that was inherited and not named since.
    var told: UInt32
    var bytes: UInt32

    var hasOwnBudget: Bool { budget >= 0 }
    var order: SlotHeap.Entry { SlotHeap.Entry(key: arrival.nanoseconds, tie: sequence, slot: .null) }
}

/// What a ticket's affinity asks for.
struct TicketAffinity: Sendable {
    /// Of the key and its tenant.
    var hash: UInt64
    /// The place that it waits for; `Slot.null` while it is not ``TicketRecord/Place/affine``.
    var member = Slot.null
}

/// All tickets of all pools, with the columns that queues link them by.
struct Tickets: Sendable {
    private var slab = Slab<TicketRecord>()
    /// Neighbours in a queue's list.
    var queueLinks: LinkColumn = []
    var latePositions: SlotHeap.Positions = []
    var deadlinePositions: SlotHeap.Positions = []
    /// Few: only jobs that name a key.
    var affinities: [Slot: TicketAffinity] = [:]

    var count: Int { slab.count }

    mutating func insert(_ record: TicketRecord) -> Slot {
        let slot = slab.insert(record)
        queueLinks.cover(slot, with: Links())
        latePositions.cover(slot, with: -1)
        deadlinePositions.cover(slot, with: -1)
        return slot
    }

    mutating func remove(_ slot: Slot) {
        if slab[slot].hasAffinity { affinities[slot] = nil }
        slab.remove(slot)
    }

    subscript(slot: Slot) -> TicketRecord {
        @inline(__always) _read { yield slab[slot] }
        @inline(__always) _modify { yield &slab[slot] }
    }
}

/// Tickets by arrival, then by the order in which they were told.
///
/// A ticket that is no older than the last one goes to the end of a list in O(1). One that comes back to its place
/// (requeued, told again) goes to a heap beside it in O(log n). The first of the queue is the older of both fronts.
struct TicketQueue: Sendable {
    private(set) var list = SlotList()
    private(set) var late = SlotHeap()

    var isEmpty: Bool { list.isEmpty && late.isEmpty }

    /// `Slot.null` when empty. O(1).
    @inline(__always)
    func first(_ tickets: borrowing Tickets) -> Slot {
        guard let late = late.first else { return list.head }
        guard list.head != .null else { return late.slot }
        return late < tickets[list.head].order ? late.slot : list.head
    }

    mutating func insert(_ slot: Slot, _ tickets: inout Tickets) {
        if list.tail == .null || !(tickets[slot].order < tickets[list.tail].order) {
            tickets[slot].place = .listed
            list.append(slot, &tickets.queueLinks)
        } else {
            var entry = tickets[slot].order
            entry.slot = slot
            tickets[slot].place = .late
            late.insert(entry, &tickets.latePositions)
        }
    }

    /// `slot` must be in this queue; it is suspended afterwards.
    mutating func remove(_ slot: Slot, _ tickets: inout Tickets) {
        switch tickets[slot].place {
        case .listed: list.remove(slot, &tickets.queueLinks)
        case .late: late.remove(slot, &tickets.latePositions)
        case .suspended, .affine: preconditionFailure("the ticket is in no queue")
        }
        tickets[slot].place = .suspended
    }

    /// Every ticket, unordered; O(n), for reports.
    func slots(_ tickets: borrowing Tickets) -> [Slot] { list.slots(tickets.queueLinks) + late.entries.map(\.slot) }
}
