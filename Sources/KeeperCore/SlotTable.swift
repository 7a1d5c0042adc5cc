/// A hash table from a 64-bit id to a slot: open addressing, linear probing, removal without tombstones.
///
/// The ids are our own counters or come from our own daemons, so a multiplicative hash (Knuth, TAOCP 6.4) is
/// enough; it makes a look-up a few nanoseconds, which the standard dictionary's keyed hash does not. Four ids in a
/// row share a cache line, because ids that were counted up come and go together.
struct SlotTable: Sendable {
    private struct Entry: Sendable {
        var key: UInt64
        var slot: Slot
    }

    private var entries: ContiguousArray<Entry>
    private var shift: UInt64
    private(set) var count = 0

    init() {
        entries = ContiguousArray(repeating: Entry(key: 0, slot: .null), count: 8)
        shift = 63
    }

    @inline(__always)
    private func home(_ key: UInt64) -> Int {
        Int(truncatingIfNeeded: (((key >> 2) &* 0x9e37_79b9_7f4a_7c15) >> shift) << 2 | key & 3)
    }

    /// `Slot.null` when absent.
    subscript(key: UInt64) -> Slot {
        let mask = entries.count - 1
        var i = home(key)
        while true {
            let entry = entries[i]
            if entry.slot == .null || entry.key == key { return entry.slot }
            i = (i + 1) & mask
        }
    }

    /// `key` must be absent.
    mutating func insert(_ key: UInt64, _ slot: Slot) {
        if count * 2 >= entries.count { grow() }
        place(Entry(key: key, slot: slot))
        count += 1
    }

    private mutating func place(_ entry: Entry) {
        let mask = entries.count - 1
        var i = home(entry.key)
        while entries[i].slot != .null { i = (i + 1) & mask }
        entries[i] = entry
    }

    private mutating func grow() {
        let old = entries
        entries = ContiguousArray(repeating: Entry(key: 0, slot: .null), count: old.count * 2)
        shift -= 1
        for entry in old where entry.slot != .null { place(entry) }
    }

    /// Every slot, in no order that means anything; O(size).
    var slots: [Slot] {
        var all: [Slot] = []
        all.reserveCapacity(count)
        for entry in entries where entry.slot != .null {
            all.append(entry.slot)
            if all.count == count { break }
        }
        return all
    }

    /// Gives the slot that was there, or `Slot.null`.
    @discardableResult
    mutating func remove(_ key: UInt64) -> Slot {
        let mask = entries.count - 1
        var hole = home(key)
        while entries[hole].key != key || entries[hole].slot == .null {
            if entries[hole].slot == .null { return .null }
            hole = (hole + 1) & mask
        }
        let removed = entries[hole].slot
        // Pull back what probed past the hole, so that no later look-up ends there too early.
        var i = hole
        while true {
            i = (i + 1) & mask
            let entry = entries[i]
            if entry.slot == .null { break }
            let distance = (i &- home(entry.key)) & mask
            if distance >= (i &- hole) & mask {
                entries[hole] = entry
                hole = i
            }
        }
        entries[hole].slot = .null
        count -= 1
        return removed
    }
}
