import Model

/// One endpoint for one job.
public struct Grant: Hashable, Sendable {
    public var ticket: TicketID
    public var lease: LeaseID
    public var pool: PoolID
    public var endpoint: EndpointID
    public var address: SocketAddress
    /// The same endpoint's address of the other family, tried when the first cannot be reached.
    public var alternate: SocketAddress?
    /// How long after receipt the dial may begin.
    public var dialBy: Duration

    public init(
        ticket: TicketID, lease: LeaseID, pool: PoolID, endpoint: EndpointID, address: SocketAddress, alternate: SocketAddress? = nil,
        dialBy: Duration = .seconds(2)
    ) {
        self.ticket = ticket
        self.lease = lease
        self.pool = pool
        self.endpoint = endpoint
        self.address = address
        self.alternate = alternate
        self.dialBy = dialBy
    }
}

/// The end of a ticket without a lease.
public struct Refusal: Hashable, Sendable {
    public var ticket: TicketID
    public var reason: Reason
    /// When trying again makes sense; nil where there is nothing to say.
    public var retryAfter: Duration?
    /// Tickets of the pool that waited at that moment, this one included if it was one of them.
    public var queued: UInt32
    /// Its place in line at that moment, 1 for the next; 0 for one that was not in line.
    public var position: UInt32
    /// How long the oldest of those tickets had waited.
    public var oldestWait: Duration

    public init(
        ticket: TicketID, reason: Reason, retryAfter: Duration? = nil, queued: UInt32 = 0, position: UInt32 = 0,
        oldestWait: Duration = .zero
    ) {
        self.ticket = ticket
        self.reason = reason
        self.retryAfter = retryAfter
        self.queued = queued
        self.position = position
        self.oldestWait = oldestWait
    }
}

/// An order to probe a free endpoint. It comes with a lease, because a probe holds the slot.
public struct Probe: Hashable, Sendable {
    public var lease: LeaseID
    public var pool: PoolID
    public var endpoint: EndpointID
    public var address: SocketAddress
    public var timeout: Duration

    public init(lease: LeaseID, pool: PoolID, endpoint: EndpointID, address: SocketAddress, timeout: Duration) {
        self.lease = lease
        self.pool = pool
        self.endpoint = endpoint
        self.address = address
        self.timeout = timeout
    }
}

/// Pool-keeper → dispatcher.
public enum LeasingReply: WireMessage {
    case grant(Grant)
    case refuse(Refusal)
    case probe(Probe)
    /// The lease is not this dispatcher's any more: cut the session. (An assertion that lost, or a fence.)
    case revoke(LeaseID)
    case adopt(Adoption)

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .grant(let grant):
            writer.integer(UInt8(1))
            writer.ticket(grant.ticket)
            writer.lease(grant.lease)
            writer.pool(grant.pool)
            writer.endpoint(grant.endpoint)
            writer.address(grant.address)
            writer.flag(grant.alternate != nil)
            if let alternate = grant.alternate { writer.address(alternate) }
            writer.duration(grant.dialBy)
        case .refuse(let refusal):
            writer.integer(UInt8(2))
            writer.ticket(refusal.ticket)
            writer.integer(refusal.reason.rawValue)
            writer.flag(refusal.retryAfter != nil)
            if let retryAfter = refusal.retryAfter { writer.duration(retryAfter) }
            writer.integer(refusal.queued)
            writer.integer(refusal.position)
            writer.duration(refusal.oldestWait)
        case .probe(let probe):
            writer.integer(UInt8(3))
            writer.lease(probe.lease)
            writer.pool(probe.pool)
            writer.endpoint(probe.endpoint)
            writer.address(probe.address)
            writer.duration(probe.timeout)
        case .revoke(let lease):
            writer.integer(UInt8(4))
            writer.lease(lease)
        case .adopt(let adoption):
            writer.integer(UInt8(5))
            adoption.encode(into: &writer)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> LeasingReply {
        switch try reader.integer(UInt8.self) {
        case 1:
            let ticket = try reader.ticket()
            let lease = try reader.lease()
            let pool = try reader.pool()
            let endpoint = try reader.endpoint()
            let address = try reader.address()
            let alternate: SocketAddress? = try reader.flag("has alternate") ? try reader.address() : nil
            return .grant(
                Grant(
                    ticket: ticket, lease: lease, pool: pool, endpoint: endpoint, address: address, alternate: alternate,
                    dialBy: try reader.duration("dial-by")))
        case 2:
            let ticket = try reader.ticket()
            let reason = try reader.byte(Reason.self, "reason")
            let retryAfter: Duration? = try reader.flag("has retry-after") ? try reader.duration("retry-after") : nil
            return .refuse(
                Refusal(
                    ticket: ticket, reason: reason, retryAfter: retryAfter, queued: try reader.integer(), position: try reader.integer(),
                    oldestWait: try reader.duration("oldest wait")))
        case 3:
            return .probe(
                Probe(
                    lease: try reader.lease(), pool: try reader.pool(), endpoint: try reader.endpoint(), address: try reader.address(),
                    timeout: try reader.duration("timeout")))
        case 4: return .revoke(try reader.lease())
        case 5: return .adopt(try Adoption.decode(from: &reader))
        case let tag: throw .unknownValue(field: "leasing reply", value: UInt64(tag))
        }
    }
}
