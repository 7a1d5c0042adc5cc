import Linux
import NIOCore
import NIOPosix
import Synchronization

/// Whether SwiftNIO's loops turn: each leaves a mark every second.
public final class Beats: Sendable {
    private let marks: [Mark]

    private final class Mark: Sendable {
        let time = Atomic<Int64>(monotonicNow())
    }

    /// Nanoseconds after which a loop counts as stuck.
    private static let most: Int64 = 5_000_000_000

    public init(_ group: MultiThreadedEventLoopGroup) {
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

    /// Whether all of them turned within the last five seconds.
    public func areFresh() -> Bool {
        let now = monotonicNow()
        return marks.allSatisfy { now - $0.time.load(ordering: .relaxed) < Self.most }
    }
}
