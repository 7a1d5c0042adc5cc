import Linux
import NIOCore
import NIOPosix
import Synchronization

/// Work for the main loop from other threads.
final class Mailbox: @unchecked Sendable {
    // The list is under the lock; the loop's `wakeUp` may be called from anywhere, and nothing else of it is touched but by its thread.
    private let loop: Loop
    private let waiting = Mutex<[@Sendable (Loop) -> Void]>([])

    init(_ loop: Loop) { self.loop = loop }

    func put(_ work: @escaping @Sendable (Loop) -> Void) {
        waiting.withLock { $0.append(work) }
        loop.wakeUp()
    }

    /// By the loop.
    func open() {
        let work = waiting.withLock { waiting in
            defer { waiting.removeAll() }
            return waiting
        }
        for item in work { item(loop) }
    }
}

/// Whether SwiftNIO's loops turn: each leaves a mark every second.
final class Beats: Sendable {
    private let marks: [Mark]

    private final class Mark: Sendable {
        let time = Atomic<Int64>(monotonicNow())
    }

    /// Nanoseconds after which a loop counts as stuck.
    private static let most: Int64 = 5_000_000_000

    init(_ group: MultiThreadedEventLoopGroup) {
        var marks: [Mark] = []
        for loop in group.makeIterator() {
            let mark = Mark()
            marks.append(mark)
            loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in
                mark.time.store(monotonicNow(), ordering: .relaxed)
            }
        }
        self.marks = marks
    }

    func areFresh() -> Bool {
        let now = monotonicNow()
        return marks.allSatisfy { now - $0.time.load(ordering: .relaxed) < Self.most }
    }
}

/// Calls back once, after so many steps.
final class Countdown: Sendable {
    private let left: Mutex<Int>
    private let done: @Sendable () -> Void

    init(_ steps: Int, _ done: @escaping @Sendable () -> Void) {
        left = Mutex(steps)
        self.done = done
        if steps == 0 { done() }
    }

    func step() {
        let isLast = left.withLock { left in
            left -= 1
            return left == 0
        }
        if isLast { done() }
    }
}
