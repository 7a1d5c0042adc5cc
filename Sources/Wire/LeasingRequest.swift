import Model

/// A job's place in line, from its dispatcher to the pool-keeper.
public struct Ticket: Hashable, Sendable {
    public var id: TicketID
    /// The caller whose job it is.
    public var connection: ConnectionID
    public var pool: PoolID
    /// Since the job arrived. A job that was requeued, or is told again after a reconnect, keeps its age.
    public var age: Duration
    /// The whole hold budget from arrival; nil takes the pool's. Zero means "do not hold".
    public var budget: Duration?
    public var urgency: Urgency
    /// Empty is the default tenant.
    public var tenant: String
    /// Empty is none.
    public var affinity: String
    /// Bytes that wait with the job (its head).
    public var bytes: UInt32
    /// It had a lease whose endpoint proved stale or busy: never refused `queue-full`.
    public var isRequeued: Bool

    public init(
        id: TicketID, connection: ConnectionID = .none, pool: PoolID, age: Duration = .zero, budget: Duration? = nil,
        urgency: Urgency = .standard, tenant: String = "", affinity: String = "", bytes: UInt32 = 0, isRequeued: Bool = false
    ) {
        self.id = id
        self.connection = connection
        self.pool = pool
        self.age = age
        self.budget = budget
        self.urgency = urgency
        self.tenant = tenant
        self.affinity = affinity
        self.bytes = bytes
        self.isRequeued = isRequeued
    }
}

/// A lease that its holder tells the pool-keeper again after a reconnect.
public struct AssertedLease: Hashable, Sendable {
    public var lease: LeaseID
    public var pool: PoolID
    public var endpoint: EndpointID
    /// Where it was dialled: what remains of an endpoint that no slice names any more.
    public var address: SocketAddress
    public var age: Duration
    public var isEnding: Bool
    /// A health probe rather than a job.
    public var isProbe: Bool
    /// Whose job it is.
    public var tenant: TenantID

    public init(
        lease: LeaseID, pool: PoolID, endpoint: EndpointID, address: SocketAddress, age: Duration = .zero, isEnding: Bool = false,
        isProbe: Bool = false, tenant: TenantID = .standard
    ) {
        self.lease = lease
        self.pool = pool
        self.endpoint = endpoint
        self.address = address
        self.age = age
        self.isEnding = isEnding
        self.isProbe = isProbe
        self.tenant = tenant
    }
}

/// Dispatcher → pool-keeper.
///
/// On connect a dispatcher waits for ``Adoption/end``. Then it sends what is in escrow beside leases (records, pipes, callers), but for what
/// it has just adopted; `assertLease` for each lease, followed by its worker's escrow; `ticket` for each waiting job (oldest first); and
/// `asserted`. Nothing of an earlier connection counts. A lease that ended by a cut within the last quarantine is
/// asserted as well, and released again behind `asserted`: its first release may have been lost.
public enum LeasingRequest: WireMessage {
    case ticket(Ticket)
    /// The caller left or was answered; a grant that crosses this comes back as `unused`.
    case cancel(TicketID)
    /// The grant was not used: nothing reached the worker. The job, if it still waits, sends its ticket again.
    case unused(LeaseID)
    /// The dial failed. The lease is over; the job sends its ticket again with `isRequeued`.
    case dialFailed(LeaseID, DialFailure)
    /// The caller is gone and the worker still works.
    case ending(LeaseID)
    /// The lease is over.
    case release(LeaseID, Outcome)
    case assertLease(AssertedLease)
    /// Everything that this dispatcher holds has been told.
    case asserted
    case escrow(Escrow)

    /// How many descriptors come with the message.
    public var descriptors: Int {
        if case .escrow(let escrow) = self { escrow.descriptors } else { 0 }
    }

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .ticket(let ticket):
            writer.integer(UInt8(1))
            writer.ticket(ticket.id)
            writer.connection(ticket.connection)
            writer.pool(ticket.pool)
            writer.duration(ticket.age)
            writer.flag(ticket.budget != nil)
            if let budget = ticket.budget { writer.duration(budget) }
            writer.integer(ticket.urgency.rawValue)
            writer.string(ticket.tenant)
            writer.string(ticket.affinity)
            writer.integer(ticket.bytes)
            writer.flag(ticket.isRequeued)
        case .cancel(let ticket):
            writer.integer(UInt8(2))
            writer.ticket(ticket)
        case .unused(let lease):
            writer.integer(UInt8(3))
            writer.lease(lease)
        case .dialFailed(let lease, let failure):
            writer.integer(UInt8(4))
            writer.lease(lease)
            writer.integer(failure.rawValue)
        case .ending(let lease):
            writer.integer(UInt8(5))
            writer.lease(lease)
        case .release(let lease, let outcome):
            writer.integer(UInt8(6))
            writer.lease(lease)
            writer.integer(outcome.rawValue)
        case .assertLease(let asserted):
            writer.integer(UInt8(7))
            writer.asserted(asserted)
        case .asserted:
            writer.integer(UInt8(8))
        case .escrow(let escrow):
            writer.integer(UInt8(9))
            escrow.encode(into: &writer)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> LeasingRequest {
        switch try reader.integer(UInt8.self) {
        case 1:
            let id = try reader.ticket()
            let connection = try reader.connection()
            let pool = try reader.pool()
            let age = try reader.duration("age")
            let budget: Duration? = try reader.flag("has budget") ? try reader.duration("budget") : nil
            let rawUrgency = try reader.integer(UInt8.self)
            guard let urgency = Urgency(rawValue: rawUrgency) else {
                throw .unknownValue(field: "urgency", value: UInt64(rawUrgency))
            }
            return .ticket(
                Ticket(
                    id: id, connection: connection, pool: pool, age: age, budget: budget, urgency: urgency,
                    tenant: try reader.string("tenant"), affinity: try reader.string("affinity"), bytes: try reader.integer(), isRequeued: try reader.flag("requeued")))
        case 2: return .cancel(try reader.ticket())
        case 3: return .unused(try reader.lease())
        case 4: return .dialFailed(try reader.lease(), try reader.byte(DialFailure.self, "dial failure"))
        case 5: return .ending(try reader.lease())
        case 6: return .release(try reader.lease(), try reader.byte(Outcome.self, "outcome"))
        case 7: return .assertLease(try reader.assertedLease())
        case 8: return .asserted
        case 9: return .escrow(try Escrow.decode(from: &reader))
        case let tag: throw .unknownValue(field: "leasing request", value: UInt64(tag))
        }
    }
}
