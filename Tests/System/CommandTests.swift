import Foundation
import Linux
import Model
import TestKit
import Testing

/// The operator's command against running processes.
@Suite(.ownThread) struct CommandTests {
    @Test func showTellsWhatIsTrueAsJSON() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { _, _ in
                try gate.wait()
                return Reply.ok()
            }
            let running = try fleet.call()
            try running.get()
            try worker.wait("the job") { $0.running == 1 }
            let parked = try fleet.call()
            try parked.get()
            try fleet.waitPool("pods", "a parked caller") { $0.queued == 1 }
            func rows(_ what: String) throws -> [[String: Any]] {
                let (text, exit) = try fleet.leasehold("show", what, "--json")
                #expect(exit == .status(0), "show \(what): \(text)")
                return try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]], "show \(what): \(text)")
            }
            let pools = try rows("pools")
            #expect(pools[0]["pool"] as? String == "pods")
            #expect(pools[0]["demand"] as? Int == 2)
            #expect(pools[0]["queued"] as? Int == 1)
            let endpoints = try rows("endpoints")
            #expect(endpoints[0]["uid"] as? String == "worker")
            #expect(endpoints[0]["addresses"] as? [String] == [worker.address.description])
            #expect(endpoints[0]["state"] as? String == "leased")
            let leases = try rows("leases")
            #expect(leases[0]["endpoint"] as? String == "worker")
            #expect(leases[0]["address"] as? String == worker.address.description)
            #expect(try rows("queue").count == 1)
            #expect(try rows("listeners")[0]["address"] as? String == fleet.listener().description)
            let processes = try rows("processes")
            #expect(processes.count >= 4)
            #expect(processes.filter { $0["ready"] as? Bool == true }.count == 3)
            let (source, exit) = try fleet.leasehold("show", "source", "--json")
            #expect(exit == .status(0))
            #expect(source.contains("\"state\":\"live\""))
            // The tables have the same rows.
            #expect(try fleet.leasehold("show", "pools").output.contains("pods"))
            #expect(try fleet.leasehold("show", "endpoints", "--pool", "pods").output.contains(worker.address.description))
            #expect(try fleet.leasehold("show", "pools", "--pool", "podz").exit == .status(64))
            gate.open()
            #expect(try running.readResponse().status == 200)
            #expect(try parked.readResponse().status == 200)
        }
    }

    @Test func drainAndUndrainAnEndpoint() throws {
        try Fleet.run(Setup.http()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/running" { try gate.wait() }
                return Reply.ok()
            }
            let running = try fleet.call()
            try running.get("/running")
            try worker.wait("the job") { $0.running == 1 }
            #expect(try fleet.leasehold("drain", "worker").exit == .status(0))
            let other = try fleet.call()
            try other.get("/other")
            try fleet.waitPool("pods", "the other caller to wait") { $0.queued == 1 }
            gate.open()
            #expect(try running.readResponse().status == 200, "what runs goes on")
            try fleet.waitPool("pods", "the endpoint to be drained") { $0.draining == 1 && $0.leases == 0 }
            #expect(worker.jobs == 1)
            #expect(try fleet.leasehold("undrain", "worker").exit == .status(0))
            #expect(try other.readResponse().status == 200)
            #expect(try fleet.leasehold("drain", "nobody").exit != .status(0))
        }
    }

    @Test func quarantineAnEndpoint() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveHTTP { _, _ in Reply.ok() }
            let (output, exit) = try fleet.leasehold("quarantine", worker.address.description, "--for", "600ms")
            #expect(exit == .status(0), "\(output)")
            #expect(try fleet.pool("pods").quarantined == 1)
            let began = monotonicNow()
            #expect(try fleet.fetch().status == 200)
            #expect(monotonicNow() > began)
            #expect(try fleet.pool("pods").quarantined == 0)
        }
    }

    @Test func pauseAndResumeAPool() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveHTTP { _, _ in Reply.ok() }
            #expect(try fleet.leasehold("pause", "pods").exit == .status(0))
            let caller = try fleet.call()
            try caller.get()
            try fleet.waitPool("pods", "a held caller") { $0.queued == 1 && $0.paused }
            #expect(worker.jobs == 0)
            #expect(try fleet.leasehold("resume", "pods").exit == .status(0))
            #expect(try caller.readResponse().status == 200)
            #expect(try fleet.leasehold("pause", "pods", "--refuse").exit == .status(0))
            try expectAnswer(try fleet.fetch(), 503, "paused", error: "destination_unavailable", retryAfter: true)
            #expect(try fleet.leasehold("pause", "nothing").exit != .status(0))
        }
    }

    @Test func aProcessThatDoesNotRunIs69() throws {
        let fleet = try Fleet(Setup.http())
        defer { fleet.close() }
        let (output, exit) = try fleet.leasehold("show", "pools")
        #expect(exit == .status(69))
        #expect(output.contains("not running"))
        #expect(try fleet.leasehold("frobnicate").exit == .status(64))
        #expect(try fleet.leasehold("version").output.contains("."))
    }
}
