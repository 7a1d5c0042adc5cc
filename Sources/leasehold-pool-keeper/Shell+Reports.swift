import KeeperCore
import Model
import ServiceKit

extension Shell {
    /// `show pools | endpoints | leases | queue`.
    func report(_ what: String) -> ControlAnswer {
        let now = service.loop.instant
        let names = Dictionary(keeper.configuredPools.map { ($0.id, $0.name) }, uniquingKeysWith: { $1 })
        switch what {
        case "pools":
            return .json(keeper.configuredPools.compactMap { policy in
                keeper.state(of: policy.id, at: now).map { PoolReport(pool: policy.name, state: $0) }
            })
        case "endpoints":
            return .json(keeper.configuredPools.flatMap { policy in
                keeper.endpointReports(of: policy.id, at: now).map {
                    ServiceKit.EndpointReport(
                        pool: policy.name, endpoint: $0.endpoint, state: $0.state, slots: $0.slots, leases: $0.leases, gone: $0.isGone,
                        remaining: $0.remaining, nodeAvoided: $0.isNodeAvoided)
                }
            })
        case "leases":
            let uids = Dictionary(
                keeper.configuredPools.flatMap { keeper.endpointReports(of: $0.id, at: now).map { ($0.endpoint.id, $0.endpoint.uid) } },
                uniquingKeysWith: { $1 })
            return .json(keeper.leaseReports(at: now).map {
                ServiceKit.LeaseReport(
                    lease: $0.lease, pool: names[$0.pool] ?? "", endpoint: uids[$0.endpoint] ?? $0.endpoint.description,
                    address: $0.address, seat: $0.seat, age: $0.age, ending: $0.isEnding, probe: $0.isProbe,
                    escrowed: $0.isEscrowed)
            })
        case "queue":
            return .json(keeper.configuredPools.flatMap { policy in
                keeper.ticketReports(of: policy.id, at: now).enumerated().map { place, ticket in
                    ServiceKit.TicketReport(
                        pool: policy.name, place: place + 1, ticket: ticket.ticket, seat: ticket.seat, age: ticket.age,
                        remaining: ticket.remaining, urgency: ticket.urgency, level: ticket.level, tenant: ticket.tenant,
                        waitsForEndpoint: ticket.isAffine, bytes: Int(ticket.bytes), requeued: ticket.isRequeued)
                }
            })
        case let what where what.hasPrefix("explain "): return explanation(what.dropFirst(8))
        default:
            return .failed(status: 64, "the pool-keeper has no report '\(what)'; it has pools, endpoints, leases, queue and process")
        }
    }
}
