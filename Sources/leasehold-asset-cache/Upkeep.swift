import AssetCore
import Foundation
import Linux
import Logging
import Synchronization

/// What the store does by itself, on a thread of its own: expiry every minute, and the scrub.
final class Upkeep: Sendable {
    private let isOver = Atomic<Bool>(false)
    private let wake = DispatchSemaphore(value: 0)

    private static let period: Int64 = 60_000_000_000

    init(_ store: Store, scrubEvery: Duration?, _ logger: Logger) {
        let thread = Thread { [self] in
            var nextScrub = scrubEvery.map { monotonicNow() + $0.nanoseconds } ?? .max
            while !isOver.load(ordering: .relaxed) {
                do {
                    try store.expire(at: wallClock())
                    if monotonicNow() >= nextScrub, let scrubEvery {
                        try store.scrub { !self.isOver.load(ordering: .relaxed) }
                        nextScrub = monotonicNow() + scrubEvery.nanoseconds
                    }
                } catch {
                    logger.error("The store's upkeep failed, trying again in a minute", metadata: ["problem": "\(error)"])
                }
                let next = min(Self.period, max(0, nextScrub - monotonicNow()))
                _ = wake.wait(timeout: .now() + .nanoseconds(Int(next)))
            }
        }
        thread.name = "upkeep"
        thread.start()
    }

    func end() {
        isOver.store(true, ordering: .relaxed)
        wake.signal()
    }
}
