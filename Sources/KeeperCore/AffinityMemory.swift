import Model

/// Which endpoint served each affinity key last: a bounded memory, of which the longest unused goes first.
struct AffinityMemory: Sendable {
    private struct Entry: Sendable {
        var hash: UInt64
        var endpoint: EndpointID
    }

    private let most: Int
    private var entries = Slab<Entry>()
    private var slots = SlotTable()
    /// Longest unused first.
    private var order = SlotList()
    private var links: LinkColumn = []

    init(most: Int) { self.most = most }

    var count: Int { entries.count }

    /// O(1).
    func endpoint(of hash: UInt64) -> EndpointID? {
        let slot = slots[hash]
        return slot == .null ? nil : entries[slot].endpoint
    }

    /// O(1).
    mutating func remember(_ hash: UInt64, _ endpoint: EndpointID) {
        var slot = slots[hash]
        if slot != .null {
            order.remove(slot, &links)
            entries[slot].endpoint = endpoint
        } else {
            if entries.count >= most {
                let oldest = order.head
                guard oldest != .null else { return }
                order.remove(oldest, &links)
                slots.remove(entries[oldest].hash)
                entries.remove(oldest)
            }
            slot = entries.insert(Entry(hash: hash, endpoint: endpoint))
            links.cover(slot, with: Links())
            slots.insert(hash, slot)
        }
        order.append(slot, &links)
    }

    /// 64-bit FNV-1a over the tenant and the key. Two keys that collide share a preference and nothing else.
    static func hash(tenant: String, key: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        for byte in tenant.utf8 { mix(byte) }
        mix(0)
        for byte in key.utf8 { mix(byte) }
        return hash
    }
}
