import CLinux
import Foundation
import Linux
import Model
import ServiceKit
import Testing
import Wire

/// The built executable with real files and real sockets.
@Suite(.serialized) struct WatcherProcessTests {
    /// A place of its own for each test: configuration, directory, sockets, state. Removed in the end.
    private final class Place {
        let path: String
        var pools = ["- { name: web, service: shop/web }"]

        init() throws {
            // Socket paths are short: 107 bytes at most.
            path = "/tmp/lhw-\(UUID().uuidString.prefix(8))"
            try FileManager.default.createDirectory(atPath: "\(path)/d", withIntermediateDirectories: true)
            try configure()
        }

        deinit {
            // What stays behind stays in the temporary directory.
            try? FileManager.default.removeItem(atPath: path)
        }

        func configure() throws {
            let text = """
                runtime-directory: \(path)/run
                state-directory: \(path)/state
                source: { directory: \(path)/d }
                pools:
                \(pools.joined(separator: "\n"))
                """
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/leasehold.yaml"))
        }

        func write(_ name: String, _ addresses: String..., service: String = "web") throws {
            let text = """
                {kind: EndpointSlice, apiVersion: discovery.k8s.io/v1, addressType: IPv4, ports: [{port: 80}],
                 metadata: {name: \(name), namespace: shop, labels: {kubernetes.io/service-name: \(service)}},
                 endpoints: [\(addresses.map { "{addresses: [\($0)]}" }.joined(separator: ", "))]}
                """
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/d/\(name).yaml"))
        }
    }

    /// The executable, killed in the end.
    private final class Watcher {
        let process = Process()
        let place: Place

        init(_ place: Place, environment: [String: String] = [:]) throws {
            self.place = place
            let folder = ProcessInfo.processInfo.environment["LEASEHOLD_BIN"].map { URL(fileURLWithPath: $0) } ?? Self.products
            process.executableURL = folder.appendingPathComponent("leasehold-watcher")
            process.arguments = ["--config", "\(place.path)/leasehold.yaml"]
            process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
            process.standardError = FileHandle.nullDevice
            try process.run()
        }

        /// The folder of the test bundle, where the executables are as well.
        private static var products: URL {
            let arguments = ProcessInfo.processInfo.arguments
            let bundle = arguments.first { $0.hasSuffix(".xctest") } ?? arguments[0]
            return URL(fileURLWithPath: bundle).deletingLastPathComponent()
        }

        func kill() {
            Foundation.kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }

        deinit { if process.isRunning { kill() } }

        func ask(_ what: String) throws -> ControlClient.Result {
            try ControlClient.call(path: "\(place.path)/run/control/watcher.sock", .show(what))
        }

        func source() throws -> SourceReport { try JSONDecoder().decode(SourceReport.self, from: Data(ask("source").text.utf8)) }
        func counters() throws -> [String: UInt64] {
            try JSONDecoder().decode(ProcessReport.self, from: Data(ask("process").text.utf8)).counters
        }
    }

    /// A loop of the test's own, with consumers and a scaler on it.
    private final class Peers {
        let loop: Loop
        let outbox: Outbox
        private var clients: [LinkClient] = []

        init() throws {
            loop = try Loop()
            outbox = Outbox(loop: loop)
        }

        final class Consumer {
            var follower = Follower()
            var ends = 0
            var client: LinkClient?
            var table: [String] {
                (follower.endpoints[PoolID(name: "web")] ?? [:]).values.map { "\($0.addresses[0])\($0.isLocal ? " local" : "")" }.sorted()
            }
        }

        func consumer(_ place: Place) -> Consumer {
            let consumer = Consumer()
            let client = connect(place, .endpoints)
            client.onPacket = { (_, packet, _) throws(WireError) in
                var reader = ByteReader(packet)
                while !reader.isAtEnd { consumer.follower.hear(try EndpointsMessage.decode(from: &reader)) }
            }
            client.onDown = { _ in consumer.ends += 1 }
            client.start()
            consumer.client = client
            return consumer
        }

        func scaler(_ place: Place, _ workers: Endpoint...) -> LinkClient {
            let client = connect(place, .workers)
            client.onUp = { link in
                link.send(WorkersMessage.snapshotBegin)
                for worker in workers { link.send(WorkersMessage.upsert(pool: PoolID(name: "web"), worker)) }
                link.send(WorkersMessage.snapshotEnd)
            }
            client.start()
            return client
        }

        private func connect(_ place: Place, _ edge: Edge) -> LinkClient {
            let client = LinkClient(
                path: "\(place.path)/run/\(edge.name).sock", hello: Hello(edge: edge, seat: "test", instance: 7), outbox: outbox)
            clients.append(client)
            return client
        }

        /// Turns the loop until the condition holds; false after a generous time.
        func wait(for condition: () throws -> Bool) throws -> Bool {
            let deadline = monotonicNow() + 20_000_000_000
            while monotonicNow() < deadline {
                if try condition() { return true }
                try loop.turn(maximumWait: 20_000_000)
            }
            return false
        }
    }

    @Test func aManifestDroppedIntoTheDirectoryReachesEveryConsumer() throws {
        let place = try Place()
        try place.write("a", "10.0.0.1")
        let watcher = try Watcher(place)
        let peers = try Peers()
        let one = peers.consumer(place)
        let two = peers.consumer(place)
        #expect(try peers.wait { one.table == ["10.0.0.1:80"] && two.table == ["10.0.0.1:80"] })
        #expect(one.follower.health == SourceHealth(state: .live))
        try place.write("b", "10.0.0.2")
        #expect(try peers.wait { one.table == ["10.0.0.1:80", "10.0.0.2:80"] && two.table == one.table })
        try FileManager.default.removeItem(atPath: "\(place.path)/d/a.yaml")
        #expect(try peers.wait { one.table == ["10.0.0.2:80"] && two.table == one.table })
        #expect(try watcher.source().endpoints == 1)
        #expect(one.ends == 0 && two.ends == 0)
    }

    @Test func aWatcherThatIsKilledComesBackWithItsSavedStateWhenTheDirectoryIsGone() throws {
        let place = try Place()
        try place.write("a", "10.0.0.1", "10.0.0.2")
        let peers = try Peers()
        let consumer = peers.consumer(place)
        let first = try Watcher(place)
        #expect(try peers.wait { consumer.table.count == 2 })
        let generation = consumer.follower.generation
        #expect(try peers.wait { try first.counters()["saves"] ?? 0 > 0 })
        first.kill()
        try FileManager.default.moveItem(atPath: "\(place.path)/d", toPath: "\(place.path)/away")
        let second = try Watcher(place)
        #expect(try peers.wait { consumer.ends == 1 && consumer.follower.health?.state == .stale })
        #expect(try peers.wait { consumer.client?.link != nil })
        #expect(consumer.table == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(consumer.follower.generation >= generation)
        #expect(try second.source().detail.hasPrefix("\(place.path)/d: No such file or directory"))
        try FileManager.default.moveItem(atPath: "\(place.path)/away", toPath: "\(place.path)/d")
        #expect(try peers.wait { consumer.follower.health?.state == .live })
        #expect(consumer.table == ["10.0.0.1:80", "10.0.0.2:80"])
    }

    @Test func withNothingSavedAndNothingToReadTheStateIsUnknown() throws {
        let place = try Place()
        try FileManager.default.removeItem(atPath: "\(place.path)/d")
        let watcher = try Watcher(place)
        let peers = try Peers()
        let consumer = peers.consumer(place)
        #expect(try peers.wait { consumer.follower.health?.state == .unknown })
        #expect(consumer.follower.generation == 0, "no snapshot")
        try FileManager.default.createDirectory(atPath: "\(place.path)/d", withIntermediateDirectories: false)
        try place.write("a", "10.0.0.1")
        #expect(try peers.wait { consumer.table == ["10.0.0.1:80"] })
        #expect(try watcher.source().state == "live")
    }

    @Test func localWorkersAreInTheFeedAndStayWhenTheScalerGoes() throws {
        let place = try Place()
        try place.write("a", "10.0.0.1")
        let watcher = try Watcher(place)
        let peers = try Peers()
        let consumer = peers.consumer(place)
        let scaler = peers.scaler(place, worker(21000), worker(21001))
        #expect(try peers.wait { consumer.table == ["10.0.0.1:80", "127.0.0.1:21000 local", "127.0.0.1:21001 local"] })
        scaler.link?.send(WorkersMessage.remove(pool: PoolID(name: "web"), worker(21000).id))
        #expect(try peers.wait { consumer.table == ["10.0.0.1:80", "127.0.0.1:21001 local"] })
        let next = peers.scaler(place, worker(21002))
        #expect(try peers.wait { consumer.table == ["10.0.0.1:80", "127.0.0.1:21002 local"] }, "the newer scaler speaks for the node")
        _ = next
        #expect(try watcher.source().localWorkers == 1)
    }

    @Test func aConsumerThatSpeaksIsSentAway() throws {
        let place = try Place()
        let watcher = try Watcher(place)
        let peers = try Peers()
        let consumer = peers.consumer(place)
        #expect(try peers.wait { consumer.client?.link != nil })
        consumer.client?.link?.send(EndpointsMessage.snapshotBegin(generation: 1))
        #expect(try peers.wait { consumer.ends == 1 })
        #expect(try watcher.source().state == "live")
    }

    @Test func hangUpBringsNewPoolsIntoForce() throws {
        let place = try Place()
        try place.write("a", "10.0.0.1")
        try place.write("b", "10.0.0.2", service: "api")
        let watcher = try Watcher(place)
        let peers = try Peers()
        let consumer = peers.consumer(place)
        #expect(try peers.wait { consumer.table == ["10.0.0.1:80"] })
        place.pools = ["- { name: api, service: shop/api }"]
        try place.configure()
        kill(watcher.process.processIdentifier, SIGHUP)
        #expect(try peers.wait { consumer.follower.endpoints.keys.map { $0 } == [PoolID(name: "api")] })
        #expect(consumer.ends == 0)
    }

    @Test func itTellsItsManagerThatItIsReadyAndHowItStands() throws {
        let place = try Place()
        try place.write("a", "10.0.0.1")
        let path = "\(place.path)/notify"
        let socket = Descriptor(owning: Int32(try check(lh_socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue)), "socket")))
        _ = try check(lh_bind_unix(socket.raw, path), "bind", path)
        let watcher = try Watcher(place, environment: ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"])
        let peers = try Peers()
        var said = ""
        let descriptor = socket.raw
        func listen() -> Bool {
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = buffer.withUnsafeMutableBytes { lh_recv(descriptor, $0.baseAddress, $0.count, 0) }
                if count <= 0 { return true }
                said += String(decoding: buffer[..<count], as: UTF8.self) + "\n"
            }
        }
        #expect(try peers.wait { listen() && said.contains("READY=1\nSTATUS=Source live: 1 endpoints in 1 pools, 0 consumers") })
        #expect(try peers.wait { listen() && said.contains("WATCHDOG=1") })
        try Data("kind: [".utf8).write(to: URL(fileURLWithPath: "\(place.path)/d/b.yaml"))
        #expect(
            try peers.wait {
                listen() && said.contains("STATUS=Source stale: 1 endpoints in 1 pools, 0 consumers; \(place.path)/d/b.yaml:")
            })
        watcher.process.terminate()
        watcher.process.waitUntilExit()
        #expect(listen() && said.contains("STOPPING=1"))
        #expect(watcher.process.terminationStatus == 0)
    }

    @Test func anUnknownReportIsRefusedWithTheOnesThereAre() throws {
        let place = try Place()
        let watcher = try Watcher(place)
        let peers = try Peers()
        #expect(try peers.wait { (try? watcher.source()) != nil })
        let result = try watcher.ask("weather")
        #expect(result.status == 64)
        #expect(result.message == "the watcher has no report 'weather'; it has 'source' and 'process'")
    }
}
