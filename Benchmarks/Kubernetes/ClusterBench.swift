import Foundation
import KubeTestServer
import Linux
import TestKit

/// A server with many endpoints, and a watcher and a pool-keeper that read them.
///
/// Besides the large pool there is a small one, `marker`, in the same watch: what it shows has passed everything that was said before.
final class ClusterBench {
    private let server: TestAPIServer
    private let fleet: Fleet
    private let slices: Int
    private let perSlice: Int
    private let encoding: String
    private var markerIsReady = true

    private static let tls = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Tests/Fixtures/kubernetes-tls").path()

    init(slices: Int, perSlice: Int, protobuf: Bool) throws {
        self.slices = slices
        self.perSlice = perSlice
        encoding = protobuf ? "protobuf" : "json"
        server = TestAPIServer(tls: .init(certificate: "\(Self.tls)/server.crt", key: "\(Self.tls)/server.key"))
        server.behave { $0.hasProtobuf = protobuf }
        server.apply((0..<slices).map { Self.slice($0, count: perSlice) })
        try server.start()
        fleet = try Fleet(
            """
            source: { kubernetes: { kubeconfig: kubeconfig } }
            pools: [{ name: pods, service: shop/pods, port: http }, { name: marker, service: shop/marker, port: http }]
            listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods }]
            """)
        try """
            apiVersion: v1
            kind: Config
            current-context: bench
            contexts: [{ name: bench, context: { cluster: here, user: me } }]
            clusters: [{ name: here, cluster: { server: "\(server.url)", certificate-authority: \(Self.tls)/ca.crt } }]
            users: [{ name: me, user: { token: let-me-in } }]

            """.write(toFile: "\(fleet.directory)/kubeconfig", atomically: true, encoding: .utf8)
        flipMarker()
    }

    func close() {
        fleet.close()
        try? server.stop()
    }

    /// `unready`: that endpoint of the slice.
    private static func slice(_ number: Int, count: Int, unready: Int? = nil) -> TestObject {
        .slice(
            "shop", "pods-\(number)", of: "pods", ports: [.init("http", 8080)],
            (0..<count).map { n in
                let id = number * count + n
                return .init(
                    "0f0e1c2a-5b6d-4e7f-8a9b-\(String(1_000_000_000_000 + id).suffix(12))", ["10.\(id >> 16 & 255).\(id >> 8 & 255).\(id & 255)"],
                    ready: n != unready)
            })
    }

    private func flipMarker() {
        markerIsReady.toggle()
        server.apply(
            .slice("shop", "marker", of: "marker", ports: [.init("http", 8080)], [.init("marker", ["10.255.255.1"], ready: markerIsReady)]))
    }

    // MARK: Figures

    /// The pool-keeper is there first, with nothing; both run on core 0.
    func begin() throws {
        try pin(0)
        try fleet.launch(.poolKeeper)
        try fleet[.poolKeeper].waitForNotification("READY=1")
    }

    /// From the start of the watcher to the pool-keeper's having every endpoint.
    func snapshot() throws -> Figure {
        let began = monotonicNow()
        try fleet.launch(.watcher)
        try pin(1)
        try fleet[.watcher].waitForNotification("READY=1")
        let ready = monotonicNow()
        try waitPool("pods") { $0.total == slices * perSlice && $0.ready == slices * perSlice }
        let applied = monotonicNow()
        return Figure(
            name: "snapshot", encoding: encoding,
            numbers: [
                ("endpoints", Double(slices * perSlice)), ("slices", Double(slices)), ("ready-s", seconds(ready - began)),
                ("applied-s", seconds(applied - began)), ("watcher-cpu-s", try fleet.processorTime(of: .watcher)),
                ("pool-keeper-cpu-s", try fleet.processorTime(of: .poolKeeper)), ("watcher-peak-mib", try peak(.watcher)),
                ("pool-keeper-peak-mib", try peak(.poolKeeper)),
            ])
    }

    /// One endpoint becomes unready or ready again; until the pool-keeper shows it.
    func changes(count: Int) throws -> Figure {
        let all = slices * perSlice
        var milliseconds: [Double] = []
        for n in 0..<count {
            let isDown = n % 2 == 0
            let began = monotonicNow()
            server.apply(Self.slice(n / 2 % slices, count: perSlice, unready: isDown ? n % perSlice : nil))
            try waitPool("pods") { $0.ready == all - (isDown ? 1 : 0) }
            milliseconds.append(Double(monotonicNow() - began) / 1e6)
        }
        return Figure(
            name: "change", encoding: encoding,
            numbers: [
                ("samples", Double(count)), ("p50-ms", percentile(milliseconds, 0.5)), ("p99-ms", percentile(milliseconds, 0.99)),
                ("max-ms", milliseconds.max() ?? .nan),
            ])
    }

    /// Changes at a steady pace; how far behind the pool-keeper is, again and again.
    func storm(perSecond: Int, seconds length: Int) throws -> Figure {
        let cpuBefore = (try fleet.processorTime(of: .watcher), try fleet.processorTime(of: .poolKeeper))
        let began = monotonicNow()
        let end = began + Int64(length) * 1_000_000_000
        var sent = 0
        var lags: [(at: Double, milliseconds: Double)] = []
        var waitsSince: Int64?
        var nextMarker = began
        while monotonicNow() < end || waitsSince != nil {
            let now = monotonicNow()
            // What is due by now, at most a tenth of a second of it at once.
            let due = min(Int(Double(min(now, end) - began) / 1e9 * Double(perSecond)), sent + perSecond / 10)
            while sent < due {
                server.apply(Self.slice(sent % slices, count: perSlice, unready: sent / slices % 2 == 0 ? sent % perSlice : nil))
                sent += 1
            }
            if let since = waitsSince {
                if try fleet.pool("marker").ready == (markerIsReady ? 1 : 0) {
                    lags.append((Double(since - began) / 1e9, Double(monotonicNow() - since) / 1e6))
                    waitsSince = nil
                }
            } else if now >= nextMarker, now < end {
                nextMarker = now + 50_000_000
                waitsSince = monotonicNow()
                flipMarker()
            }
            if let since = waitsSince, now - end > 30_000_000_000 {
                // Not sustained: the figure says how far behind it is by now.
                lags.append((Double(since - began) / 1e9, Double(now - since) / 1e6))
                waitsSince = nil
            }
            usleep(300)
        }
        let took = Double(monotonicNow() - began) / 1e9
        let first = lags.filter { $0.at < Double(length) / 3 }.map(\.milliseconds)
        let last = lags.filter { $0.at >= Double(length) * 2 / 3 }.map(\.milliseconds)
        return Figure(
            name: "storm", encoding: encoding,
            numbers: [
                ("changes", Double(sent)), ("seconds", took), ("per-second", Double(sent) / Double(length)), ("samples", Double(lags.count)),
                ("lag-first-third-p50-ms", percentile(first, 0.5)), ("lag-last-third-p50-ms", percentile(last, 0.5)),
                ("lag-p99-ms", percentile(lags.map(\.milliseconds), 0.99)), ("lag-max-ms", lags.map(\.milliseconds).max() ?? .nan),
                ("watcher-cpu-s", try fleet.processorTime(of: .watcher) - cpuBefore.0),
                ("pool-keeper-cpu-s", try fleet.processorTime(of: .poolKeeper) - cpuBefore.1),
            ])
    }

    func memory() throws -> Figure {
        Figure(
            name: "memory", encoding: encoding,
            numbers: [("watcher-peak-mib", try peak(.watcher)), ("pool-keeper-peak-mib", try peak(.poolKeeper))])
    }

    /// What is required: see docs/performance.md.
    func misses(_ snapshot: Figure, _ change: Figure, _ storm: Figure) -> Bool {
        var misses: [String] = []
        if snapshot["applied-s"] > 5 { misses.append("the snapshot took more than 5 s") }
        if snapshot["watcher-peak-mib"] > 300 { misses.append("the watcher took more than 300 MiB") }
        if change["p99-ms"] > 20 { misses.append("a change took more than 20 ms (p99)") }
        if storm["lag-last-third-p50-ms"] > 2 * storm["lag-first-third-p50-ms"] + 20 { misses.append("the lag grows at 1,000 changes a second") }
        for miss in misses { FileHandle.standardError.write(Data("\(encoding): missed: \(miss)\n".utf8)) }
        return !misses.isEmpty
    }

    // MARK: Means

    private func seconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e9 }

    private func waitPool(_ name: String, _ condition: (Fleet.PoolRow) -> Bool) throws {
        let deadline = monotonicNow() + 60_000_000_000
        while !condition(try fleet.pool(name)) {
            guard monotonicNow() < deadline else { throw TestFailure("waited 60 s: \(try fleet.pool(name))") }
            usleep(500)
        }
    }

    /// Most resident memory so far.
    private func peak(_ process: Fleet.Process) throws -> Double {
        let status = try String(contentsOfFile: "/proc/\(try fleet[process].pid)/status", encoding: .utf8)
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
            let kib = line.split(separator: " ").compactMap({ Double($0) }).first
        else { throw TestFailure("no VmHWM") }
        return kib / 1024
    }

    /// Moves this thread, and what it starts from now on, to one core; the server's threads stay where they are.
    private func pin(_ core: Int) throws {
        guard ProcessInfo.processInfo.processorCount > 1 else { return }
        let taskset = Process()
        taskset.executableURL = URL(filePath: "/usr/bin/taskset")
        taskset.arguments = ["-pc", "\(core)", "\(getpid())"]
        taskset.standardOutput = FileHandle.nullDevice
        try taskset.run()
        taskset.waitUntilExit()
        guard taskset.terminationStatus == 0 else { throw TestFailure("taskset failed") }
    }
}
