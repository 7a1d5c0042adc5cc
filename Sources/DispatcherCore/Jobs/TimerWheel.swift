import Model

/// Deadlines of many connections behind one timer: a hashed wheel of intrusive lists (Varghese and Lauck, 1987).
///
/// A key is a small number (a slab slot). Setting and clearing are O(1); a deadline that moves later costs nothing until its old
/// bucket comes round. Fires up to one tick late, never early.
public struct TimerWheel: Sendable {
    private struct Node {
        var deadline: Int64 = .max
        var next: Int32 = -1
        var previous: Int32 = -1
        /// −1: in no list.
        var bucket: Int32 = -1
    }

    public let tick: Int64
    private var nodes: [Node] = []
    private var buckets: [Int32]
    private let mask: Int64
    private var current: Int64
    private var armed = 0
    /// One bit per bucket that holds anything, so that the next one is found in a few words.
    private var filled: [UInt64]

    /// `tick` in nanoseconds; `bucketCount` a power of two.
    public init(tick: Int64 = 8_000_000, bucketCount: Int = 1024, now: Instant) {
        precondition(bucketCount >= 64 && bucketCount & (bucketCount - 1) == 0 && tick > 0)
        self.tick = tick
        buckets = [Int32](repeating: -1, count: bucketCount)
        filled = [UInt64](repeating: 0, count: bucketCount / 64)
        mask = Int64(bucketCount - 1)
        current = now.nanoseconds / tick
    }

    /// Deadlines that are set, those included that have moved on.
    public var count: Int { armed }

    /// Sets, moves or (with `.never`) clears the deadline of `key`.
    public mutating func set(_ key: Int, _ deadline: Instant) {
        while nodes.count <= key { nodes.append(Node()) }
        let when = deadline.nanoseconds
        let old = nodes[key]
        if when == .max {
            nodes[key].deadline = .max
            if old.bucket >= 0 { unlink(key) }
            return
        }
        nodes[key].deadline = when
        // A later deadline stays where it is: its bucket will look again.
        if old.bucket >= 0 && old.deadline <= when { return }
        if old.bucket >= 0 { unlink(key) }
        link(key, after: current)
    }

    public func deadline(of key: Int) -> Instant { key < nodes.count ? Instant(nanoseconds: nodes[key].deadline) : .never }

    /// When to look again: the next bucket that holds anything, at most one round ahead. O(buckets / 64).
    public func nextWake(after now: Instant) -> Instant {
        guard armed > 0 else { return .never }
        let first = Int((current + 1) & mask)
        var word = first >> 6
        // The first word without the buckets before `first`; it comes round again whole at the end.
        var bits = filled[word] & (UInt64.max << UInt64(first & 63))
        for _ in 0...filled.count {
            if bits != 0 {
                let bucket = word << 6 + bits.trailingZeroBitCount
                let step = (Int64(bucket) - Int64(first)) & mask
                return Instant(nanoseconds: (current + 1 + step + 1) * tick)
            }
            word = (word + 1) % filled.count
            bits = filled[word]
        }
        return .never
    }

    /// Appends the keys whose deadline has passed and clears them. O(buckets passed + keys in them).
    public mutating func expire(at now: Instant, into due: inout [Int]) {
        let target = now.nanoseconds / tick - 1
        guard target > current else { return }
        let steps = min(target - current, mask + 1)
        let from = target - steps
        current = target
        var step: Int64 = 1
        while step <= steps {
            var i = buckets[Int((from + step) & mask)]
            while i >= 0 {
                let key = Int(i)
                i = nodes[key].next
                unlink(key)
                if nodes[key].deadline <= now.nanoseconds {
                    nodes[key].deadline = .max
                    due.append(key)
                } else {
                    link(key, after: current)
                }
            }
            step += 1
        }
    }

    private mutating func link(_ key: Int, after current: Int64) {
        // At most one round ahead; a farther deadline is looked at once a round.
        let wanted = max(nodes[key].deadline / tick, current + 1)
        let bucket = Int32(min(wanted, current + mask + 1) & mask)
        let head = buckets[Int(bucket)]
        nodes[key].bucket = bucket
        nodes[key].previous = -1
        nodes[key].next = head
        if head >= 0 { nodes[Int(head)].previous = Int32(key) }
        buckets[Int(bucket)] = Int32(key)
        filled[Int(bucket) >> 6] |= 1 << UInt64(bucket & 63)
        armed += 1
    }

    private mutating func unlink(_ key: Int) {
        let node = nodes[key]
        if node.previous >= 0 { nodes[Int(node.previous)].next = node.next } else { buckets[Int(node.bucket)] = node.next }
        if buckets[Int(node.bucket)] < 0 { filled[Int(node.bucket) >> 6] &= ~(1 << UInt64(node.bucket & 63)) }
        if node.next >= 0 { nodes[Int(node.next)].previous = node.previous }
        nodes[key].next = -1
        nodes[key].previous = -1
        nodes[key].bucket = -1
        armed -= 1
    }
}
