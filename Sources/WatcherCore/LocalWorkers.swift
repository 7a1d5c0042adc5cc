import Model
import Wire

/// The local workers as the scaler tells them: what is in force, and a snapshot that is being received.
struct LocalWorkers: Sendable {
    /// Most workers that a scaler may name: a node has no more ports to run them on.
    static let most = 65_536

    private(set) var endpoints: [PoolID: [EndpointID: Endpoint]] = [:]
    /// How many local workers of a pool have an address.
    private var addresses: [PoolID: [SocketAddress: Int]] = [:]
    private(set) var count = 0
    /// Collected from `snapshotBegin` to `snapshotEnd`; nil outside of that.
    private var incoming: [PoolID: [EndpointID: Endpoint]]?
    private var incomingCount = 0

    /// One endpoint of one pool.
    struct Change: Hashable {
        var pool: PoolID
        var id: EndpointID
        /// Its addresses before and after: an endpoint without a UID may be hidden by them.
        var addresses: [SocketAddress]
    }

    func has(_ address: SocketAddress, in pool: PoolID) -> Bool { addresses[pool]?[address] != nil }

    /// A link came or went: half a snapshot is none.
    mutating func reset() {
        incoming = nil
        incomingCount = 0
    }

    enum Outcome {
        case taken
        /// The scaler has now said all it knows.
        case isWhole
        /// The scaler named more workers than there can be.
        case tooMany
    }

    /// Takes a message and appends what it changes.
    mutating func take(_ message: WorkersMessage, _ changes: inout [Change]) -> Outcome {
        switch message {
        case .snapshotBegin:
            incoming = [:]
            incomingCount = 0
        case .snapshotEnd:
            // The end of a snapshot that never began says nothing.
            guard let whole = incoming else { return .taken }
            reset()
            for pool in endpoints.keys.sorted() {
                for id in (endpoints[pool] ?? [:]).keys.sorted() where whole[pool]?[id] == nil { set(nil, pool, id, &changes) }
            }
            for pool in whole.keys.sorted() {
                for (id, endpoint) in (whole[pool] ?? [:]).sorted(by: { $0.key < $1.key }) { set(endpoint, pool, id, &changes) }
            }
            return .isWhole
        case .upsert(let pool, var endpoint):
            endpoint.isLocal = true
            if incoming != nil {
                if incoming?[pool, default: [:]].updateValue(endpoint, forKey: endpoint.id) == nil { incomingCount += 1 }
            } else {
                set(endpoint, pool, endpoint.id, &changes)
            }
            return max(count, incomingCount) <= Self.most ? .taken : .tooMany
        case .remove(let pool, let id):
            if incoming != nil {
                if incoming?[pool]?.removeValue(forKey: id) != nil { incomingCount -= 1 }
            } else {
                set(nil, pool, id, &changes)
            }
        }
        return .taken
    }

    private mutating func set(_ new: Endpoint?, _ pool: PoolID, _ id: EndpointID, _ changes: inout [Change]) {
        let old = endpoints[pool]?[id]
        guard old != new else { return }
        for address in old?.addresses ?? [] {
            let left = (addresses[pool]?[address] ?? 1) - 1
            addresses[pool]?[address] = left == 0 ? nil : left
        }
        for address in new?.addresses ?? [] { addresses[pool, default: [:]][address, default: 0] += 1 }
        if old == nil { count += 1 }
        if new == nil { count -= 1 }
        endpoints[pool, default: [:]][id] = new
        changes.append(Change(pool: pool, id: id, addresses: (old?.addresses ?? []) + (new?.addresses ?? [])))
    }
}
