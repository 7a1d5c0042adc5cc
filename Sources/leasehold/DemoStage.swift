import CLinux
import Foundation
import Linux
import Model
import ServiceKit

/// The demo's own directory, ports and configuration, and questions to the processes that run on it.
struct DemoStage: Sendable {
    let directory: String
    /// One per worker.
    let ports: [UInt16]
    /// Nobody listens there.
    let stalePort: UInt16
    /// What the third act's page comes from.
    let origin: DemoOrigin
    static let workers = 8

    var configurationPath: String { "\(directory)/leasehold.yaml" }
    var logPath: String { "\(directory)/demo.log" }
    /// Workers append a line for every second job that reaches them.
    var violationsPath: String { "\(directory)/violations" }
    private var manifests: String { "\(directory)/endpoints.d" }

    /// A new directory under /tmp with everything that the processes need.
    static func build() throws -> DemoStage {
        var template = Array("/tmp/leasehold-demo-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError(errno, "mkdtemp", "/tmp") }
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let free = try freePorts(workers + 1)
        // Its threads begin later: the supervisor's signals must be blocked in every thread.
        let origin = try DemoOrigin()
        let stage = DemoStage(directory: directory, ports: Array(free.dropLast()), stalePort: free[workers], origin: origin)
        try FileManager.default.createDirectory(atPath: stage.manifests, withIntermediateDirectories: false)
        try stage.write("service.yaml", stage.service)
        try stage.configuration.write(toFile: stage.configurationPath, atomically: true, encoding: .utf8)
        return stage
    }

    func remove() {
        // Only /tmp is left a little fuller.
        try? FileManager.default.removeItem(atPath: directory)
    }

    // MARK: What the processes read

    private var configuration: String {
        """
        runtime-directory: \(directory)/run
        state-directory: \(directory)/state
        source: { directory: \(manifests) }
        pools:
          - name: browsers
            service: demo/browsers
            port: http
            hold: { timeout: 30s }
            workers:
              command: [leasehold-example-worker, --port, "{port}", --violations, \(violationsPath)]
              ports: [\(ports.map(String.init).joined(separator: ", "))]
              min: 0
              max: \(Self.workers)
              idle: 2s
        listeners:
          - { name: http, address: "127.0.0.1:0", protocol: http, pool: browsers }
        asset-cache:
          address: "127.0.0.1:0"
          directory: \(directory)/assets
          size: 64MiB
          fetch: { allow-hosts: ["127.0.0.1"], allow-private: ["\(origin.address)"] }

        """
    }

    private var service: String {
        """
        apiVersion: v1
        kind: Service
        metadata: { name: browsers, namespace: demo }
        spec:
          ports: [{ name: http, port: 80, targetPort: http }]

        """
    }

    /// A pod that was reclaimed a moment ago: the slice still says ready, and nothing listens.
    func addStaleEndpoint() throws {
        try write(
            "stale.yaml",
            """
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata:
              name: browsers-stale
              namespace: demo
              labels: { kubernetes.io/service-name: browsers }
            addressType: IPv4
            ports: [{ name: http, protocol: TCP, port: \(stalePort) }]
            endpoints:
              - addresses: ["127.0.0.1"]
                conditions: { ready: true, serving: true, terminating: false }
                nodeName: reclaimed-node
                targetRef: { kind: Pod, namespace: demo, name: browser-reclaimed, uid: 6b1f2a9e-3c54-4d0e-9a53-0f4c1a6d7e21 }

            """)
    }

    func removeStaleEndpoint() throws { try FileManager.default.removeItem(atPath: "\(manifests)/stale.yaml") }

    private func write(_ name: String, _ text: String) throws {
        try text.write(toFile: "\(manifests)/\(name)", atomically: true, encoding: .utf8)
    }

    // MARK: What the processes say

    func ask<Report: Decodable>(_ process: ProcessName, _ what: String, as type: Report.Type = Report.self) -> Report? {
        let path = "\(directory)/run/control/\(process.rawValue).sock"
        // Away, or just coming back: the caller asks again.
        guard let result = try? ControlClient.call(path: path, .show(what), seconds: 2), result.status == 0 else { return nil }
        return try? JSONDecoder().decode(Report.self, from: Data(result.text.utf8))
    }

    func process(_ name: ProcessName) -> ProcessReport? { ask(name, "process") }
    func workers() -> [WorkerReport] { ask(.scaler, "workers") ?? [] }
    func leases() -> [LeaseReport] { ask(.poolKeeper, "leases") ?? [] }
    func pool() -> PoolReport? { ask(.poolKeeper, "pools", as: [PoolReport].self)?.first }
    func listener() -> SocketAddress? {
        ask(.dispatcher, "listeners", as: [ListenerReport].self)?.first.flatMap { SocketAddress($0.address) }
    }

    func assetCache() -> SocketAddress? {
        ask(.assetCache, "listeners", as: [ListenerReport].self)?.first { $0.name == "asset-cache" }.flatMap { SocketAddress($0.address) }
    }

    /// The second jobs that workers saw and wrote down, those that are gone included.
    func violations() -> Int {
        guard let data = FileManager.default.contents(atPath: violationsPath) else { return 0 }
        return data.count { $0 == 0x0a }
    }

    /// Free ports of 127.0.0.1 below the range from which the kernel takes callers' ports, or a worker could find its own taken.
    private static func freePorts(_ count: Int) throws -> [UInt16] {
        let range = (try? String(contentsOfFile: "/proc/sys/net/ipv4/ip_local_port_range", encoding: .utf8)) ?? ""
        let lowest = range.split(whereSeparator: \.isWhitespace).first.flatMap { UInt16($0) } ?? 32_768
        let from: UInt16 = lowest > 12_000 ? 10_000 : 1_024
        var found: [UInt16] = []
        var port = UInt16.random(in: from..<max(from + 1, lowest))
        for _ in 0..<4_000 where found.count < count {
            port = port + 1 < lowest ? port + 1 : from
            if (try? Sockets.listen(SocketAddress.loopback(port: port).system)) != nil { found.append(port) }
        }
        guard found.count == count else { throw SystemError(EADDRINUSE, "find free ports below", "\(lowest)") }
        return found
    }
}
