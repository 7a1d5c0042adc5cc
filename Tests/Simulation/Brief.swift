import KeeperCore
import Model
import Wire

// Messages in a few words, for traces.

extension LeasingRequest {
    var brief: String {
        switch self {
        case .ticket(let ticket):
            "ticket \(ticket.id.rawValue) age \(ticket.age)\(ticket.budget.map { " budget \($0)" } ?? "")\(ticket.isRequeued ? " again" : "")"
        case .cancel(let ticket): "cancel \(ticket.rawValue)"
        case .unused(let lease): "unused \(lease)"
        case .dialFailed(let lease, let failure): "dial failed \(lease) \(failure.name)"
        case .ending(let lease): "ending \(lease)"
        case .release(let lease, let outcome): "release \(lease) \(outcome.name)"
        case .assertLease(let asserted): "assert \(asserted.lease)\(asserted.isEnding ? " ending" : "")\(asserted.isProbe ? " probe" : "")"
        case .asserted: "asserted"
        case .escrow(let escrow): "escrow \(escrow)"
        }
    }
}

extension LeasingReply {
    var brief: String {
        switch self {
        case .grant(let grant): "grant \(grant.lease) to ticket \(grant.ticket.rawValue): \(grant.address)"
        case .refuse(let refusal): "refuse ticket \(refusal.ticket.rawValue): \(refusal.reason.token)"
        case .probe(let probe): "probe \(probe.lease): \(probe.address)"
        case .revoke(let lease): "revoke \(lease)"
        case .adopt(let adoption): "adopt \(adoption)"
        }
    }
}

extension EndpointsMessage {
    var brief: String {
        switch self {
        case .snapshotBegin(let generation): "snapshot \(generation) begins"
        case .snapshotEnd: "snapshot ends"
        case .upsert(let pool, let endpoint):
            "pool \(pool.rawValue % 1000): \(endpoint.uid) \(endpoint.isUsable ? "ready" : "unready") \(endpoint.addresses[0])"
        case .remove(let pool, let id): "pool \(pool.rawValue % 1000): removes \(id.description.prefix(8))"
        case .source(let health): "source is \(health.state)"
        }
    }
}

extension Notice {
    var brief: String {
        switch self {
        case .leaseEnded(let lease, _, let endpoint, let end, _): "lease \(lease) ended: \(end) on \(endpoint.description.prefix(8))"
        case .granted(let lease, _, let endpoint, _): "lease \(lease) is on \(endpoint.description.prefix(8))"
        case .refused, .requeued, .gone, .quarantined, .quarantineEnded, .nodeAvoided, .nodeTrusted, .conflict, .unknownEndpoint, .ignored, .adopted,
            .revoked,
            .recovered:
            "\(self)"
        }
    }
}
