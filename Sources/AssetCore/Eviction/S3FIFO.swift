/// Which entry leaves when the store is full: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023).
///
/// Three queues: *small* takes what is new and is a tenth of the room; what was asked for again while there moves to *main*, the rest
/// leaves and its name is remembered in *ghost*; what comes back while remembered goes to main at once. Main is a FIFO whose entries get
/// another round for each of up to three hits. A hit changes one counter, and a scan never reaches main.
///
/// Sizes are bytes. Every operation is O(1) on average; an entry costs about 40 bytes and its place in a dictionary.
public struct S3FIFO: Sendable {
    /// The index's number of the entry.
    public typealias ID = Int64

    private struct Node {
        var id: ID
        var size: Int64
        var hits: UInt8
        var isMain: Bool
        var next: Int32
        var previous: Int32
    }

    private struct Queue {
        /// Where entries leave.
        var head: Int32 = -1
        var tail: Int32 = -1
        var bytes: Int64 = 0
    }

    private var nodes: [Node] = []
    private var free: [Int32] = []
    private var places: [ID: Int32] = [:]
    private var small = Queue()
    private var main = Queue()
    /// Names of what left small lately: a set, and a ring that says which name is the oldest.
    private var ghosts: Set<UInt64> = []
    private var ghostRing: [UInt64] = []
    private var ghostNext = 0

    public init() {}

    public var count: Int { places.count }
    public var bytes: Int64 { small.bytes + main.bytes }

    /// A new entry. `name` is a hash of what the entry is called: it outlives the entry, so that one who comes back is known.
    /// An id that is here already only changes its size.
    public mutating func insert(_ id: ID, name: UInt64, size: Int64) {
        if let place = places[id] {
            resize(place, to: size)
            return
        }
        let known = ghosts.remove(name) != nil
        append(Node(id: id, size: max(0, size), hits: 0, isMain: known, next: -1, previous: -1))
    }

    /// An entry that was here before a restart: it has proved itself.
    public mutating func restore(_ id: ID, size: Int64) {
        guard places[id] == nil else { return }
        append(Node(id: id, size: max(0, size), hits: 0, isMain: true, next: -1, previous: -1))
    }

    /// A hit. Nothing for an id that is not here.
    public mutating func touch(_ id: ID) {
        guard let place = places[id] else { return }
        if nodes[Int(place)].hits < 3 { nodes[Int(place)].hits += 1 }
    }

    /// The entry is gone for another reason.
    public mutating func remove(_ id: ID) {
        guard let place = places.removeValue(forKey: id) else { return }
        unlink(place)
        free.append(place)
    }

    /// Takes out the entry that leaves next; nil when there is none. `name` is asked for the hash of the entry's name.
    public mutating func evict(name: (ID) -> UInt64?) -> ID? {
        while !places.isEmpty {
            let fromSmall = small.head >= 0 && (small.bytes * 10 >= bytes || main.head < 0)
            let place = fromSmall ? small.head : main.head
            guard place >= 0 else { return nil }
            var node = nodes[Int(place)]
            if node.hits == 0 {
                places[node.id] = nil
                unlink(place)
                free.append(place)
                if fromSmall, let name = name(node.id) { remember(name) }
                return node.id
            }
            unlink(place)
            free.append(place)
            node.hits = fromSmall ? 0 : node.hits - 1
            node.isMain = true
            append(node)
        }
        return nil
    }

    // MARK: Queues

    private mutating func append(_ node: Node) {
        var node = node
        let tail = node.isMain ? main.tail : small.tail
        (node.previous, node.next) = (tail, -1)
        let place: Int32
        if let reused = free.popLast() {
            place = reused
            nodes[Int(place)] = node
        } else {
            place = Int32(nodes.count)
            nodes.append(node)
        }
        if tail >= 0 { nodes[Int(tail)].next = place }
        change(node.isMain) { queue in
            queue.tail = place
            if queue.head < 0 { queue.head = place }
            queue.bytes += node.size
        }
        places[node.id] = place
    }

    private mutating func unlink(_ place: Int32) {
        let node = nodes[Int(place)]
        if node.previous >= 0 { nodes[Int(node.previous)].next = node.next }
        if node.next >= 0 { nodes[Int(node.next)].previous = node.previous }
        change(node.isMain) { queue in
            if queue.head == place { queue.head = node.next }
            if queue.tail == place { queue.tail = node.previous }
            queue.bytes -= node.size
        }
    }

    private mutating func resize(_ place: Int32, to size: Int64) {
        let (old, new) = (nodes[Int(place)].size, max(0, size))
        nodes[Int(place)].size = new
        change(nodes[Int(place)].isMain) { $0.bytes += new - old }
    }

    private mutating func change(_ isMain: Bool, _ body: (inout Queue) -> Void) {
        if isMain { body(&main) } else { body(&small) }
    }

    /// As many names as there are entries, at least 1,024.
    private mutating func remember(_ name: UInt64) {
        guard ghosts.insert(name).inserted else { return }
        let room = max(1024, places.count)
        if ghostRing.count < room {
            ghostRing.append(name)
        } else {
            ghostNext %= ghostRing.count
            ghosts.remove(ghostRing[ghostNext])
            ghostRing[ghostNext] = name
            ghostNext += 1
        }
    }

    /// Traps when the structure contradicts itself.
    public func checkInvariants() {
        var seen = 0
        for (queue, isMain) in [(small, false), (main, true)] {
            var (place, previous, bytes) = (queue.head, Int32(-1), Int64(0))
            while place >= 0 {
                let node = nodes[Int(place)]
                precondition(node.isMain == isMain && node.previous == previous && places[node.id] == place)
                bytes += node.size
                seen += 1
                (previous, place) = (place, node.next)
            }
            precondition(queue.tail == previous && queue.bytes == bytes)
        }
        precondition(seen == places.count)
    }
}
