/// A position in a slab: small, so that a link between two records costs four bytes.
typealias Slot = Int32

extension Slot {
    /// No record.
    static let null: Slot = -1
}

/// Records at stable positions, with freed ones reused: no allocation in steady state.
///
/// A slot is never kept across the removal of its record: every list and table that names it is told first. What
/// comes from outside names records by id, never by slot.
struct Slab<Record: Sendable>: Sendable {
    private var records: ContiguousArray<Record> = []
    private var vacant: ContiguousArray<Slot> = []

    var count: Int { records.count - vacant.count }
    /// One more than the highest slot ever used: how long a column beside this slab has to be.
    var extent: Int { records.count }

    mutating func insert(_ record: Record) -> Slot {
        if let slot = vacant.popLast() {
            records[Int(slot)] = record
            return slot
        }
        records.append(record)
        return Slot(truncatingIfNeeded: records.count - 1)
    }

    /// The slot may be handed out again at once; what the record held is freed when that happens.
    mutating func remove(_ slot: Slot) { vacant.append(slot) }

    /// In place: an array's own getter copies the record out for every call on it, which for a pool is half a kilobyte
    /// and nine reference counts.
    ///
    /// The address stays right for the length of the access, because nothing can insert into a slab that is being
    /// accessed, and the array keeps its elements in one block that moves only when it grows.
    subscript(slot: Slot) -> Record {
        @inline(__always) unsafeAddress {
            let i = Int(slot)
            precondition(i >= 0 && i < records.count)
            return records.withUnsafeBufferPointer { UnsafePointer($0.baseAddress.unsafelyUnwrapped + i) }
        }
        @inline(__always) unsafeMutableAddress {
            let i = Int(slot)
            precondition(i >= 0 && i < records.count)
            return records.withUnsafeMutableBufferPointer { $0.baseAddress.unsafelyUnwrapped + i }
        }
    }
}

/// The neighbours of a record in one intrusive list.
struct Links: Sendable {
    var previous: Slot = .null
    var next: Slot = .null
}

/// A slab's links for one kind of list, by slot.
typealias LinkColumn = ContiguousArray<Links>

extension ContiguousArray {
    /// Makes room for one more slot after an insertion into the slab beside it.
    mutating func cover(_ slot: Slot, with blank: Element) {
        if Int(slot) >= count { append(blank) }
    }
}

/// A doubly linked list of slots whose links live in a column: O(1) everywhere, no allocation.
struct SlotList: Sendable {
    private(set) var head: Slot = .null
    private(set) var tail: Slot = .null

    var isEmpty: Bool { head == .null }

    mutating func append(_ slot: Slot, _ links: inout LinkColumn) {
        links[Int(slot)] = Links(previous: tail, next: .null)
        if tail == .null { head = slot } else { links[Int(tail)].next = slot }
        tail = slot
    }

    mutating func prepend(_ slot: Slot, _ links: inout LinkColumn) {
        links[Int(slot)] = Links(previous: .null, next: head)
        if head == .null { tail = slot } else { links[Int(head)].previous = slot }
        head = slot
    }

    /// `slot` must be in this list.
    mutating func remove(_ slot: Slot, _ links: inout LinkColumn) {
        let own = links[Int(slot)]
        if own.previous == .null { head = own.next } else { links[Int(own.previous)].next = own.next }
        if own.next == .null { tail = own.previous } else { links[Int(own.next)].previous = own.previous }
    }

    /// All slots, head first; O(n), for reports and for what must visit everything anyway.
    func slots(_ links: LinkColumn) -> [Slot] {
        var all: [Slot] = []
        var slot = head
        while slot != .null {
            all.append(slot)
            slot = links[Int(slot)].next
        }
        return all
    }
}
