import AsyncHTTPClient
import Foundation
@testable import KubernetesClient
import KubeTestServer
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import TestKit
import Testing

/// The suite for a real cluster, in a namespace of its own: `make test-kubernetes`.
///
/// It is asked for by name (LEASEHOLD_LIVE), never because a KUBECONFIG happens to be there.
@Suite(.ownThread) struct LiveTests {
    private static let environment = ProcessInfo.processInfo.environment

    @Test(
        .enabled(if: environment["LEASEHOLD_LIVE"] != nil && !(environment["KUBECONFIG"] ?? "").isEmpty, "KUBECONFIG names no cluster"))
    func theClusterOfKUBECONFIGIsFollowed() throws {
        try follow(kubeconfig: try #require(Self.environment["KUBECONFIG"]))
    }

    /// What can be known without a cluster: that the suite passes on the test API server.
    @Test func theTestServerIsFollowed() throws {
        let cluster = try Cluster()
        defer { cluster.close() }
        try follow(kubeconfig: "\(cluster.fleet.directory)/kubeconfig")
        #expect(cluster.server.objects.isEmpty, "something was left behind")
    }

    private func follow(kubeconfig: String) throws {
        let api = try LiveAPI(kubeconfig: kubeconfig)
        let namespace = "leasehold-test-\(UInt32.random(in: 0 ... .max))"
        try api.send(.POST, "/api/v1/namespaces", ["apiVersion": "v1", "kind": "Namespace", "metadata": ["name": namespace]])
        defer {
            // What cannot be removed is named, so that a person can.
            do { try api.send(.DELETE, "/api/v1/namespaces/\(namespace)", nil) } catch { print("namespace \(namespace) is left: \(error)") }
        }
        let slices = "/apis/discovery.k8s.io/v1/namespaces/\(namespace)/endpointslices"
        try api.send(
            .POST, "/api/v1/namespaces/\(namespace)/services",
            [
                "apiVersion": "v1", "kind": "Service", "metadata": ["name": "pods"],
                "spec": ["ports": [["name": "http", "port": 80, "protocol": "TCP"]]],
            ])
        let address = Self.ownAddress()
        let ledger = JobLedger()
        let worker = try TestWorker(on: address, ledger: ledger) { (request: HTTPMessage, _: TestWorker.Visit) in Reply.ok(request.target) }
        defer { worker.stop() }
        func slice(_ uid: String, ready: Bool) -> [String: Any] {
            [
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": [
                    "name": "pods-1", "namespace": namespace,
                    "labels": ["kubernetes.io/service-name": "pods", "endpointslice.kubernetes.io/managed-by": "leasehold-test"],
                ],
                "addressType": "IPv4", "ports": [["name": "http", "port": Int(worker.address.port), "protocol": "TCP"]],
                "endpoints": [
                    [
                        "addresses": [address], "conditions": ["ready": ready],
                        "targetRef": ["kind": "Pod", "namespace": namespace, "name": "pod-\(uid)", "uid": uid],
                    ]
                ],
            ]
        }
        try api.send(.POST, slices, slice("uid-1", ready: true))

        // A port by its number needs the Service, too.
        let configuration = """
            source: { kubernetes: { kubeconfig: \(kubeconfig) } }
            pools: [{ name: pods, service: \(namespace)/pods, port: 80 }]
            listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods }]
            """
        try Fleet.run(configuration) { fleet in
            let (checked, exit) = try fleet.leasehold("check")
            #expect(exit == .status(0) && checked.contains("# allowed: list endpointslices.discovery.k8s.io in namespace \(namespace)"), "\(checked)")
            func fetch(_ target: String) throws -> String {
                let caller = try fleet.call()
                try caller.send("GET \(target) HTTP/1.1\r\nHost: test\r\n\r\n")
                return try caller.readResponse().text
            }
            func wait(_ uid: String?, _ state: String) throws {
                try fleet[.poolKeeper].wait("\(uid ?? "nothing") to be \(state)") {
                    let rows = try fleet.endpoints().filter { !$0.gone }
                    return rows.map(\.uid) == (uid.map { [$0] } ?? []) && rows.allSatisfy { $0.state == state }
                }
            }
            try wait("uid-1", "free")
            #expect(try fetch("/one") == "/one")
            try api.send(.PUT, "\(slices)/pods-1", slice("uid-1", ready: false))
            try wait("uid-1", "unready")
            let held = try fleet.call()
            try held.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n")
            try fleet.waitPool("pods", "a caller that is held") { $0.queued == 1 }
            try api.send(.PUT, "\(slices)/pods-1", slice("uid-2", ready: true))
            #expect(try held.readResponse().text == "/held")
            try wait("uid-2", "free")
            try api.send(.DELETE, "\(slices)/pods-1", nil)
            try wait(nil, "gone")
            #expect(ledger.counts.violations == 0 && ledger.counts.jobs == 2)
        }
    }

    /// An address of this machine that is not loopback: an API server takes no other.
    private static func ownAddress() -> String {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return "127.0.0.1" }
        defer { freeifaddrs(list) }
        var next = list
        while let interface = next {
            next = interface.pointee.ifa_next
            guard let address = interface.pointee.ifa_addr, address.pointee.sa_family == sa_family_t(AF_INET) else { continue }
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard getnameinfo(address, socklen_t(MemoryLayout<sockaddr_in>.size), &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
            else { continue }
            let found = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if !found.hasPrefix("127.") { return found }
        }
        return "127.0.0.1"
    }
}

/// Writes to an API server with the access of a kubeconfig.
private struct LiveAPI {
    private let access: ServerAccess
    private let client: HTTPClient

    init(kubeconfig: String) throws {
        access = try Self.wait { try await AccessProvider(.kubeconfig(path: kubeconfig, context: nil)).access() }
        let access = self.access
        let pool = try Self.wait { try await HTTPConnections(group: MultiThreadedEventLoopGroup.singleton).acquire(access) }
        client = pool.client
        self.pool = pool
    }

    /// Shuts the client down when it goes.
    private let pool: HTTPConnections.Pool

    func send(_ method: HTTPMethod, _ path: String, _ object: [String: Any]?) throws {
        var request = HTTPClientRequest(url: access.url(path))
        request.method = method
        request.headers = access.headers(accept: "application/json", userAgent: "leasehold-test")
        if let object {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: try JSONSerialization.data(withJSONObject: object)))
        }
        let (client, sent) = (client, request)
        let (status, text) = try Self.wait {
            let response = try await client.execute(sent, timeout: .seconds(30))
            return (response.status.code, String(buffer: try await response.body.collect(upTo: 1 << 20)))
        }
        guard (200...299).contains(status) else { throw TestFailure("\(method) \(path): \(status): \(text.prefix(500))") }
    }

    /// The test has a thread of its own to wait on.
    private static func wait<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) throws -> T {
        let result = Mutex<Result<T, any Error>?>(nil)
        let gate = Gate()
        Task.detached {
            let told: Result<T, any Error>
            do { told = .success(try await work()) } catch { told = .failure(error) }
            result.withLock { $0 = told }
            gate.open()
        }
        try gate.wait("the API server")
        guard let result = result.withLock({ $0 }) else { throw TestFailure("no result") }
        return try result.get()
    }
}
