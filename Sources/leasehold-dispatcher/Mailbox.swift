import Linux
import Synchronization

/// Work that one thread leaves for another thread's loop.
final class Mailbox: @unchecked Sendable {
    // The list is behind the mutex; the loop is only woken, which any thread may do.
    private struct Work: @unchecked Sendable { var run: () -> Void }
    private let loop: Loop
    private let work = Mutex<[Work]>([])
    private let beats = Atomic<UInt64>(0)
    private var lastBeat: UInt64 = .max

    init(_ loop: Loop) { self.loop = loop }

    func put(_ run: @escaping () -> Void) {
        let one = Work(run: run)
        work.withLock { $0.append(one) }
        loop.wakeUp()
    }

    /// At the end of each of the loop's turns.
    func open() {
        beats.wrappingAdd(1, ordering: .relaxed)
        let due = work.withLock { list -> [Work] in
            if list.isEmpty { return [] }
            defer { list = [] }
            return list
        }
        for one in due { one.run() }
    }

    /// Whether the loop turned since the last question, which wakes it for the next.
    func isAlive() -> Bool {
        let beat = beats.load(ordering: .relaxed)
        defer {
            lastBeat = beat
            loop.wakeUp()
        }
        return beat != lastBeat
    }
}
