import Foundation
import KubeTestServer
import Model
import TestKit

/// A fleet whose endpoints come from a test API server over TLS, and that server.
///
/// The pool is `pods`, its Service `shop/pods`, its listener `http`.
final class Cluster {
    let server: TestAPIServer
    let fleet: Fleet
    private var markers = 0

    static let tls = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/kubernetes-tls").path()

    /// What a kubeconfig says; every part can be wrong.
    struct Kubeconfig {
        var server: String
        /// YAML of the cluster, without its server.
        var cluster = "certificate-authority: \(Cluster.tls)/ca.crt"
        var user = "token: let-me-in"
    }

    /// - Parameters:
    ///   - kubernetes, pool, listener: further keys in YAML flow style.
    ///   - namespace: of the pool's Service.
    init(
        kubernetes: String = "", pool: String = "", listener: String = "", namespace: String = "shop", certificate: String = "server",
        offersHTTP2: Bool = true
    ) throws {
        server = TestAPIServer(
            tls: .init(certificate: "\(Self.tls)/\(certificate).crt", key: "\(Self.tls)/\(certificate).key"), offersHTTP2: offersHTTP2)
        server.behave { $0.tokens = ["let-me-in": "system:serviceaccount:leasehold:leasehold-watcher"] }
        try server.start()
        fleet = try Fleet(
            """
            source: { kubernetes: { kubeconfig: kubeconfig\(kubernetes.isEmpty ? "" : ", \(kubernetes)") } }
            pools: [{ name: pods, service: \(namespace)/pods, port: http\(pool.isEmpty ? "" : ", \(pool)") }]
            listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods\(listener.isEmpty ? "" : ", \(listener)") }]
            """)
        try kubeconfig()
    }

    /// Runs `body` with a cluster that was started, and ends everything; what the processes wrote is printed if `body` throws.
    static func run<T>(
        kubernetes: String = "", pool: String = "", listener: String = "", offersHTTP2: Bool = true,
        _ prepare: (Cluster) throws -> Void = { _ in }, _ body: (Cluster) throws -> T
    ) throws -> T {
        let cluster = try Cluster(kubernetes: kubernetes, pool: pool, listener: listener, offersHTTP2: offersHTTP2)
        defer { cluster.close() }
        do {
            try prepare(cluster)
            try cluster.fleet.start()
            return try body(cluster)
        } catch {
            cluster.fleet.printOutputs()
            throw error
        }
    }

    func close() {
        fleet.close()
        // A server that is down already is as good.
        try? server.stop()
    }

    /// Writes the kubeconfig that the watcher reads for each request.
    func kubeconfig(_ change: (inout Kubeconfig) -> Void = { _ in }) throws {
        var parts = Kubeconfig(server: server.url)
        change(&parts)
        func lines(_ text: String) -> String { text.split(separator: "\n").map { "    \($0)" }.joined(separator: "\n") }
        try write(
            "kubeconfig",
            """
            apiVersion: v1
            kind: Config
            current-context: test
            contexts:
            - name: test
              context: { cluster: here, user: me }
            clusters:
            - name: here
              cluster:
                server: \(parts.server)
            \(lines(parts.cluster))
            users:
            - name: me
              user:
            \(lines(parts.user))

            """)
    }

    /// Puts a file beside the configuration, in one step.
    @discardableResult
    func write(_ name: String, _ text: String, mode: Int = 0o600) throws -> String {
        let path = "\(fleet.directory)/\(name)"
        let new = "\(path).new"
        try text.write(toFile: new, atomically: false, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: new)
        guard rename(new, path) == 0 else { throw TestFailure("rename \(path): errno \(errno)") }
        return path
    }

    // MARK: Endpoints

    /// A slice of its own for each pod: on loopback every worker has a port of its own.
    func slice(_ uid: String, at address: SocketAddress, slice: String? = nil, ready: Bool? = true, terminating: Bool? = nil) -> TestObject {
        .slice(
            "shop", slice ?? "pods-\(uid)", of: "pods", ports: [.init("http", Int(address.port))],
            [.init(uid, [address.ip], ready: ready, terminating: terminating)])
    }

    /// A worker that answers what `respond` says, as an endpoint.
    @discardableResult
    func serve(
        _ uid: String, ledger: JobLedger = JobLedger(), _ respond: @escaping @Sendable (HTTPMessage, TestWorker.Visit) throws -> String
    ) throws -> TestWorker {
        let worker = fleet.own(try TestWorker(ledger: ledger, http: respond))
        server.apply(slice(uid, at: worker.address))
        return worker
    }

    static func key(_ slice: String) -> TestObject.Key { .init(resource: .endpointslices, namespace: "shop", name: slice) }

    /// The endpoints that the server's slices give the pool, by uid.
    var expected: [String: Expected] {
        var out: [String: Expected] = [:]
        for object in server.objects where object.key.namespace == "shop" && object.labels["kubernetes.io/service-name"] == "pods" {
            guard case .slice(_, let ports, let endpoints) = object.body, let port = ports.first(where: { $0.name == "http" })?.number
            else { continue }
            for endpoint in endpoints {
                var known = out[endpoint.uid] ?? Expected()
                known.addresses.formUnion(endpoint.addresses.map { $0.contains(":") ? "[\($0)]:\(port)" : "\($0):\(port)" })
                known.isReady = known.isReady || ((endpoint.ready ?? true) && endpoint.terminating != true)
                out[endpoint.uid] = known
            }
        }
        return out
    }

    struct Expected: Hashable {
        var addresses: Set<String> = []
        var isReady = false
    }

    /// What the pool-keeper has, without those that are gone and only end their leases.
    func known() throws -> [String: Expected] {
        var out: [String: Expected] = [:]
        for row in try fleet.endpoints() where !row.gone {
            out[row.uid] = Expected(addresses: Set(row.addresses), isReady: row.state != "unready" && row.state != "draining")
        }
        return out
    }

    /// Waits until the pool-keeper has exactly what the server has.
    func waitUntilEqual() throws {
        var last: [String: Expected] = [:]
        do {
            try fleet[.poolKeeper].wait("the pool to equal the server's slices") {
                last = try known()
                return last == expected
            }
        } catch {
            let wanted = expected
            let different = Set(last.keys).union(wanted.keys).filter { last[$0] != wanted[$0] }.sorted().prefix(5)
            throw TestFailure(
                "\(error); different: \(different.map { "\($0): has \(last[$0].map { "\($0)" } ?? "none"), wanted \(wanted[$0].map { "\($0)" } ?? "none")" })")
        }
    }

    /// Waits until the pool-keeper has taken everything that the server said before this.
    func settle() throws {
        let marker = "marker-\(markers)"
        markers += 1
        server.apply(.slice("shop", marker, of: "pods", ports: [.init("http", 1)], [.init(marker, ["127.0.0.2"], ready: false)]))
        try fleet[.poolKeeper].wait("a marker") { try fleet.endpoints().contains { $0.uid == marker } }
        server.delete(Self.key(marker))
        try fleet[.poolKeeper].wait("the marker's end") { try !fleet.endpoints().contains { $0.uid == marker } }
    }

    // MARK: Reports

    struct Source: Decodable {
        struct Kubernetes: Decodable {
            struct Scope: Decodable {
                var scope: String
                var activity: String
                var connectedMs: Int?
                var heardMs: Int?
                var resourceVersion: String
                var objects: Int
                var protobuf: Bool
                var watchList: Bool
                var events: UInt64
                var bookmarks: UInt64
                var relists: UInt64
                var errors: [String: UInt64]
                var problem: String
            }
            var eventsPerSecond: Double
            var doubts: UInt64
            var propagationP50Ms: Int?
            var lastError: String
            var lastErrorMs: Int?
            var scopes: [Scope]
        }
        var kind: String
        var location: String
        var state: String
        var ageMs: Int
        var detail: String
        var endpoints: Int
        var kubernetes: Kubernetes
    }

    func source() throws -> Source { try fleet.show("source", of: .watcher) }

    /// Waits until the watcher's report is as wanted.
    @discardableResult
    func waitSource(_ what: String, _ condition: (Source) -> Bool) throws -> Source {
        var last: Source?
        do {
            try fleet[.watcher].wait("show source: \(what)") {
                last = try source()
                return last.map(condition) ?? false
            }
        } catch {
            throw TestFailure("\(error); last seen: \(last.map { "\($0)" } ?? "nothing")")
        }
        return last!
    }
}
