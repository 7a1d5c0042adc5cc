import KeeperCore
import Model
import ServiceKit

/// What the pool-keeper counts, since its start.
struct KeeperCounts {
    private var granted: UInt64 = 0
    private var requeued: UInt64 = 0
    private var gone: UInt64 = 0
    private var quarantined: UInt64 = 0
    private var races: UInt64 = 0
    private var holderDied: UInt64 = 0
    private var adopted: UInt64 = 0
    private var adoptedLate: UInt64 = 0
    private var ended: [UInt64] = [UInt64](repeating: 0, count: 16)
    private var dials: [UInt64] = [UInt64](repeating: 0, count: 8)
    private var refused: [UInt64] = [UInt64](repeating: 0, count: 32)
    private var heldMilliseconds: UInt64 = 0
    private var pools: [PoolCounts] = []
    private var places: [PoolID: Int] = [:]
    /// Of the last notice: the next is of the same pool more often than not.
    private var last: (pool: PoolID, place: Int)?

    /// Begins to count pools that are new; those that are gone keep their counts, should they come back.
    mutating func follow(_ policies: [PoolPolicy]) {
        for policy in policies where places[policy.id] == nil {
            places[policy.id] = pools.count
            pools.append(PoolCounts(policy.name))
        }
    }

    @inline(__always)
    private mutating func place(of pool: PoolID) -> Int? {
        if let last, last.pool == pool { return last.place }
        guard let place = places[pool] else { return nil }
        last = (pool, place)
        return place
    }

    @inline(__always)
    mutating func note(_ notice: Notice) {
        if let pool = notice.pool, let place = place(of: pool) { pools[place].note(notice) }
        switch notice {
        case .granted(_, _, _, let held):
            granted += 1
            heldMilliseconds += UInt64(max(0, held.milliseconds))
        case .leaseEnded(_, _, _, let end, _):
            switch end {
            case .released(let outcome): ended[Int(outcome.rawValue)] += 1
            case .dialFailed(let failure): dials[Int(failure.rawValue)] += 1
            case .holderDied, .unaccounted: holderDied += 1
            }
        case .refused(_, _, let reason, _): refused[Int(reason.rawValue)] += 1
        case .requeued: requeued += 1
        case .gone: gone += 1
        case .quarantined: quarantined += 1
        case .ignored: races += 1
        case .adopted: adopted += 1
        case .revoked: adoptedLate += 1
        case .quarantineEnded, .nodeAvoided, .nodeTrusted, .conflict, .unknownEndpoint, .recovered: break
        }
    }

    /// For the publisher.
    func tell(_ keeper: Keeper, escrow: EscrowStore, _ round: inout VitalsRound) {
        for policy in keeper.configuredPools {
            if let place = places[policy.id] { pools[place].tell(&round) }
        }
        round.count(.adopted, adopted)
        round.count(.fenced, escrow.fenced)
        round.count(.escrowSkipped, escrow.skipped)
        round.gauge(.escrowDescriptors, value: Double(escrow.total))
        round.histogram(.propagation, value: keeper.propagation)
        round.count(.lateMessages, races)
    }

    func report(_ keeper: Keeper, leasing: LinkServer, escrow: EscrowStore) -> [String: UInt64] {
        var out = [
            "grants": granted, "requeues": requeued, "gone": gone, "quarantines": quarantined, "late-messages": races,
            "leases-holder-died": holderDied, "adopted": adopted, "adopt-late": adoptedLate, "escrowed": escrow.escrowed,
            "escrow-skipped": escrow.skipped, "escrow-descriptors": UInt64(escrow.total), "fenced": escrow.fenced, "held-ms-total": heldMilliseconds,
            "link-messages-sent": leasing.links.reduce(0) { $0 + $1.messagesSent },
            "link-packets-sent": leasing.links.reduce(0) { $0 + $1.packetsSent },
            "link-packets-received": leasing.links.reduce(0) { $0 + $1.packetsReceived },
        ]
        // From a change at the API server's side to our hearing of it; upper bounds, and only while the source tells ages.
        let propagation = keeper.propagation
        if propagation.count > 0 {
            out["propagations"] = propagation.count
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                out["propagation-\(name)-ms"] = UInt64(clamping: (propagation.bound(ofShare: share) ?? .seconds(3600)).milliseconds)
            }
        }
        for outcome in Outcome.allCases where ended[Int(outcome.rawValue)] > 0 {
            out["leases-\(outcome.name)"] = ended[Int(outcome.rawValue)]
        }
        for failure in DialFailure.allCases where dials[Int(failure.rawValue)] > 0 {
            out["dial-failures-\(failure.name)"] = dials[Int(failure.rawValue)]
        }
        for reason in Reason.allCases where refused[Int(reason.rawValue)] > 0 {
            out["refused-\(reason.token)"] = refused[Int(reason.rawValue)]
        }
        return out
    }
}
