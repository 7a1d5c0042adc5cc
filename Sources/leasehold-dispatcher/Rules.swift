import DispatcherCore
import Model
import ServiceKit

/// The configuration as the loops use it: by index, with everything worked out that can be.
struct Rules {
    /// A class, as is ``Listener``: looking one up on the hot path counts one reference instead of copying a configuration.
    final class Pool {
        let configuration: PoolConfiguration
        let id: PoolID
        /// The name's bytes, for `Leasehold-Lease`.
        let nameBytes: [UInt8]
        let reusesConnections: Bool
        let dialTimeout: Duration
        let tenants: TenantTable
        /// A trusted caller's own word counts.
        let asksForTenant: Bool

        init(_ configuration: PoolConfiguration) {
            self.configuration = configuration
            id = configuration.id
            nameBytes = Array(configuration.name.utf8)
            reusesConnections = configuration.workerConnections == .reuse
            dialTimeout = configuration.dial.timeout
            tenants = TenantTable(Array(configuration.tenants.named.keys))
            asksForTenant = configuration.tenants.from == .header
        }
    }

    /// What the configuration says of a route's jobs, beside what their requests may say.
    struct Terms {
        /// Nil is the default tenant.
        var names: JobRequest.Names?
        /// Whatever the request says.
        var urgency: Urgency?
        var mostUrgent: Urgency
    }

    final class Listener {
        let configuration: ListenerConfiguration
        let isHTTP: Bool
        /// Workers get a PROXY header, which names one caller for the life of a connection.
        let sendsProxyHeader: Bool
        let http: HTTPRules
        let routes: RouteTable
        /// The pool of each route, by the route table's index.
        var routePools: [UInt16]
        /// The same; one for a listener without routes.
        let terms: [Terms]
        /// The one pool of a listener without routes.
        var pool: UInt16
        let health: [UInt8]

        init(_ listener: ListenerConfiguration, pools: [Pool]) throws(RouteError) {
            let rows = listener.routes.isEmpty ? [RouteConfiguration(to: listener.pool ?? "")] : listener.routes
            // Loading has refused routes to pools that do not exist.
            func index(_ name: String) -> UInt16 { UInt16(pools.firstIndex { $0.configuration.name == name } ?? 0) }
            terms = rows.map { row in
                let tenants = pools.first { $0.configuration.name == row.pool }?.tenants
                return Terms(
                    names: (row.tenant ?? listener.tenant).flatMap { tenants?.find($0) }, urgency: row.urgency ?? listener.urgency,
                    mostUrgent: row.mostUrgent ?? .highest)
            }
            configuration = listener
            isHTTP = listener.transport == .http
            sendsProxyHeader = listener.proxyProtocol.send == .v2
            http = HTTPRules(listener)
            routes = try RouteTable(rows.map { Route(host: $0.host.description, path: $0.path, pool: PoolID(name: $0.pool)) })
            routePools = rows.map { index($0.pool) }
            pool = index(rows[0].pool)
            health = Array((listener.health ?? "").utf8)
        }
    }

    /// Whether a worker's connection serves further jobs of this pool that came in here.
    func keepsConnections(pool: UInt16, listener: UInt16) -> Bool {
        pools[Int(pool)].reusesConnections && listeners[Int(listener)].isHTTP && !listeners[Int(listener)].sendsProxyHeader
    }

    /// The pool's index. O(pools).
    @inline(__always)
    func index(of pool: PoolID) -> UInt16? { pools.firstIndex { $0.id == pool }.map { UInt16($0) } }

    var pools: [Pool]
    var listeners: [Listener]
    /// Names the listeners to a successor with another configuration: FNV-1a of name and protocol, never 0.
    private(set) var listenerNames: [UInt64]
    var logJobs: LogJobs
    /// Nil while nobody exports spans.
    var trace: TraceRules?

    init(_ configuration: Configuration) throws(RouteError) {
        logJobs = configuration.logJobs
        trace = TraceRules(configuration.publisher)
        pools = configuration.pools.map(Pool.init)
        let pools = self.pools
        listeners = []
        listenerNames = configuration.listeners.map { listener in
            "\(listener.name) \(listener.transport)".utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 } | 1
        }
        for listener in configuration.listeners { listeners.append(try Listener(listener, pools: pools)) }
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
        var blocks: [IPNetwork] = []
        var unix = false
        for peer in listener.trust.from {
            switch peer {
            case .network(let network): blocks.append(network)
            case .unix: unix = true
            }
        }
        self.init(
            upgrades: listener.upgrade, trust: TrustRules(from: blocks, trustsUnix: unix, headers: headers), expose: expose,
            tenantHeader: listener.tenantHeader)
    }
}
