import AssetCore
import Synchronization

/// One question to an origin, and all who wait for what comes of it. It is a task of its own: nobody who waits can end it by leaving.
final class Flight: Sendable {
    enum Outcome: Sendable {
        /// The response is kept, and its body is coming.
        case filling(Fill, status: Int)
        /// What was stored still holds.
        case freshened(CachedEntry)
        /// What was stored stands in for an origin that fails.
        case stale(CachedEntry, age: Int64, detail: String)
        /// For the one who began the flight only.
        case relay(OriginResponse)
        /// An earlier flight landed between the look into the store and this one's start: the answer is there.
        case lookAgain
        /// It is for one caller only, and not for you.
        case onYourOwn
        case failed(OriginFailure)
    }

    private let state = Mutex(State())

    private struct State {
        var outcome: Outcome?
        var waiting: [(isLeader: Bool, continuation: CheckedContinuation<Outcome, Never>)] = []
    }

    func settle(_ outcome: Outcome) {
        let waiting = state.withLock { state in
            if state.outcome == nil { state.outcome = outcome }
            defer { state.waiting = [] }
            return state.waiting
        }
        for (isLeader, continuation) in waiting { continuation.resume(returning: Self.seen(outcome, isLeader)) }
    }

    func outcome(isLeader: Bool) async -> Outcome {
        await withCheckedContinuation { continuation in
            let known = state.withLock { state in
                if state.outcome == nil { state.waiting.append((isLeader, continuation)) }
                return state.outcome
            }
            if let known { continuation.resume(returning: Self.seen(known, isLeader)) }
        }
    }

    private static func seen(_ outcome: Outcome, _ isLeader: Bool) -> Outcome {
        if case .relay = outcome, !isLeader { return .onYourOwn }
        return outcome
    }
}
