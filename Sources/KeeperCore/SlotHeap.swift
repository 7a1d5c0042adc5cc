import Model

/// A 4-ary heap of slots by (key, tie), smallest first. Where each slot sits is noted in a column outside, so that
/// any slot can be removed in O(log n); appending in order costs O(1).
struct SlotHeap: Sendable {
    struct Entry: Sendable {
        var key: Int64
        var tie: UInt64
        var slot: Slot

        @inline(__always)
        static func < (a: Entry, b: Entry) -> Bool { a.key != b.key ? a.key < b.key : a.tie < b.tie }
    }

    /// Where each slot is in the heap; -1 for absent.
    typealias Positions = ContiguousArray<Int32>

    private(set) var entries: ContiguousArray<Entry> = []

    var isEmpty: Bool { entries.isEmpty }
    var first: Entry? { @inline(__always) get { entries.isEmpty ? nil : entries[0] } }

    mutating func insert(_ entry: Entry, _ positions: inout Positions) {
        entries.append(entry)
        rise(entries.count - 1, entry, &positions)
    }

    /// `slot` must be in this heap.
    mutating func remove(_ slot: Slot, _ positions: inout Positions) {
        let hole = Int(positions[Int(slot)])
        positions[Int(slot)] = -1
        let last = entries.removeLast()
        if hole < entries.count { settle(hole, last, &positions) }
    }

    /// Moves `slot`, which must be in this heap, to where its new key belongs.
    mutating func update(_ entry: Entry, _ positions: inout Positions) {
        settle(Int(positions[Int(entry.slot)]), entry, &positions)
    }

    private mutating func settle(_ i: Int, _ entry: Entry, _ positions: inout Positions) {
        if i > 0, entry < entries[(i - 1) >> 2] { rise(i, entry, &positions) } else { sink(i, entry, &positions) }
    }

    private mutating func rise(_ start: Int, _ entry: Entry, _ positions: inout Positions) {
        var i = start
        while i > 0 {
            let parent = (i - 1) >> 2
            guard entry < entries[parent] else { break }
            entries[i] = entries[parent]
            positions[Int(entries[i].slot)] = Int32(truncatingIfNeeded: i)
            i = parent
        }
        entries[i] = entry
        positions[Int(entry.slot)] = Int32(truncatingIfNeeded: i)
    }

    private mutating func sink(_ start: Int, _ entry: Entry, _ positions: inout Positions) {
        var i = start
        while true {
            let firstChild = i << 2 + 1
            guard firstChild < entries.count else { break }
            var least = firstChild
            for child in firstChild + 1..<max(firstChild + 1, min(firstChild + 4, entries.count)) where entries[child] < entries[least] {
                least = child
            }
            guard entries[least] < entry else { break }
            entries[i] = entries[least]
            positions[Int(entries[i].slot)] = Int32(truncatingIfNeeded: i)
            i = least
        }
        entries[i] = entry
        positions[Int(entry.slot)] = Int32(truncatingIfNeeded: i)
    }
}

/// Deadlines by number: at most one each, changed or cancelled in O(log n).
struct DeadlineHeap: Sendable {
    private var heap = SlotHeap()
    private var positions: SlotHeap.Positions = []

    /// `Instant.never` when nothing is due.
    var earliest: Instant { heap.first.map { Instant(nanoseconds: $0.key) } ?? .never }

    /// The number with the earliest deadline.
    var first: Slot? { heap.first?.slot }

    /// The number with the earliest deadline, if that is not after `now`.
    func due(at now: Instant) -> Slot? {
        guard let first = heap.first, first.key <= now.nanoseconds else { return nil }
        return first.slot
    }

    /// `Instant.never` cancels.
    mutating func set(_ number: Slot, to deadline: Instant) {
        while positions.count <= Int(number) { positions.append(-1) }
        let position = positions[Int(number)]
        let entry = SlotHeap.Entry(key: deadline.nanoseconds, tie: UInt64(number), slot: number)
        if deadline == .never {
            if position >= 0 { heap.remove(number, &positions) }
        } else if position < 0 {
            heap.insert(entry, &positions)
        } else if heap.entries[Int(position)].key != deadline.nanoseconds {
            heap.update(entry, &positions)
        }
    }

    func deadline(of number: Slot) -> Instant {
        guard Int(number) < positions.count, positions[Int(number)] >= 0 else { return .never }
        return Instant(nanoseconds: heap.entries[Int(positions[Int(number)])].key)
    }
}
