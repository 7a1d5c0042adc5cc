import CLinux
import Kubernetes
import Linux
import Synchronization

/// What streams on NIO's threads have for the watcher's loop: bounded, so that a server that speaks faster than it is listened to has to wait.
final class StreamMailbox: Sendable {
    struct Letter: Sendable {
        var scope: WatchScope
        var input: ReflectorInput
    }

    private struct Content {
        var letters: [Letter] = []
        var bytes = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let content = Mutex(Content())
    /// Ready for EPOLLIN while there are letters.
    let event: Int32

    /// Bodies' bytes beyond which a stream waits; one piece may go past it.
    static let bytesLimit = 4 << 20

    init() throws(SystemError) { event = Int32(try check(lh_eventfd(), "eventfd")) }

    deinit { _ = lh_close(event) }

    /// Leaves a letter of `bytes` body bytes, and returns when there is room for the next one.
    func put(_ letter: Letter, bytes: Int = 0) async {
        let isFull = content.withLock { content in
            content.letters.append(letter)
            content.bytes += bytes
            return content.bytes > Self.bytesLimit
        }
        var one: UInt64 = 1
        // EAGAIN: it is ready ten times over.
        _ = lh_write(event, &one, 8)
        guard isFull else { return }
        await withCheckedContinuation { continuation in
            let isFull = content.withLock { content in
                // The loop may have emptied it meanwhile, and then wakes nobody.
                guard content.bytes > Self.bytesLimit else { return false }
                content.waiting.append(continuation)
                return true
            }
            if !isFull { continuation.resume() }
        }
    }

    /// Everything that is there, in order; those that waited go on.
    func take() -> [Letter] {
        var count: UInt64 = 0
        // Only empties the counter; EAGAIN means that nothing came since.
        _ = lh_read(event, &count, 8)
        let (letters, waiting) = content.withLock { content in
            defer { content = Content() }
            return (content.letters, content.waiting)
        }
        for continuation in waiting { continuation.resume() }
        return letters
    }
}
