import Synchronization

/// Work that other threads leave for the thread of a loop.
public final class Mailbox: @unchecked Sendable {
    // The list is behind the mutex; the loop is only woken, which any thread may do. What a piece of work captures belongs to the loop's
    // thread from then on.
    private struct Work: @unchecked Sendable { var run: (Loop) -> Void }
    private let loop: Loop
    private let work = Mutex<[Work]>([])
    private let beats = Atomic<UInt64>(0)
    private var lastBeat: UInt64 = .max

    public init(_ loop: Loop) { self.loop = loop }

    public func put(_ run: @escaping (Loop) -> Void) {
        let one = Work(run: run)
        work.withLock { $0.append(one) }
        loop.wakeUp()
    }

    /// At the end of each of the loop's turns.
    public func open() {
        beats.wrappingAdd(1, ordering: .relaxed)
        let due = work.withLock { list -> [Work] in
            if list.isEmpty { return [] }
            defer { list = [] }
            return list
        }
        for one in due { one.run(loop) }
    }

    /// Whether the loop turned since the last question, which wakes it for the next. Asked by one thread.
    public func isAlive() -> Bool {
        let beat = beats.load(ordering: .relaxed)
        defer {
            lastBeat = beat
            loop.wakeUp()
        }
        return beat != lastBeat
    }
}
