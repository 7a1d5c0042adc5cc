import AssetCore
import Foundation
import Linux
import Logging
import ServiceKit
import Synchronization
import Systemd

/// What the store does by itself, on a thread of its own: expiry every hour, and the scrub.
final class Upkeep: Sendable {
    private let isOver = Atomic<Bool>(false)
    private let wake = DispatchSemaphore(value: 0)

    /// Rules count in days, and what is over is not served anyhow: this frees the room. Nanoseconds.
    private static let expiryPeriod: Int64 = 3_600_000_000_000
    /// After a failure.
    private static let retry: Int64 = 60_000_000_000
    /// Bytes per second that the scrub reads at most, so that requests have the disk.
    private static let scrubRate: Int64 = 64 << 20

    init(_ store: Store, scrubEvery: Duration?, _ logger: Logger) {
        let thread = Thread { [self] in
            var nextExpiry = monotonicNow()
            var nextScrub = scrubEvery.map { monotonicNow() + $0.nanoseconds } ?? .max
            while !isOver.load(ordering: .relaxed) {
                do {
                    if monotonicNow() >= nextExpiry {
                        try store.expire(at: wallClock())
                        nextExpiry = monotonicNow() + Self.expiryPeriod
                    }
                    if monotonicNow() >= nextScrub, let scrubEvery {
                        try store.scrub { bytes in
                            rest(bytes * 1_000_000_000 / Self.scrubRate)
                            return !isOver.load(ordering: .relaxed)
                        }
                        nextScrub = monotonicNow() + scrubEvery.nanoseconds
                    }
                    rest(min(nextExpiry, nextScrub) - monotonicNow())
                } catch {
                    logger.error("The store's upkeep failed, trying again in a minute", metadata: [LogKey.messageID: "\(MessageID.upkeepFailed)", "problem": "\(error)"])
                    rest(Self.retry)
                }
            }
        }
        thread.name = "upkeep"
        thread.start()
    }

    /// Until the end, or for so many nanoseconds.
    private func rest(_ nanoseconds: Int64) {
        guard nanoseconds > 0 else { return }
        _ = wake.wait(timeout: .now() + .nanoseconds(Int(nanoseconds)))
    }

    func end() {
        isOver.store(true, ordering: .relaxed)
        wake.signal()
    }
}
