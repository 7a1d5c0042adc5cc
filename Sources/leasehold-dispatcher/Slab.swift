/// Entries that never move, named by a small number: chunks of 256, allocated as needed, reused last in first out.
///
/// Confined to one loop. An entry stays initialised for the slab's life; its owner resets it when it frees the slot.
struct Slab<Entry: ~Copyable>: ~Copyable {
    private var chunks: [UnsafeMutablePointer<Entry>] = []
    private var free: [Int32] = []
    private let make: () -> Entry
    /// Slots that were taken by their number.
    private var adopted: Set<Int32> = []
    private(set) var used = 0

    private static var chunkSize: Int { 256 }

    init(_ make: @escaping () -> Entry) { self.make = make }

    deinit {
        for chunk in chunks {
            chunk.deinitialize(count: Self.chunkSize)
            chunk.deallocate()
        }
    }

    /// The entry of a slot that was taken; the pointer is valid for the slab's life.
    @inline(__always)
    subscript(_ slot: Int32) -> UnsafeMutablePointer<Entry> { chunks[Int(slot) >> 8] + (Int(slot) & 255) }

    /// Whether the number names an entry at all.
    @inline(__always)
    func contains(_ slot: Int32) -> Bool { slot >= 0 && Int(slot) >> 8 < chunks.count }

    var capacity: Int32 { Int32(chunks.count * Self.chunkSize) }

    mutating func take() -> Int32 {
        if free.isEmpty { grow() }
        used += 1
        return free.removeLast()
    }

    /// Takes this very slot; false when it is taken. For adopting, before anything else is taken and with ``taken()`` afterwards.
    mutating func take(_ slot: Int32) -> Bool {
        guard adopted.insert(slot).inserted else { return false }
        while capacity <= slot { grow() }
        used += 1
        return true
    }

    /// The other slots are free.
    mutating func taken() {
        free.removeAll { adopted.contains($0) }
        adopted = []
    }

    private mutating func grow() {
        let chunk = UnsafeMutablePointer<Entry>.allocate(capacity: Self.chunkSize)
        for i in 0..<Self.chunkSize { (chunk + i).initialize(to: make()) }
        let base = Int32(chunks.count * Self.chunkSize)
        chunks.append(chunk)
        free.reserveCapacity(chunks.count * Self.chunkSize)
        for i in (0..<Int32(Self.chunkSize)).reversed() { free.append(base + i) }
    }

    mutating func give(_ slot: Int32) {
        used -= 1
        // One that was adopted and given up at once is among the free already: see `taken()`.
        if !adopted.isEmpty, adopted.remove(slot) != nil { return }
        free.append(slot)
    }
}
