import Foundation
import Linux
import Model
import TestKit
import Testing

/// What an operator does to running processes: drain, stop, reload, pass sockets.
@Suite(.ownThread) struct OperationTests {
    @Test func SIGTERMDrains() throws {
        try Fleet.run(Setup.http(listener: "health: /leasehold/ready")) { fleet in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/running" { try gate.wait() }
                return Reply.ok(request.target)
            }
            let health = try fleet.call()
            let ready = try health.fetch("/leasehold/ready")
            #expect(ready.status == 200)
            #expect(ready.text == "ready\n")
            let running = try fleet.call()
            try running.get("/running")
            try worker.wait("the running job") { $0.running == 1 }
            let parked = try fleet.call()
            try parked.get("/parked")
            try fleet.waitPool("pods", "the parked caller") { $0.queued == 1 }
            let address = try fleet.listener()

            try fleet[.dispatcher].signal(SIGTERM)
            try fleet[.dispatcher].waitForNotification("STOPPING=1")
            let late = try RawCaller(to: address)
            try late.get("/zebra")
            let refused = try late.readResponse()
            try expectAnswer(refused, 503, "draining", error: "destination_unavailable", retryAfter: true)
            #expect(refused["Connection"] == "close")
            #expect(try late.expectEnd() == .fin)
            let checked = try RawCaller(to: address)
            try checked.get("/leasehold/ready")
            let draining = try checked.readResponse()
            #expect(draining.status == 503)
            #expect(draining.text == "draining\n")
            #expect(try health.expectEnd() == .fin, "an idle connection is closed")
            #expect(try fleet.counter("jobs") == 2, "the control edge still answers")

            gate.open()
            let served = try running.readResponse()
            #expect(served.text == "/running")
            #expect(served["Connection"] == "close")
            #expect(try parked.readResponse().text == "/parked")
            #expect(try fleet[.dispatcher].waitForExit() == .status(0))
            #expect(worker.names == ["/running", "/parked"])
        }
    }

    @Test func aSecondSIGTERMStopsAtOnce() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                visit.begin()
                _ = try visit.receiveToEnd()
            }
            let caller = try fleet.call()
            try caller.get()
            try worker.wait("the job") { $0.running == 1 }
            try fleet[.dispatcher].signal(SIGTERM)
            try fleet[.dispatcher].waitForNotification("STOPPING=1")
            #expect(try fleet[.dispatcher].isRunning)
            try fleet[.dispatcher].signal(SIGTERM)
            #expect(try fleet[.dispatcher].waitForExit() == .status(0))
            _ = try caller.receiveToEnd()
        }
    }

    @Test func aDrainEndsAtItsDeadlineByCuts() throws {
        try Fleet.run(Setup.http(listener: "deadlines: { drain: 200ms }")) { fleet in
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                visit.begin()
                try visit.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
                _ = try visit.receiveToEnd()
            }
            let caller = try fleet.call()
            try caller.get()
            _ = try caller.receive(through: "12345")
            try worker.wait("the job") { $0.running == 1 }
            try fleet[.dispatcher].signal(SIGTERM)
            #expect(try caller.expectEnd() == .reset)
            #expect(try fleet[.dispatcher].waitForExit() == .status(0))
        }
    }

    @Test func aDrainingTCPListenerResets() throws {
        try Fleet.run(Setup.tcp()) { fleet in
            let worker = try fleet.serveScript { visit in
                visit.begin()
                try visit.send(try visit.receiveToEnd().bytes)
            }
            let running = try fleet.call("tcp")
            try running.send("hello")
            try worker.wait("the job") { $0.running == 1 }
            let address = try fleet.listener("tcp")
            try fleet[.dispatcher].signal(SIGTERM)
            try fleet[.dispatcher].waitForNotification("STOPPING=1")
            let late = try RawCaller(to: address)
            try late.send("hello")
            #expect(try late.expectEnd() == .reset)
            running.halfClose()
            #expect(try running.receive(5).elementsEqual("hello".utf8))
            #expect(try running.expectEnd() == .fin)
            #expect(try fleet[.dispatcher].waitForExit() == .status(0))
        }
    }

    @Test func everyProcessStopsOnSIGTERM() throws {
        try Fleet.run(Setup.http(), Fleet.Process.node) { fleet in
            for process in Fleet.Process.node {
                try fleet[process].signal(SIGTERM)
                #expect(try fleet[process].waitForExit() == .status(0), "\(process)")
            }
        }
    }

    @Test func SIGHUPPutsANewConfigurationInForce() throws {
        func configuration(_ pool: String, _ routes: String, _ more: String = "") -> String {
            """
            pools:
              - { name: pods, service: shop/pods, port: http, \(pool) }
            \(more)
            listeners:
              - { name: http, address: "127.0.0.1:0", protocol: http, routes: [\(routes)] }
            """
        }
        try Fleet.run(configuration("hold: { timeout: 30s }", "{ path: /, pool: pods }")) { fleet in
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok("pods") }))
            let other = fleet.own(try TestWorker(http: { _, _ in Reply.ok("other") }))
            try fleet.serve([Pod("a", at: worker.address)])
            let caller = try fleet.call()
            #expect(try caller.fetch("/x").text == "pods")
            // A shorter hold, a new pool and a new route; the connection that exists goes on.
            try fleet.configure(
                configuration(
                    "hold: { timeout: 100ms }", "{ path: /, pool: pods }, { path: /other, pool: other }",
                    "  - { name: other, service: shop/other, port: http }"))
            for process in Fleet.Process.core { try fleet.reload(process) }
            try fleet.publish([Pod("b", at: other.address)], of: "shop/other", as: "other.yaml")
            try fleet.waitPool("other", "its endpoint") { $0.total == 1 }
            #expect(try caller.fetch("/other/x").text == "other")
            #expect(try caller.fetch("/x").text == "pods")
            try fleet.unpublish()
            try fleet.waitPool("pods", "no endpoint") { $0.total == 0 }
            try expectAnswer(try caller.fetch("/x"), 503, "no-endpoints", error: "destination_unavailable", retryAfter: true)
        }
    }

    @Test func anInvalidConfigurationIsRefusedAndTheOldOneStays() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            try fleet.configure(Setup.http(pool: "slotz: 2"))
            for process in Fleet.Process.core { try fleet.reload(process) }
            for process in Fleet.Process.core { #expect(try fleet[process].output.contains("slotz"), "\(process)") }
            #expect(try fleet.fetch().status == 200)
            // What only a restart can change is named.
            try fleet.configure(Setup.http(top: "dispatcher: { threads: 2 }"))
            try fleet.reload(.dispatcher)
            #expect(try fleet[.dispatcher].output.contains("dispatcher.threads"))
            #expect(try fleet.fetch().status == 200)
        }
    }

    @Test func jobsAreLoggedAsTheFileSays() throws {
        for (setting, lines) in [("all", 3), ("errors", 1)] {
            try Fleet.run(Setup.http(top: "log-jobs: \(setting)")) { fleet in
                _ = try fleet.serveScript { visit in
                    let request = try visit.readRequest()
                    if request.target != "/die" { try visit.send(Reply.ok()) }
                }
                for _ in 0..<2 { #expect(try fleet.fetch("/fine").status == 200) }
                #expect(try fleet.fetch("/die").status == 502)
                try fleet[.dispatcher].wait("\(lines) lines with log-jobs: \(setting)") {
                    try fleet[.dispatcher].output.components(separatedBy: "A job ended").count - 1 >= lines
                }
                #expect(try fleet[.dispatcher].output.components(separatedBy: "A job ended").count - 1 == lines, "\(setting)")
                #expect(try fleet[.dispatcher].output.contains("lost-before-response"))
            }
        }
    }

    @Test func listeningSocketsAreTakenFromTheManager() throws {
        let fleet = try Fleet(Setup.http())
        defer { fleet.close() }
        var socket = try Sockets.listen(SocketAddress.loopback(port: 0).system)
        let raw = socket.release()
        defer { close(raw) }
        let address = try #require(SocketAddress(bound: raw))
        // Connected before anybody accepts: the manager keeps the socket.
        let early = try RawCaller(to: address)
        try early.get("/early")
        try fleet.start([.watcher, .poolKeeper])
        try fleet.launch(.dispatcher, sockets: [("http", raw)])
        try fleet[.dispatcher].waitForNotification("READY=1")
        #expect(try fleet.listener() == address)
        _ = try fleet.serveHTTP { request, _ in Reply.ok(request.target) }
        #expect(try early.readResponse().text == "/early")
        // The socket outlives the process.
        try fleet[.dispatcher].kill()
        let between = try RawCaller(to: address)
        try between.get("/between")
        try fleet.launch(.dispatcher, sockets: [("http", raw)])
        try fleet[.dispatcher].waitForNotification("READY=1")
        #expect(try between.readResponse().text == "/between")
    }

    @Test func aPassedSocketWithAnotherAddressIsAConfigurationError() throws {
        let fleet = try Fleet(Setup.http().replacingOccurrences(of: "127.0.0.1:0", with: "127.0.0.1:9"))
        defer { fleet.close() }
        var socket = try Sockets.listen(SocketAddress.loopback(port: 0).system)
        let raw = socket.release()
        defer { close(raw) }
        let daemon = try fleet.launch(.dispatcher, sockets: [("http", raw)])
        #expect(try daemon.waitForExit() == .status(78))
        #expect(daemon.output.contains("listener http"))
        #expect(daemon.output.contains("127.0.0.1:9"))
    }

    @Test func twoThreadsShareTheListenersAndTheEndpoints() throws {
        try Fleet.run(Setup.http(top: "dispatcher: { threads: 2 }")) { fleet in
            let workers = try fleet.exampleWorkers(4)
            try fleet.serve(workers.map(\.pod))
            let crowd = Crowd(of: 60, rounds: 4, at: try fleet.listener()) { _, _ in "GET /render?ms=2&bytes=50 HTTP/1.1\r\nHost: x\r\n\r\n"
            }
            crowd.start()
            try crowd.finish()
            #expect(crowd.answers.filter { $0.response.status == 200 }.count == 240)
            #expect(fleet.violations.isEmpty, "\(fleet.violations)")
            for worker in workers { #expect(try worker.stats().concurrentSecondJobs == 0) }
            // Both threads drain.
            try fleet[.dispatcher].signal(SIGTERM)
            #expect(try fleet[.dispatcher].waitForExit() == .status(0))
        }
    }

    @Test func SIGUSR2MakesRoomForTheNextInTheSeatAtOnce() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            try fleet[.dispatcher].signal(SIGUSR2)
            #expect(try fleet[.dispatcher].waitForExit() == .status(0))
            try fleet.launch(.dispatcher)
            try fleet[.dispatcher].waitForNotification("READY=1")
            #expect(try fleet.fetch().status == 200)
        }
    }

    @Test func theWatchdogIsFedByALoopThatTurns() throws {
        try Fleet.run(Setup.http(top: "dispatcher: { threads: 2 }"), []) { fleet in
            for process in Fleet.Process.node { try fleet.launch(process, environment: ["WATCHDOG_USEC": "200000"]) }
            for process in Fleet.Process.node {
                try fleet[process].waitForNotification("READY=1")
                for _ in 0..<3 { try fleet[process].waitForNotification("WATCHDOG=1") }
            }
        }
    }

    @Test func aUnixSocketIsAListenerToo() throws {
        let fleet = try Fleet(Setup.http())
        defer { fleet.close() }
        let path = "\(fleet.directory)/http.sock"
        try fleet.configure(Setup.http().replacingOccurrences(of: "127.0.0.1:0", with: "unix:\(path)"))
        try fleet.start()
        _ = try fleet.serveHTTP { request, _ in Reply.ok(request["X-Forwarded-For"] ?? "") }
        let caller = try RawCaller(toUnix: path)
        #expect(try caller.fetch().text == "unknown")
    }
}
