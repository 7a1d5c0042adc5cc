import NIOCore
import Synchronization

/// Entries that were asked for lately, in memory: found without the index, small bodies with their bytes. Bounded; second chance.
final class HotEntries: Sendable {
    private let bound: Int
    private let state = Mutex(State())

    private struct State {
        var slots: [String: Slot] = [:]
        /// Where names leave; a name may stand here that is gone already.
        var order: [String] = []
        var next = 0
        var bytes = 0
    }

    private struct Slot {
        var entries: [CachedEntry]
        var quick: QuickEntry?
        var cost: Int
        var wasUsed: Bool
    }

    /// Of a URL that has one variant, small and whole.
    func quick(_ url: String) -> QuickEntry? {
        state.withLock { state in
            guard let index = state.slots.index(forKey: url) else { return nil }
            state.slots.values[index].wasUsed = true
            return state.slots.values[index].quick
        }
    }

    init(bound: Int) { self.bound = bound }

    func find(_ url: String) -> [CachedEntry]? {
        state.withLock { state in
            guard let index = state.slots.index(forKey: url) else { return nil }
            state.slots.values[index].wasUsed = true
            return state.slots.values[index].entries
        }
    }

    func set(_ url: String, _ entries: [CachedEntry]) {
        let quick = entries.count == 1 ? QuickEntry(entries[0], url) : nil
        let cost = url.utf8.count * 2 + entries.reduce(64) { $0 + $1.cost }
        state.withLock { state in
            if let old = state.slots[url] { state.bytes -= old.cost } else { state.order.append(url) }
            state.slots[url] = Slot(entries: entries, quick: quick, cost: cost, wasUsed: false)
            state.bytes += cost
            while state.bytes > bound, state.next < state.order.count {
                let name = state.order[state.next]
                state.next += 1
                guard let slot = state.slots[name] else { continue }
                if slot.wasUsed {
                    state.slots[name]?.wasUsed = false
                    state.order.append(name)
                } else {
                    state.slots[name] = nil
                    state.bytes -= slot.cost
                }
            }
            if state.next > 1_024, state.next * 2 > state.order.count {
                state.order.removeFirst(state.next)
                state.next = 0
            }
        }
    }

    func forget(_ url: String) {
        state.withLock { state in
            if let old = state.slots.removeValue(forKey: url) { state.bytes -= old.cost }
        }
    }

    func forgetAll() { state.withLock { $0 = State() } }
}
