import KeeperCore
import Model
import ServiceKit

/// What the pool-keeper counts of one pool, since its start.
struct PoolCounts {
    let name: String
    private var leases = [UInt64](repeating: 0, count: 16)
    private var dialFailures = [UInt64](repeating: 0, count: 8)
    private var holderDied: UInt64 = 0
    private var unaccounted: UInt64 = 0
    /// By cause; there are few.
    private var quarantines: [String: UInt64] = [:]
    private var held = LatencyHistogram()
    private var heldAndRefused = LatencyHistogram()
    private var heldAndGone = LatencyHistogram()
    private var lasted = LatencyHistogram()

    init(_ name: String) { self.name = name }

    @inline(__always)
    mutating func note(_ notice: Notice) {
        switch notice {
        case .granted(_, _, _, let time): held.add(time)
        case .leaseEnded(_, _, _, let end, let time):
            lasted.add(time)
            switch end {
            case .released(let outcome): leases[Int(outcome.rawValue)] += 1
            case .dialFailed(let failure): dialFailures[Int(failure.rawValue)] += 1
            case .holderDied: holderDied += 1
            case .unaccounted: unaccounted += 1
            }
        case .refused(_, _, _, let time): heldAndRefused.add(time)
        case .gone(_, let time): heldAndGone.add(time)
        case .quarantined(_, _, let cause, _): quarantines[cause.name, default: 0] += 1
        case .requeued, .quarantineEnded, .nodeAvoided, .nodeTrusted, .conflict, .unknownEndpoint, .ignored, .adopted, .revoked, .recovered: break
        }
    }

    /// Every outcome, also those that have not come yet: a rate of what is not there is not 0.
    func tell(_ round: inout VitalsRound) {
        for outcome in Outcome.allCases { round.count(.leases, name, outcome.name, leases[Int(outcome.rawValue)]) }
        round.count(.leases, name, "dial-failed", dialFailures.reduce(0, +))
        round.count(.leases, name, "holder-died", holderDied)
        round.count(.leases, name, "unaccounted", unaccounted)
        for failure in DialFailure.allCases { round.count(.dialFailures, name, failure.name, dialFailures[Int(failure.rawValue)]) }
        for (cause, count) in quarantines { round.count(.quarantines, name, cause, count) }
        round.histogram(.hold, name, "granted", value: held)
        round.histogram(.hold, name, "refused", value: heldAndRefused)
        round.histogram(.hold, name, "gone", value: heldAndGone)
        round.histogram(.leaseDuration, name, value: lasted)
    }
}

extension Notice {
    /// The pool that it is about; nil where there is none.
    @inline(__always)
    var pool: PoolID? {
        switch self {
        case .granted(_, let pool, _, _), .leaseEnded(_, let pool, _, _, _), .refused(_, let pool, _, _), .requeued(let pool), .gone(let pool, _),
            .quarantined(_, let pool, _, _):
            pool
        case .quarantineEnded, .nodeAvoided, .nodeTrusted, .conflict, .unknownEndpoint, .ignored, .adopted, .revoked, .recovered: nil
        }
    }
}
