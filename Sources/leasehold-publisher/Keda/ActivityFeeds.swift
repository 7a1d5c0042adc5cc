import Model
import PublisherCore
import Synchronization

/// The open streams of those who want to know at once whether their pools have jobs: each is told what is true when it begins, and then every
/// change, in the turn of the service's loop in which it was heard.
final class ActivityFeeds: Sendable {
    /// One stream's news, in order. It ends without an error when this process stops, and with a ``ScaledObject/Refusal`` when a pool is gone from
    /// the configuration.
    struct Subscription: Sendable {
        let feed: AsyncThrowingStream<Bool, any Error>
        /// Ends the feed; may be called from anywhere, and more than once.
        let stop: @Sendable () -> Void
    }

    /// Most streams at once.
    static let most = 256
    /// Changes that one stream may not have taken yet. Beyond, the oldest are left out: the last one is what is true.
    private static let mostWaiting = 16

    private let board: Board
    private let state: Mutex<State>

    private struct State {
        var publication: Publication
        var entries: [UInt64: Entry] = [:]
        var last: UInt64 = 0
        var isOver = false
    }

    private struct Entry {
        var watch: ActivityWatch
        var continuation: AsyncThrowingStream<Bool, any Error>.Continuation
    }

    private typealias End = (AsyncThrowingStream<Bool, any Error>.Continuation, ScaledObject.Refusal)

    init(_ publication: Publication, board: Board) {
        state = Mutex(State(publication: publication))
        self.board = board
        board.kedaStreams(0)
    }

    /// Nil when there are too many, or all are ending.
    func open(_ object: ScaledObject, at now: Instant) -> Subscription? {
        let (feed, continuation) = AsyncThrowingStream<Bool, any Error>.makeStream(bufferingPolicy: .bufferingNewest(Self.mostWaiting))
        var end: End?
        let isOpen = state.withLock { state in
            guard state.entries.count < Self.most, !state.isOver else { return false }
            state.last += 1
            let number = state.last
            continuation.onTermination = { [weak self] _ in self?.close(number) }
            state.entries[number] = Entry(watch: ActivityWatch(object), continuation: continuation)
            board.kedaStreams(state.entries.count)
            end = Self.tell(number, &state, at: now)
            return true
        }
        end?.0.finish(throwing: end?.1)
        return isOpen ? Subscription(feed: feed, stop: { continuation.finish() }) : nil
    }

    /// By the loop, whenever something was heard. O(streams × their pools).
    func heard(_ publication: Publication, at now: Instant) {
        let ends = state.withLock { state in
            state.publication = publication
            return Array(state.entries.keys).compactMap { Self.tell($0, &state, at: now) }
        }
        // An end calls back to `close`, which takes the lock.
        for (continuation, refusal) in ends { continuation.finish(throwing: refusal) }
    }

    /// This process stops.
    func end() {
        let entries = state.withLock { state in
            state.isOver = true
            return state.entries
        }
        for entry in entries.values { entry.continuation.finish() }
    }

    private static func tell(_ number: UInt64, _ state: inout State, at now: Instant) -> End? {
        guard var entry = state.entries[number] else { return nil }
        do throws(ScaledObject.Refusal) {
            let news = try entry.watch.next(state.publication, at: now)
            state.entries[number] = entry
            if let news { entry.continuation.yield(news) }
            return nil
        } catch {
            return (entry.continuation, error)
        }
    }

    private func close(_ number: UInt64) {
        state.withLock { state in
            state.entries[number] = nil
            board.kedaStreams(state.entries.count)
        }
    }
}
