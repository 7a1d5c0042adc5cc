import Model

// How the model's values look on the wire. Durations travel as microseconds: ages, never instants.

extension ByteWriter {
    mutating func pool(_ id: PoolID) { integer(id.rawValue) }
    mutating func ticket(_ id: TicketID) { integer(id.rawValue) }

    mutating func endpoint(_ id: EndpointID) {
        integer(id.high)
        integer(id.low)
    }

    mutating func lease(_ id: LeaseID) {
        integer(id.epoch)
        integer(id.counter)
    }

    mutating func connection(_ id: ConnectionID) {
        integer(id.slot)
        integer(id.generation)
    }

    mutating func asserted(_ asserted: AssertedLease) {
        lease(asserted.lease)
        pool(asserted.pool)
        endpoint(asserted.endpoint)
        address(asserted.address)
        duration(asserted.age)
        flag(asserted.isEnding)
        flag(asserted.isProbe)
        integer(asserted.tenant.rawValue)
    }

    mutating func duration(_ value: Duration) { integer(UInt64(clamping: value.microseconds)) }

    mutating func address(_ address: SocketAddress) {
        integer(address.family.rawValue)
        integer(address.port)
        integer(address.high)
        integer(address.low)
    }

    mutating func addresses(_ list: [SocketAddress]) {
        let count = min(list.count, Bounds.addresses)
        integer(UInt8(count))
        for one in list.prefix(count) { address(one) }
    }

    mutating func tenant(_ state: TenantState) {
        string(state.name)
        integer(state.queued)
        integer(state.leased)
        duration(state.oldestWait)
    }

    mutating func tenants(_ list: [TenantState]) {
        let count = min(list.count, Bounds.stateTenants)
        integer(UInt8(count))
        for one in list.prefix(count) { tenant(one) }
    }

    mutating func description(of endpoint: Endpoint) {
        self.endpoint(endpoint.id)
        string(endpoint.uid)
        string(endpoint.name)
        addresses(endpoint.addresses)
        integer(endpoint.conditions.rawValue)
        string(endpoint.node)
        string(endpoint.zone)
        flag(endpoint.isLocal)
    }
}

extension ByteReader {
    mutating func pool() throws(WireError) -> PoolID { PoolID(rawValue: try integer()) }
    mutating func ticket() throws(WireError) -> TicketID { TicketID(rawValue: try integer()) }
    mutating func endpoint() throws(WireError) -> EndpointID { EndpointID(high: try integer(), low: try integer()) }
    mutating func lease() throws(WireError) -> LeaseID { LeaseID(epoch: try integer(), counter: try integer()) }

    mutating func connection() throws(WireError) -> ConnectionID { ConnectionID(slot: try integer(), generation: try integer()) }

    mutating func assertedLease() throws(WireError) -> AssertedLease {
        AssertedLease(
            lease: try lease(), pool: try pool(), endpoint: try endpoint(), address: try address(), age: try duration("age"),
            isEnding: try flag("ending"), isProbe: try flag("probe"), tenant: TenantID(rawValue: try integer()))
    }

    mutating func pipe() throws(WireError) -> UInt32 {
        let index = try integer(UInt32.self)
        guard index < Bounds.pipes else { throw .tooLong(field: "pipe", count: Int(clamping: index)) }
        return index
    }

    /// At most a year: no age or budget of ours is longer, and sums of them cannot overflow.
    mutating func duration(_ field: StaticString) throws(WireError) -> Duration {
        let micros = try integer(UInt64.self)
        guard micros <= 366 * 86_400 * 1_000_000 else { throw .tooLong(field: field, count: Int(clamping: micros)) }
        return .microseconds(Int64(micros))
    }

    mutating func address() throws(WireError) -> SocketAddress {
        let family = try byte(SocketAddress.Family.self, "address family")
        let port = try integer(UInt16.self)
        return SocketAddress(family: family, high: try integer(), low: try integer(), port: port)
    }

    mutating func addresses() throws(WireError) -> [SocketAddress] {
        let count = Int(try integer(UInt8.self))
        guard count > 0 else { throw .truncated }
        guard count <= Bounds.addresses else { throw .tooLong(field: "addresses", count: count) }
        var list: [SocketAddress] = []
        list.reserveCapacity(count)
        for _ in 0..<count { list.append(try address()) }
        return list
    }

    mutating func tenant() throws(WireError) -> TenantState {
        TenantState(
            name: try string("tenant"), queued: try integer(), leased: try integer(), oldestWait: try duration("oldest wait"))
    }

    mutating func tenants() throws(WireError) -> [TenantState] {
        let count = Int(try integer(UInt8.self))
        guard count <= Bounds.stateTenants else { throw .tooLong(field: "tenants", count: count) }
        var list: [TenantState] = []
        list.reserveCapacity(count)
        for _ in 0..<count { list.append(try tenant()) }
        return list
    }

    mutating func endpointDescription() throws(WireError) -> Endpoint {
        Endpoint(
            id: try endpoint(), uid: try string("uid"), name: try string("name"), addresses: try addresses(),
            conditions: Endpoint.Conditions(rawValue: try integer(UInt8.self) & 7),
            node: try string("node"), zone: try string("zone"), isLocal: try flag("local"))
    }
}
