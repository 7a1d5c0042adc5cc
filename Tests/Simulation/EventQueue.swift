import Model

/// What will happen: by time, then in the order of asking. A binary heap.
struct EventQueue {
    struct Event {
        var at: Int64
        var order: UInt64
        var action: () -> Void
    }

    private var heap: [Event] = []
    private var asked: UInt64 = 0

    var isEmpty: Bool { heap.isEmpty }
    var count: Int { heap.count }

    mutating func add(_ at: Int64, _ action: @escaping () -> Void) {
        asked += 1
        heap.append(Event(at: at, order: asked, action: action))
        var i = heap.count - 1
        while i > 0 {
            let parent = (i - 1) / 2
            guard isBefore(i, parent) else { break }
            heap.swapAt(i, parent)
            i = parent
        }
    }

    mutating func take() -> Event? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if heap.isEmpty { return first }
        heap[0] = last
        var i = 0
        while true {
            var least = i
            if 2 * i + 1 < heap.count, isBefore(2 * i + 1, least) { least = 2 * i + 1 }
            if 2 * i + 2 < heap.count, isBefore(2 * i + 2, least) { least = 2 * i + 2 }
            if least == i { return first }
            heap.swapAt(i, least)
            i = least
        }
    }

    mutating func removeAll() { heap = [] }

    private func isBefore(_ a: Int, _ b: Int) -> Bool {
        heap[a].at != heap[b].at ? heap[a].at < heap[b].at : heap[a].order < heap[b].order
    }
}
