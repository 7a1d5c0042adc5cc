import Foundation
import Linux
import Model
import TestKit
import Testing

/// Upgrade: from HTTP to bytes.
@Suite(.ownThread) struct TunnelTests {
    private static let upgrade =
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    private static let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Mine: 1\r\n\r\n"

    @Test func anUpgradedConnectionIsATunnelByteForByteBothWays() throws {
        try Fleet.run(Setup.http()) { fleet in
            let size = 16 << 20
            let up = Pattern(size, seed: 1)
            let down = Pattern(size, seed: 77)
            let worker = try fleet.serveScript { visit in
                let head = try visit.readRequestHead()
                visit.begin()
                // The first bytes come with the 101.
                try visit.send(Self.switching + "first \(head["Upgrade"] ?? "")\n")
                let problem = try both(sending: down, receiving: up, on: visit)
                try visit.send("end \(problem ?? "fine")\n")
                visit.finish()
            }
            let caller = try fleet.call()
            try caller.send(Self.upgrade)
            let head = try caller.readResponse()
            #expect(head.status == 101)
            #expect(head["Connection"]?.lowercased() == "upgrade")
            #expect(head["Upgrade"] == "websocket")
            #expect(head["X-Mine"] == "1")
            #expect(head["Leasehold-Lease"] != nil)
            #expect(try caller.receive(through: "\n").debugText.contains("first websocket"))
            #expect(try both(sending: up, receiving: down, on: caller) == nil)
            #expect(try caller.receive(through: "\n").elementsEqual("end fine\n".utf8))
            #expect(try caller.expectEnd() == .fin)
            caller.close()
            try fleet.waitPool("pods", "the lease to end") { $0.leases == 0 }
            #expect(worker.troubles.isEmpty)
        }
    }

    @Test func aTunnelIsOneJobUntilItEnds() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveScript { visit in
                let head = try visit.readRequestHead()
                visit.begin(head.target)
                if head.target == "/ws" {
                    try visit.send(Self.switching)
                    _ = try visit.receiveToEnd()
                    visit.finish()
                    return
                }
                visit.finish()
                try visit.send(Reply.ok())
            }
            let tunnel = try fleet.call()
            try tunnel.send(Self.upgrade)
            #expect(try tunnel.readResponse().status == 101)
            let other = try fleet.call()
            try other.get("/other")
            try fleet.waitPool("pods", "the other caller to wait") { $0.queued == 1 && $0.leases == 1 }
            tunnel.close()
            #expect(try other.readResponse().status == 200)
            #expect(worker.violations == 0)
        }
    }

    @Test func aLostTunnelIsCutAndNeverEndsCleanly() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                try visit.send(Self.switching)
                try gate.wait()
                visit.reset()
            }
            let caller = try fleet.call()
            try caller.send(Self.upgrade)
            #expect(try caller.readResponse().status == 101)
            gate.open()
            #expect(try caller.expectEnd() == .reset)
        }
    }

    @Test func onlyListedProtocolsAreAskedFor() throws {
        try Fleet.run(Setup.http(listener: "upgrade: [my-protocol]")) { fleet in
            let worker = try fleet.serveScript { visit in
                let head = try visit.readRequestHead()
                visit.begin("\(head["Upgrade"] ?? "none") \(head["Connection"] ?? "none")")
                visit.finish()
                guard head["Upgrade"] == "my-protocol" else { return try visit.send(Reply.ok("plain")) }
                try visit.send("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: my-protocol\r\n\r\n")
                try visit.send(try visit.receive(5))
            }
            let stripped = try fleet.call()
            try stripped.send(Self.upgrade)
            #expect(try stripped.readResponse().text == "plain")
            let listed = try fleet.call()
            try listed.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c, my-protocol\r\n\r\n")
            #expect(try listed.readResponse().status == 101)
            try listed.send("hello")
            #expect(try listed.receive(5).elementsEqual("hello".utf8))
            #expect(worker.names == ["none close", "my-protocol Upgrade"])
        }
    }

    @Test func aWorkerMayRefuseAnUpgrade() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { _, _ in "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno" }
            let caller = try fleet.call()
            for _ in 0..<2 {
                try caller.send(Self.upgrade)
                let response = try caller.readResponse()
                #expect(response.status == 403)
                #expect(response.text == "no")
            }
        }
    }

    @Test func aSilentTunnelEndsAfterItsDeadline() throws {
        try Fleet.run(Setup.http(listener: "deadlines: { tunnel-idle: 150ms }")) { fleet in
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                visit.begin()
                try visit.send(Self.switching)
                _ = try visit.receiveToEnd()
            }
            let caller = try fleet.call()
            try caller.send(Self.upgrade)
            #expect(try caller.readResponse().status == 101)
            #expect(try caller.expectEnd() == .reset)
            try worker.wait("the end of the job") { $0.running == 0 }
        }
    }

    /// Python's `websockets` as the client, the example worker as the server; `scripts/bootstrap test` installs the client.
    @Test(.enabled(if: Python.hasWebSockets, "no .build-tools/venv with websockets: run scripts/bootstrap test"))
    func pythonsWebSocketsTalkThroughALease() throws {
        try Fleet.run(Setup.http()) { fleet in
            let workers = try fleet.exampleWorkers(2)
            try fleet.serve(workers.map(\.pod))
            let script = """
                import asyncio, hashlib, random, sys, websockets
                random.seed(5)
                async def talk(number):
                    async with websockets.connect(sys.argv[1] + "/echo", max_size=None, compression=None, open_timeout=60) as socket:
                        lease = socket.response.headers["Leasehold-Lease"]
                        for size in [0, 1, 125, 126, 127, 65535, 65536, 70000, 1000000, 3000000]:
                            message = random.randbytes(size)
                            await socket.send(message)
                            assert await socket.recv() == message, size
                        for i in range(200): await socket.send(f"{number} {i} ü")
                        for i in range(200): assert await socket.recv() == f"{number} {i} ü"
                        await (await socket.ping())
                        return lease
                async def main():
                    leases = await asyncio.gather(*[talk(n) for n in range(6)])
                    assert len(set(leases)) == 6, leases
                    print("fine")
                asyncio.run(main())
                """
            let python = try fleet.spawn("python", Python.path, ["-c", script, "ws://\(fleet.listener())"])
            let exit = try python.waitForExit()
            #expect(exit == .status(0), "\(python.output)")
            #expect(python.output == "fine\n")
            #expect(fleet.violations.isEmpty, "\(fleet.violations)")
            var jobs = 0
            for worker in workers { jobs += try worker.stats().jobs }
            #expect(jobs == 6)
        }
    }

    /// Worker and dispatcher are done, and the caller still takes what is on its way to it: as long as it does, it is not idle.
    @Test func aSlowReaderIsNotIdleWhileTheKernelStillHasBytesForIt() throws {
        try Fleet.run(Setup.tcp(pool: "abandon: 2s")) { fleet in
            let size = 600_000
            let workers = try (0..<2).map { _ in
                fleet.own(try TestWorker { visit in
                    let isSlow = try visit.receive(1) == Array("s".utf8)
                    if isSlow { try Pattern(size).send(on: visit) }
                    visit.halfClose()
                    _ = try visit.expectEnd()
                })
            }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            let slow = try RawCaller(to: fleet.listener("tcp"), receiveBuffer: 8192)
            try slow.send("s")
            var got: [UInt8] = []
            // By those who take nothing and never close one knows that `abandon` has passed.
            var idle = try fleet.call("tcp")
            try idle.send("i")
            var letGo = -1
            let begun = monotonicNow()
            while letGo < 2, got.count < size - 1000 {
                // 50 kB/s, however fast this machine is: 12 s of reading, of which two times `abandon` are needed.
                let due = min(Int((monotonicNow() - begun) / 20_000), size - 1000) - got.count
                if due > 0 { got += try slow.receive(due) }
                let leases = try fleet.pool("pods").leases
                if letGo < 0, leases == 2 { letGo = 0 }
                guard letGo >= 0, leases == 1 else { continue }
                letGo += 1
                idle = try fleet.call("tcp")
                try idle.send("i")
                try fleet.waitPool("pods", "the next") { $0.leases == 2 }
            }
            #expect(letGo == 2)
            got += try slow.receive(size - got.count)
            #expect(got == Array((Pattern.base + Pattern.base).prefix(size)))
            #expect(try slow.expectEnd() == .fin)
            slow.close()
            try fleet.waitPool("pods", "the end") { $0.leases == 0 }
        }
    }
}

/// The virtual environment that `scripts/bootstrap test` makes.
enum Python {
    static let path =
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        + "/.build-tools/venv/bin/python3"

    static let hasWebSockets: Bool = {
        let library = (path as NSString).deletingLastPathComponent + "/../lib"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: library)) ?? []
        return versions.contains { FileManager.default.fileExists(atPath: "\(library)/\($0)/site-packages/websockets") }
    }()
}

/// Sends one pattern while it receives another; what was wrong with the received one.
func both(sending: Pattern, receiving: Pattern, on stream: RawStream) throws -> String? {
    let sent = Gate()
    let trouble = Locked<String?>(nil)
    // One thread sends, one receives: a socket has two directions, and the stream's buffer belongs to the receiver alone.
    let thread = Thread {
        do { try sending.send(on: stream) } catch { trouble.set("\(error)") }
        sent.open()
    }
    thread.start()
    let problem = try receiving.receive(on: stream)
    try sent.wait("the sending half")
    return problem ?? trouble.get()
}
