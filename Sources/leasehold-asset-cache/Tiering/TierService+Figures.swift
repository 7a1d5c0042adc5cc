import AssetCore
import Model
import ServiceKit

extension TierService {
    /// For `show process` and `cache stats`.
    func counted(_ store: Store) -> [String: UInt64] {
        let figures = self.figures
        return [
            "backing-up": figures.away == nil ? 1 : 0, "backing-away-seconds": UInt64(max(0, figures.away?.components.seconds ?? 0)),
            "backing-queued": UInt64(figures.queued), "backing-queued-refused": UInt64(figures.refused),
            "backing-queue-oldest-seconds": UInt64(max(0, figures.oldest.components.seconds)),
            "backing-unsent-bytes": UInt64(max(0, store.figures.unsent)), "backing-fetches": counters.fetches.value,
            "backing-fetched-bytes": counters.fetchedBytes.value, "backing-heads": counters.heads.value, "backing-held": counters.held.value,
            "backing-lists": counters.lists.value, "backing-relayed": counters.relayed.value, "backing-uploads": counters.uploads.value,
            "backing-uploaded-bytes": counters.uploadedBytes.value, "backing-deletes": counters.deletes.value,
            "backing-failures": counters.failures.value, "backing-refusals": counters.refusals.value,
            "backing-turned-away": counters.turnedAway.value, "backing-unanswered": counters.unanswered.value,
        ]
    }

    /// For the publisher.
    func tell(_ store: Store, _ round: inout VitalsRound) {
        let figures = self.figures
        round.gauge(.backingUp, value: figures.away == nil ? 1 : 0)
        round.gauge(.backingQueue, "waiting", value: Double(figures.queued - figures.refused))
        round.gauge(.backingQueue, "refused", value: Double(figures.refused))
        round.gauge(.backingQueueOldest, seconds: figures.oldest)
        round.gauge(.backingUnsent, value: Double(store.figures.unsent))
        for (kind, count) in [
            ("fetch", counters.fetches), ("held", counters.held), ("head", counters.heads), ("list", counters.lists),
            ("relay", counters.relayed), ("upload", counters.uploads), ("delete", counters.deletes),
        ] { round.count(.backingRequests, kind, count.value) }
        round.count(.backingBytes, "in", counters.fetchedBytes.value)
        round.count(.backingBytes, "out", counters.uploadedBytes.value)
        round.count(.backingErrors, "failed", counters.failures.value)
        round.count(.backingErrors, "refused", counters.refusals.value)
        round.count(.backingErrors, "queue-full", counters.turnedAway.value)
        round.count(.backingErrors, "unanswered", counters.unanswered.value)
    }
}
