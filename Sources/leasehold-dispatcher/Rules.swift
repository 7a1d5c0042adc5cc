import DispatcherCore
import Model
import ServiceKit

/// The configuration as the loops use it: by index, with everything worked out that can be.
struct Rules {
    struct Pool {
        var configuration: PoolConfiguration
        var id: PoolID
        /// The name's bytes, for `Leasehold-Lease`.
        var nameBytes: [UInt8]
        var reusesConnections: Bool
        var dialTimeout: Duration
    }

    struct Listener {
        var configuration: ListenerConfiguration
        var isHTTP: Bool
        var http: HTTPRules
        var routes: RouteTable
        /// The pool of each route, by the route table's index.
        var routePools: [UInt16]
        /// The one pool of a listener without routes.
        var pool: UInt16
        var health: [UInt8]
    }

    var pools: [Pool]
    var listeners: [Listener]
    var logJobs: LogJobs

    init(_ configuration: Configuration) throws(RouteError) {
        logJobs = configuration.logJobs
        pools = configuration.pools.map {
            Pool(
                configuration: $0, id: $0.id, nameBytes: Array($0.name.utf8), reusesConnections: $0.workerConnections == .reuse,
                dialTimeout: $0.dial.timeout)
        }
        let pools = self.pools
        func index(_ name: String) -> UInt16 {
            // Loading has refused routes to pools that do not exist.
            UInt16(pools.firstIndex { $0.configuration.name == name } ?? 0)
        }
        listeners = []
        for listener in configuration.listeners {
            let routes = listener.routes.isEmpty ? [RouteConfiguration(to: listener.pool ?? "")] : listener.routes
            listeners.append(
                Listener(
                    configuration: listener, isHTTP: listener.transport == .http, http: HTTPRules(listener),
                    routes: try RouteTable(routes.map { Route(host: $0.host.description, path: $0.path, pool: PoolID(name: $0.pool)) }),
                    routePools: routes.map { index($0.pool) }, pool: index(listener.pool ?? routes[0].pool),
                    health: Array((listener.health ?? "").utf8)))
        }
    }
}

extension RouteConfiguration {
    fileprivate init(to pool: String) {
        self.init()
        self.pool = pool
    }
}

extension HTTPRules {
    fileprivate convenience init(_ listener: ListenerConfiguration) {
        var headers: Believed = []
        for header in listener.trust.headers {
            switch header {
            case .tenant: headers.insert(.tenant)
            case .affinity: headers.insert(.affinity)
            case .priority: headers.insert(.priority)
            case .forwarded: headers.insert(.forwarded)
            }
        }
        var expose: Exposure = []
        for one in listener.expose {
            switch one {
            case .lease: expose.insert(.lease)
            case .timing: expose.insert(.timing)
            case .endpoint: expose.insert(.endpoint)
            }
        }
        var blocks: [AddressBlock] = []
        var unix = false
        for peer in listener.trust.from {
            switch peer {
            case .network(let network): if let block = AddressBlock(network.description) { blocks.append(block) }
            case .unix: unix = true
            }
        }
        self.init(
            upgrades: listener.upgrade, trust: TrustRules(from: blocks, trustsUnix: unix, headers: headers), expose: expose)
    }
}
