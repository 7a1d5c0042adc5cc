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

/// Endpoints that stay in force although a complete list no longer has them, each until a time.
struct Doubts: Sendable {
    /// In the order in which they end.
    private var pools: [PoolID: [Doubt]] = [:]

    /// What one list lacked.
    private struct Doubt: Sendable {
        /// With their addresses: somebody new at one of them ends the doubt about it.
        var ids: [EndpointID: [SocketAddress]] = [:]
        var holders: [SocketAddress: EndpointID] = [:]
        var until: Instant

        init(_ endpoints: [Endpoint], until: Instant) {
            self.until = until
            for endpoint in endpoints {
                ids[endpoint.id] = endpoint.addresses
                for address in endpoint.addresses { holders[address] = endpoint.id }
            }
        }
    }

    var isEmpty: Bool { pools.isEmpty }

    /// How many endpoints.
    var count: Int { pools.keys.reduce(0) { $0 + count(in: $1) } }

    /// When the first of them ends.
    var nextEnd: Instant { pools.values.compactMap(\.first?.until).min() ?? .never }

    func has(_ id: EndpointID, in pool: PoolID) -> Bool { pools[pool]?.contains { $0.ids[id] != nil } ?? false }

    func count(in pool: PoolID) -> Int { pools[pool]?.reduce(0) { $0 + $1.ids.count } ?? 0 }

    /// Endpoints that are in doubt already have to be left out: they keep their time.
    mutating func raise(_ endpoints: [Endpoint], in pool: PoolID, until: Instant) {
        if !endpoints.isEmpty { pools[pool, default: []].append(Doubt(endpoints, until: until)) }
    }

    /// Who is in doubt at an address.
    func holder(of address: SocketAddress, in pool: PoolID) -> EndpointID? {
        for doubt in pools[pool] ?? [] { if let id = doubt.holders[address] { return id } }
        return nil
    }

    mutating func settle(_ id: EndpointID, in pool: PoolID) {
        guard let place = pools[pool]?.firstIndex(where: { $0.ids[id] != nil }), var doubts = pools.removeValue(forKey: pool) else { return }
        for address in doubts[place].ids.removeValue(forKey: id) ?? [] where doubts[place].holders[address] == id {
            doubts[place].holders[address] = nil
        }
        if doubts[place].ids.isEmpty { doubts.remove(at: place) }
        if !doubts.isEmpty { pools[pool] = doubts }
    }

    /// Takes out what ends now, in a fixed order.
    mutating func takeEnded(at now: Instant) -> [(pool: PoolID, ids: [EndpointID])] {
        var ended: [(pool: PoolID, ids: [EndpointID])] = []
        for pool in pools.keys.sorted() {
            guard let doubts = pools[pool] else { continue }
            let over = doubts.prefix { $0.until <= now }
            if over.isEmpty { continue }
            ended.append((pool, over.flatMap(\.ids.keys).sorted()))
            pools[pool] = over.count == doubts.count ? nil : Array(doubts.dropFirst(over.count))
        }
        return ended
    }

    /// Pools that are gone from the configuration have nothing to doubt.
    mutating func keep(only known: Set<PoolID>) { pools = pools.filter { known.contains($0.key) } }
}
