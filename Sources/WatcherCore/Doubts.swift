import Kubernetes
import Model

/// When a complete list is too bad to be believed at once.
public struct DoubtPolicy: Hashable, Sendable {
    /// Percent of a pool: a list that removes more of it is doubted, and so is one that empties it.
    public var percent: Int
    /// How long what it removes stays in force.
    public var hold: Duration

    public init(percent: Int = 50, hold: Duration = .seconds(10)) {
        self.percent = percent
        self.hold = hold
    }
}

/// Endpoints that stay in force although a complete list no longer has them, each pool's until a time.
struct Doubts: Sendable {
    private var pools: [PoolID: Doubt] = [:]

    private struct Doubt: Sendable {
        /// With their addresses: somebody new at one of them ends the doubt about it.
        var ids: [EndpointID: [SocketAddress]]
        var holders: [SocketAddress: EndpointID]
        var until: Instant
    }

    var isEmpty: Bool { pools.isEmpty }

    /// How many endpoints.
    var count: Int { pools.values.reduce(0) { $0 + $1.ids.count } }

    /// When the first of them ends.
    var nextEnd: Instant { pools.values.map(\.until).min() ?? .never }

    func has(_ id: EndpointID, in pool: PoolID) -> Bool { pools[pool]?.ids[id] != nil }

    func count(in pool: PoolID) -> Int { pools[pool]?.ids.count ?? 0 }

    /// Those in doubt already keep their time.
    mutating func raise(_ endpoints: [Endpoint], in pool: PoolID, until: Instant) {
        var doubt = pools[pool] ?? Doubt(ids: [:], holders: [:], until: until)
        for endpoint in endpoints {
            doubt.ids[endpoint.id] = endpoint.addresses
            for address in endpoint.addresses { doubt.holders[address] = endpoint.id }
        }
        if !doubt.ids.isEmpty { pools[pool] = doubt }
    }

    /// Who is in doubt at an address.
    func holder(of address: SocketAddress, in pool: PoolID) -> EndpointID? { pools[pool]?.holders[address] }

    mutating func settle(_ id: EndpointID, in pool: PoolID) {
        guard let addresses = pools[pool]?.ids.removeValue(forKey: id) else { return }
        for address in addresses where pools[pool]?.holders[address] == id { pools[pool]?.holders[address] = nil }
        if pools[pool]?.ids.isEmpty == true { pools[pool] = nil }
    }

    /// Takes out what ends now, in a fixed order.
    mutating func takeEnded(at now: Instant) -> [(pool: PoolID, ids: [EndpointID])] {
        let ended = pools.filter { $0.value.until <= now }.sorted { $0.key < $1.key }
        for (pool, _) in ended { pools[pool] = nil }
        return ended.map { ($0.key, $0.value.ids.keys.sorted()) }
    }

    /// Pools that are gone from the configuration have nothing to doubt.
    mutating func keep(only known: Set<PoolID>) { pools = pools.filter { known.contains($0.key) } }
}
