import Foundation
import Glibc
import Linux
import Model
import TestKit
import Testing

/// What callers, operators and workers are told, with real processes: answers, job lines, counts, traces.
@Suite(.ownThread) struct TruthTests {
    private struct Problem: Decodable {
        var reason: String
        var job: String?
        var position: Int?
        var queued: Int?
        var oldestWaitMs: Int?
        var lease: String?
        var phase: String?
    }

    private func problem(_ response: HTTPMessage) throws -> Problem {
        try JSONDecoder().decode(Problem.self, from: Data(response.body))
    }

    /// Lines of the dispatcher about the ends of jobs, each as its facts.
    private func jobLines(_ fleet: Fleet) throws -> [[String: String]] {
        try fleet[.dispatcher].output.split(separator: "\n").filter { $0.contains("A job ended") }.map { line in
            Dictionary(
                line.split(separator: " ").compactMap { word -> (String, String)? in
                    let parts = word.split(separator: "=", maxSplits: 1)
                    return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
                }, uniquingKeysWith: { $1 })
        }
    }

    private func waitLines(_ fleet: Fleet, _ count: Int) throws -> [[String: String]] {
        try fleet[.dispatcher].wait("\(count) lines about jobs") { try jobLines(fleet).count >= count }
        return try jobLines(fleet)
    }

    // MARK: Answers

    @Test func aRefusalTellsTheJobAndTheQueue() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 200ms }")) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { _, _ in
                try gate.wait()
                return Reply.ok()
            }
            let first = try fleet.call()
            try first.get()
            try worker.wait("the first job") { $0.running == 1 }
            let second = try fleet.call()
            try second.get("/zebra", "Leasehold-Tenant: zebra", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            try fleet.waitPool("pods", "the second in the queue") { $0.queued == 1 }
            let ticket = try #require(try fleet.queue().first?.ticket)
            let refused = try second.readResponse()
            try expectAnswer(refused, 429, "hold-timeout", error: "connection_limit_reached", retryAfter: true)
            let told = try problem(refused)
            #expect(told.job == "\(ticket)")
            #expect(told.queued == 1 && told.position == 1)
            #expect((told.oldestWaitMs ?? 0) >= 200)
            #expect(told.lease == nil && refused["Leasehold-Lease"] == nil)
            gate.open()
            #expect(try first.readResponse().status == 200)
        }
    }

    @Test func aJobThatLostItsWorkerTellsTheLeaseAndHowFarItCame() throws {
        try Fleet.run(Setup.http()) { fleet in
            let lease = Box("")
            _ = try fleet.serveScript { visit in
                lease.value = try visit.readRequest()["Leasehold-Lease"] ?? ""
                visit.close()
            }
            let lost = try fleet.fetch("/zebra")
            try expectAnswer(lost, 502, "worker-lost", error: "connection_terminated")
            let told = try problem(lost)
            #expect(!lease.value.isEmpty && told.lease == lease.value && lost["Leasehold-Lease"] == lease.value)
            #expect(told.phase == "headers-sent" && told.position == nil && told.queued == nil)
            let line = try #require(try waitLines(fleet, 1).first)
            #expect(line["job"] == told.job && lease.value == "pods/\(line["lease"] ?? "")")
            #expect(line["reason"] == "worker-lost" && line["outcome"] == "lost-before-response" && line["result"] == "refused")
        }
    }

    @Test func whereLeasesAreNotShownNoAnswerShowsOne() throws {
        try Fleet.run(Setup.http(listener: "expose: []")) { fleet in
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                visit.close()
            }
            let lost = try fleet.fetch()
            try expectAnswer(lost, 502, "worker-lost", error: "connection_terminated")
            #expect(lost["Leasehold-Lease"] == nil && lost["Server-Timing"] == nil)
            #expect(try problem(lost).lease == nil)
        }
    }

    @Test func retryAfterIsWholeSecondsAndNeverZero() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 30s, no-endpoints-timeout: 0 }")) { fleet in
            let refused = try fleet.fetch("/", "Prefer: wait=0")
            #expect(Int(refused["Retry-After"] ?? "") ?? 0 >= 1)
        }
    }

    // MARK: What a request may say

    private func urgencies(_ fleet: Fleet) throws -> [Int] {
        struct Row: Decodable { var urgency: Int }
        return try fleet.show("queue", of: .poolKeeper, as: [Row].self).map(\.urgency)
    }

    @Test func aRouteFixesOrCapsUrgencyAndWhoIsNotTrustedOnlyLowersIt() throws {
        for (trust, wanted) in [("", [3, 6, 4, 1, 3, 7]), ("trust: { from: [127.0.0.0/8] }", [0, 6, 4, 1, 2, 7])] {
            let configuration = """
                pools: [{ name: pods, service: shop/pods, port: http }]
                listeners:
                  - name: http
                    address: 127.0.0.1:0
                    routes:
                      - { path: /, pool: pods }
                      - { path: /fixed, pool: pods, urgency: 4 }
                      - { path: /first, pool: pods, urgency: 1 }
                      - { path: /capped, pool: pods, most-urgent: 2 }
                    \(trust)
                """
            try Fleet.run(configuration) { fleet in
                var callers: [RawCaller] = []
                for (path, said) in [("/", 0), ("/", 6), ("/fixed", 0), ("/first", 7), ("/capped", 0), ("/capped", 7)] {
                    let caller = try fleet.call()
                    try caller.get(path, "Priority: u=\(said)")
                    callers.append(caller)
                    try fleet.waitPool("pods", "caller \(callers.count)") { $0.queued == callers.count }
                }
                #expect(try urgencies(fleet).sorted() == wanted.sorted())
            }
        }
    }

    @Test func tenantsComeFromTrustedCallersAndFromTheFile() throws {
        let configuration = """
            pools: [{ name: pods, service: shop/pods, port: http, tenants: { acme: { weight: 2 }, zoo: {} } }]
            listeners:
              - name: open
                address: 127.0.0.1:0
                pool: pods
                tenant: zoo
              - name: trusting
                address: 127.0.0.1:0
                trust: { from: [127.0.0.0/8] }
                tenant-header: X-Quota
                routes: [{ path: /, pool: pods }, { path: /zoo, pool: pods, tenant: zoo }]
            log-jobs: all
            """
        try Fleet.run(configuration) { fleet in
            _ = try fleet.serveHTTP { request, _ in Reply.ok((request["X-Quota"] ?? "-") + " " + (request["Leasehold-Tenant"] ?? "-")) }
            let cases = [
                // Listener, path, field, what the worker gets, the tenant that counts.
                ("open", "/", "Leasehold-Tenant: acme", "- -", "zoo"), ("open", "/", "X-Quota: acme", "acme -", "zoo"),
                ("trusting", "/", "X-Quota: acme", "acme -", "acme"), ("trusting", "/", "Leasehold-Tenant: acme", "- -", "default"),
                ("trusting", "/", "X-Quota: nobody\u{1b}[31m", "", ""), ("trusting", "/", "X-Quota: nobody", "nobody -", "default"),
                ("trusting", "/zoo", "Accept: a", "- -", "zoo"), ("trusting", "/zoo", "X-Quota: acme", "acme -", "acme"),
            ]
            var tenants: [String] = []
            for (listener, path, field, seen, tenant) in cases {
                let caller = try fleet.call(listener)
                try caller.get(path, field)
                let response = try caller.readResponse()
                guard !tenant.isEmpty else {
                    #expect(response.status == 400, "a control character in a field")
                    continue
                }
                #expect(response.text == seen, "\(listener) \(path) \(field)")
                tenants.append(tenant)
                #expect(try waitLines(fleet, tenants.count).compactMap { $0["tenant"] } == tenants, "\(listener) \(path) \(field)")
            }
        }
    }

    // MARK: The journal

    @Test func aJobsLineHasAllFacts() throws {
        try Fleet.run(Setup.http(listener: "expose: [lease, endpoint]", top: "log-jobs: all")) { fleet in
            _ = try fleet.serveHTTP { request, _ in Reply.ok(String(repeating: "a", count: 500)) }
            let caller = try fleet.call()
            try caller.send("POST /zebra HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n" + String(repeating: "b", count: 300))
            let response = try caller.readResponse()
            #expect(response.status == 200)
            let line = try #require(try waitLines(fleet, 1).first)
            #expect("pods/\(line["lease"] ?? "")" == response["Leasehold-Lease"] && line["endpoint"] == response["Leasehold-Endpoint"])
            #expect(line["pool"] == "pods" && line["tenant"] == "default" && line["urgency"] == "3")
            #expect(line["result"] == "served" && line["outcome"] == "served" && line["reason"] == "served" && line["phase"] == "streaming")
            for key in ["hold-ms", "dial-ms", "duration-ms"] { #expect(Double(line[key] ?? "") != nil, "\(key)") }
            #expect(UInt64(line["job"] ?? "") != nil)
            #expect((Int(line["bytes-in"] ?? "") ?? 0) > 300 && (Int(line["bytes-out"] ?? "") ?? 0) > 500)
            #expect(try !fleet[.dispatcher].output.contains("zebra"), "nothing of the request")
        }
    }

    @Test func linesAreBoundedAndTheRestIsCounted() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 30s, no-endpoints-timeout: 0 }")) { fleet in
            let caller = try fleet.call()
            let count = 1500
            for _ in 0..<count { #expect(try caller.fetch().status == 503) }
            try fleet[.dispatcher].signal(SIGTERM)
            #expect(try fleet[.dispatcher].waitForExit() == .status(0))
            let lines = try jobLines(fleet).count
            let output = try fleet[.dispatcher].output
            let summaries = output.matches(of: /Jobs ended without a line of their own count=(\d+)/)
            let leftOut = summaries.reduce(0) { $0 + (Int($1.1) ?? 0) }
            #expect(lines + leftOut == count && lines >= 1000, "\(lines) lines, \(leftOut) left out")
        }
    }

    @Test func logsAsksTheJournal() throws {
        try Fleet.run(Setup.http(), []) { fleet in
            let directory = fleet.directory + "/bin"
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try "#!/bin/sh\nfor word; do echo \"[$word]\"; done\nexit 7\n".write(
                toFile: directory + "/journalctl", atomically: true, encoding: .utf8)
            #expect(chmod(directory + "/journalctl", 0o755) == 0)
            func logs(_ arguments: String...) throws -> (String, Daemon.Exit) {
                let command = try fleet.spawn(
                    "logs", Fleet.executable("leasehold"), ["logs"] + arguments, environment: ["PATH": "\(directory):/usr/bin:/bin"])
                let exit = try command.waitForExit()
                return (command.output, exit)
            }
            for (arguments, said) in [
                (["--job", "18446744073709551615"], "[LEASEHOLD_JOB=18446744073709551615]\n"),
                (["--lease", "17.4", "--follow"], "[--follow]\n[LEASEHOLD_LEASE=17.4]\n"),
                (["--lease", "pods/17.4", "--json"], "[--output=json]\n[LEASEHOLD_LEASE=17.4]\n[LEASEHOLD_POOL=pods]\n"),
                (["--pool", "pods", "-f"], "[--follow]\n[LEASEHOLD_POOL=pods]\n"),
            ] {
                let command = try fleet.spawn(
                    "logs", Fleet.executable("leasehold"), ["logs"] + arguments, environment: ["PATH": "\(directory):/usr/bin:/bin"])
                // It is journalctl from then on.
                #expect(try command.waitForExit() == .status(7))
                #expect(command.output == said, "\(arguments)")
            }
            for wrong in [["--lease", "x"], ["--lease", "a/b/1.2"], ["--pool", "a b"], ["--lease", "a/1.2", "--pool", "b"], []] {
                let command = try fleet.spawn(
                    "logs", Fleet.executable("leasehold"), ["logs"] + wrong, environment: ["PATH": "\(directory):/usr/bin:/bin"])
                #expect(try command.waitForExit() == .status(64), "\(wrong)")
            }
            let without = try fleet.spawn(
                "logs", Fleet.executable("leasehold"), ["logs", "--job", "1"], environment: ["PATH": "/nonexistent"])
            #expect(try without.waitForExit() == .status(69))
        }
    }

    // MARK: Counts

    @Test func everyJobEndsOnceAlsoWhenItsDispatcherIsKilled() throws {
        try Fleet.run(Setup.http(pool: "hold: { timeout: 60s, max-queued: 4 }")) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, visit in
                if request.target == "/held" { try gate.wait() }
                if request.target == "/die" {
                    visit.reset()
                    return ""
                }
                return Reply.ok()
            }
            func count(_ name: String) throws -> UInt64 { try fleet.counter("jobs-\(name)") }
            for _ in 0..<5 { #expect(try fleet.fetch().status == 200) }
            let running = try fleet.call()
            try running.get("/held")
            try worker.wait("the held job") { $0.running == 1 }
            var parked: [RawCaller] = []
            for _ in 0..<4 {
                let caller = try fleet.call()
                try caller.get("/parked")
                parked.append(caller)
                try fleet.waitPool("pods", "caller \(parked.count) in line") { $0.queued == parked.count }
            }
            #expect(try fleet.fetch().status == 429)
            try fleet.waitCounter("jobs-refused", atLeast: 1)
            parked[0].reset()
            try fleet.waitCounter("jobs-gone", atLeast: 1)
            #expect(try count("accepted") == 11 && count("served") == 5)

            try fleet.restart(.dispatcher)
            // A successor goes on where the counts stood.
            #expect(try count("accepted") == 11 && count("served") == 5 && count("refused") == 1 && count("gone") == 1)
            gate.open()
            #expect(try running.readResponse().status == 200)
            for caller in parked.dropFirst() { #expect(try caller.readResponse().status == 200) }
            #expect(try fleet.fetch("/die").status == 502)
            try fleet.waitCounter("jobs-refused", atLeast: 2)
            try fleet[.dispatcher].wait("every job to be accounted for") {
                try count("accepted") == count("served") + count("refused") + count("gone") + count("cut")
            }
            #expect(try count("accepted") == 12 && count("served") == 9 && count("refused") == 2 && count("gone") == 1)
        }
    }

    @Test func callersWhoHangUpWhileNobodyIsInTheSeatAreToldOfOnce() throws {
        let configuration = """
            pools: [{ name: pods, service: shop/pods, port: http, hold: { timeout: 60s }, tenants: { acme: {} } }]
            listeners:
              - name: http
                address: 127.0.0.1:0
                pool: pods
                trust: { from: [127.0.0.0/8] }
            log-jobs: all
            """
        try Fleet.run(configuration) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { _, _ in
                try gate.wait()
                return Reply.ok()
            }
            var callers: [RawCaller] = []
            for number in 0..<4 {
                let caller = try fleet.call()
                try caller.get("/", "Leasehold-Tenant: acme", "Priority: u=\(number)")
                callers.append(caller)
                if number == 0 {
                    try worker.wait("the first job") { $0.running == 1 }
                } else {
                    try fleet.waitPool("pods", "caller \(number) in line") { $0.queued == number }
                }
            }
            try fleet[.dispatcher].kill()
            callers[1].reset()
            callers[2].close()
            // Their places in line are given back at once.
            try fleet.waitPool("pods", "the two that left") { $0.queued == 1 }
            try fleet.launch(.dispatcher)
            try fleet[.dispatcher].waitForNotification("READY=1")
            try fleet.waitCounter("jobs-gone", atLeast: 2)
            gate.open()
            #expect(try callers[0].readResponse().status == 200)
            #expect(try callers[3].readResponse().status == 200)
            try fleet.waitCounter("jobs-served", atLeast: 2)
            func count(_ name: String) throws -> UInt64 { try fleet.counter("jobs-\(name)") }
            #expect(try count("accepted") == 4 && count("served") == 2 && count("gone") == 2 && count("refused") == 0 && count("cut") == 0)
            let lines = try waitLines(fleet, 4)
            #expect(Set(lines.compactMap { $0["job"] }).count == 4 && lines.count == 4)
            #expect(Set(lines.map { "\($0["result"] ?? "") \($0["urgency"] ?? "") \($0["tenant"] ?? "")" }) == [
                "served 0 acme", "gone 1 acme", "gone 2 acme", "served 3 acme",
            ])
        }
    }

    // MARK: Traces

    @Test func aTraceIsContinuedWhereSpansAreExportedAndPassesUntouchedWhereNot() throws {
        let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let unkept = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        for exports in [false, true] {
            let top = exports ? "publisher: { address: \"127.0.0.1:0\", trace: { otlp: \"http://127.0.0.1:9\", sample: 1 } }" : ""
            try Fleet.run(Setup.http(top: top)) { fleet in
                _ = try fleet.serveHTTP { request, _ in Reply.ok((request["traceparent"] ?? "none") + " " + (request["tracestate"] ?? "")) }
                let seen = try fleet.fetch("/", "traceparent: \(theirs)", "tracestate: a=b").text
                #expect(try fleet.fetch("/", "traceparent: \(unkept)").text == "\(unkept) ")
                let begun = try fleet.fetch().text
                if exports {
                    #expect(seen.wholeMatch(of: /00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01 a=b/) != nil, "\(seen)")
                    #expect(!seen.contains("b7ad6b7169203331"))
                    #expect(begun.wholeMatch(of: #/00-[0-9a-f]{32}-[0-9a-f]{16}-01 /#) != nil, "\(begun)")
                } else {
                    #expect(seen == "\(theirs) a=b" && begun == "none ")
                }
            }
        }
    }
}

/// A value that a worker's thread leaves for the test.
private final class Box: @unchecked Sendable {
    private let lock = NSLock()
    private var stored: String
    init(_ value: String) { stored = value }
    var value: String {
        get { lock.withLock { stored } }
        set { lock.withLock { stored = newValue } }
    }
}
