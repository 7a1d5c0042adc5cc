import Foundation
import KubeTestServer
import Linux
import Model
import TestKit
import Testing

/// The API server is away: what was known goes on.
@Suite(.ownThread) struct OutageTests {
    /// How long the server stays away. LEASEHOLD_OUTAGE_SECONDS makes it the minute of a soak run.
    private static let away = Double(ProcessInfo.processInfo.environment["LEASEHOLD_OUTAGE_SECONDS"] ?? "") ?? 4

    @Test func aKilledServerRefusesNoJobAndDropsNoLease() throws {
        let gate = Gate()
        let ledgers = (0..<4).map { _ in JobLedger() }
        // The long job says nothing until the end.
        try Cluster.run(listener: "deadlines: { first-byte: 10m }") { cluster in
            for (i, ledger) in ledgers.enumerated() {
                try cluster.serve("uid-\(i)", ledger: ledger) { request, _ in
                    if request.target == "/long" { try gate.wait() }
                    return Reply.ok("\(i)")
                }
            }
        } _: { cluster in
            try cluster.waitUntilEqual()
            // A lease that spans the outage.
            let long = try cluster.fleet.call()
            try long.send("GET /long HTTP/1.1\r\nHost: test\r\n\r\n")
            try cluster.fleet.waitPool("pods", "a lease") { $0.leased == 1 }
            let lease = try #require(try cluster.fleet.leases().first?.lease)
            let busy = try #require(try cluster.fleet.endpoints().first { $0.leases == 1 }?.uid)

            let stop = Gate()
            let load = Load(at: try cluster.fleet.listener(), callers: 6, until: stop)
            try load.wait(forAnswers: 20)

            try cluster.server.stop()
            let since = monotonicNow()
            let lost = try cluster.waitSource("the loss") { $0.state == "stale" }
            #expect(lost.detail.contains("127.0.0.1:\(cluster.server.port)"), "\(lost.detail)")
            let served = load.count
            // The age is there to be seen, and grows.
            let old = try cluster.waitSource("an age") { _ in monotonicNow() - since > Int64(Self.away * 1e9) }
            #expect(Double(old.ageMs) > Self.away * 900, "the age was \(old.ageMs) ms after \(Self.away) s")
            #expect(old.kubernetes.scopes.allSatisfy { $0.connectedMs == nil && Double($0.heardMs ?? 0) > Self.away * 900 })
            #expect(old.kubernetes.scopes[0].problem.contains("refuses connections: nobody listens there"), "\(old.kubernetes)")
            #expect(old.kubernetes.scopes[0].errors["connection-refused", default: 0] >= 1)
            #expect(load.count > served, "no job was served while the server was away")

            // Meanwhile the cluster went on: one endpoint is gone, another is new.
            let gone = try #require((0..<4).map { "uid-\($0)" }.first { $0 != busy })
            cluster.server.delete(Cluster.key("pods-\(gone)"))
            let new = cluster.fleet.own(try TestWorker(http: { _, _ in Reply.ok("new") }))
            cluster.server.apply(cluster.slice("uid-new", at: new.address))
            try cluster.server.start()
            try cluster.waitUntilEqual()
            let back = try cluster.waitSource("the return") { $0.state == "live" }
            #expect(back.detail.isEmpty && back.ageMs < 2_000 && back.kubernetes.lastError.contains("refuses connections"))
            #expect(try cluster.fleet.leases().contains { $0.lease == lease }, "the lease did not survive")
            try new.wait("a job at the new endpoint") { $0.jobs > 0 }

            stop.open()
            try load.finish()
            gate.open()
            #expect(try long.readResponse().status == 200)
            #expect(ledgers.allSatisfy { $0.counts.violations == 0 } && new.violations == 0)
        }
    }

    /// Ready does not wait for the API server, nor does what was saved.
    @Test func whatWasSavedIsServedWhenTheServerIsAwayFromTheStart() throws {
        try Cluster.run { cluster in
            try cluster.serve("uid-a") { _, _ in Reply.ok("a") }
        } _: { cluster in
            try cluster.waitUntilEqual()
            try cluster.fleet.waitCounter("saves", of: .watcher, atLeast: 1)
            try cluster.server.stop()
            try cluster.fleet.restart(.watcher)
            try cluster.fleet.restart(.poolKeeper)
            let caller = try cluster.fleet.call()
            try caller.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            #expect(try caller.readResponse().text == "a")
            let source = try cluster.waitSource("the loss") { $0.state == "stale" && !$0.kubernetes.scopes[0].problem.isEmpty }
            #expect(source.endpoints == 1)
            try cluster.fleet[.watcher].wait("the STATUS") {
                let process = try cluster.fleet.show("process", of: .watcher, as: Fleet.ProcessRow.self)
                return process.ready && process.status.hasPrefix("Source stale: 1 endpoints")
                    && process.status.contains("API server not connected, not heard yet; ") && process.status.hasSuffix("is it up?")
            }
        }
    }

    /// With nothing saved it is unknown, never empty: callers are held, and served when the server comes.
    @Test func withoutAnythingKnownCallersAreHeld() throws {
        let cluster = try Cluster()
        defer { cluster.close() }
        try cluster.serve("uid-a") { _, _ in Reply.ok("a") }
        try cluster.server.stop()
        try cluster.fleet.start()
        let caller = try cluster.fleet.call()
        try caller.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        try cluster.fleet.waitPool("pods", "a caller that is held") { $0.queued == 1 }
        #expect(try cluster.source().state == "unknown")
        try cluster.server.start()
        #expect(try caller.readResponse().text == "a")
    }
}

/// Callers that send one job after the other until they are told to stop; each must be served.
final class Load: @unchecked Sendable {
    // The counts are the ledger's, which locks; each caller belongs to its thread.
    private let answers = JobLedger(slots: .max)
    private let callers: Int

    init(at address: SocketAddress, callers: Int, until stop: Gate) {
        self.callers = callers
        for number in 0..<callers {
            let thread = Thread { [answers] in
                var trouble = ""
                do {
                    let caller = try RawCaller(to: address)
                    while !stop.isOpen {
                        try caller.send("GET /load HTTP/1.1\r\nHost: test\r\n\r\n")
                        let response = try caller.readResponse()
                        guard response.status == 200 else { throw TestFailure("\(response)") }
                        answers.began("")
                        answers.finished()
                    }
                } catch { trouble = "caller \(number): \(error)" }
                answers.began("end\(trouble)")
            }
            thread.stackSize = 512 * 1024
            thread.start()
        }
    }

    /// Jobs that were served.
    var count: Int { answers.counts.jobs }

    func wait(forAnswers wanted: Int) throws { try answers.wait("\(wanted) answers") { $0.jobs >= wanted } }

    /// Waits for every caller, and throws what went wrong.
    func finish() throws {
        try answers.wait("every caller's end") { [callers] in $0.running == callers }
        let troubles = answers.counts.names.filter { $0.hasPrefix("end") && $0 != "end" }
        if let first = troubles.first { throw TestFailure("\(troubles.count) callers were not served: \(first)") }
    }
}
