import Model

/// One open lease.
struct LeaseRecord: Sendable {
    var id: LeaseID
    var pool: Slot
    var endpoint: Slot
    var dispatcher: Slot
    /// The assertion of its dispatcher that named it last; 0 for one that was inherited and not named since.
    var told: UInt32
    var isEnding = false
    var isProbe: Bool
    /// Its worker's connection is in escrow.
    var isEscrowed = false
    var since: Instant
    /// The job that it was granted to, and when that arrived; unknown for a probe and after an assertion.
    var job: JobPlace?
    /// Its tenant's number in its pool.
    var share: UInt16 = 0
    /// The level at which the tenant was charged for it; negative for not at all.
    var charged: Int8 = -1
}

/// A job's place in line, remembered over its lease.
struct JobPlace: Sendable {
    var ticket: TicketID
    var arrival: Instant
    var caller = ConnectionID.none
    var urgency = Urgency.standard
}

/// One process that holds or may hold leases.
struct DispatcherRecord: Sendable {
    enum Phase: UInt8, Sendable {
        /// On the roster, not heard of since our start. Leaves to asserting, dead.
        case expected
        /// Connected, telling what it holds. Leaves to up, away, dead.
        case asserting
        /// Connected, and everything it holds is known. Leaves to away, asserting (a new link), dead.
        case up
        /// No link, but no proof of death: leases kept, tickets suspended. Leaves to asserting, dead.
        case away
        /// Its death is proven. Here until the next process in its seat inherits, or `adoptUntil`, and until recovery has waited for it.
        /// Leaves to gone.
        case dead
    }

    var instance: InstanceID
    var seat: String
    /// Of the seat, in ``Decision``.
    var seatNumber: UInt16 = .max
    var link: DispatcherID?
    var phase: Phase
    /// Counts its connections; what was last told in an earlier one does not hold any more.
    var assertion: UInt32 = 0
    /// It may hold leases of an earlier start that it has not told: the roster named it, or was lost, and it has not asserted since.
    /// Whoever the roster does not name was granted nothing then, because nobody is before his name is on it.
    var mayHoldUntold = false
    /// The job of the lease that it returned last: if its ticket comes again, it keeps its arrival to the nanosecond, whatever
    /// the age lost on its way.
    var returned: JobPlace?
    /// Of what it has inherited: leases whose grant may not have been read, or not been used, by the job that they were granted to. Its successor
    /// tells that job's ticket only where no byte of it has gone to a worker.
    var unread: [TicketID: LeaseID] = [:]
    /// Recovery waits for it.
    var blocksRecovery = false
    /// Once it is dead: until when what it leaves can be inherited. Of one that lives: until when it may assert what it has inherited.
    var adoptUntil = Instant.never
    /// Once it is dead and may have held leases that nobody has told: until then its workers may be at its jobs, and recovery waits.
    var graceUntil = Instant.never
    var leases = SlotList()
    /// Its tickets by their ids, and their only list: one more would cost each grant two looks at tickets from anywhere in memory.
    var ticketSlots = SlotTable()
}
