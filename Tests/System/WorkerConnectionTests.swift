import Glibc
import Linux
import Model
import TestKit
import Testing

/// `worker-connections`: a new connection for each job, or one that is kept.
@Suite(.ownThread) struct WorkerConnectionTests {
    @Test func freshAsksTheWorkerToCloseAndDialsAnew() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request["Connection"] ?? "none") }
            let caller = try fleet.call()
            for _ in 0..<4 { #expect(try caller.fetch().text == "close") }
            #expect(worker.connections == 4)
            try worker.wait("all of them closed") { $0.open == 0 }
        }
    }

    @Test func reuseKeepsOneConnectionPerWorkerForItsNextJob() throws {
        try Fleet.run(Setup.http(pool: "worker-connections: reuse")) { fleet in
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request["Connection"] ?? "none") }
            for _ in 0..<3 {
                let caller = try fleet.call()
                for _ in 0..<4 { #expect(try caller.fetch().text == "none") }
            }
            #expect(worker.connections == 1)
            #expect(worker.jobs == 12)
            #expect(try fleet.counter("reused-connections") == 11)
            #expect(worker.violations == 0)
        }
    }

    @Test func aWorkerThatClosesItsIdleConnectionsFailsNobody() throws {
        try Fleet.run(Setup.http(pool: "worker-connections: reuse")) { fleet in
            // Closes behind each answer without having said so.
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                visit.begin()
                visit.finish()
                try visit.send(Reply.ok())
            }
            let caller = try fleet.call()
            for i in 0..<60 {
                #expect(try caller.fetch("/\(i)").status == 200)
                // Closed on its side; whether the dispatcher knows yet is the race.
                try worker.wait("the close") { $0.open == 0 }
            }
            #expect(worker.jobs == 60)
        }
    }

    /// The worker's close and our next job cross: nothing of the job was taken, so it is told again elsewhere, unseen.
    @Test func aJobThatCrossesAnIdleCloseIsSentAgain() throws {
        try Fleet.run(Setup.http(pool: "worker-connections: reuse")) { fleet in
            let closes = Gate()
            let worker = try fleet.serveScript { visit in
                while let request = try? visit.readRequest() {
                    visit.begin(request.target)
                    visit.finish()
                    try visit.send(Reply.ok())
                    if request.target == "/first" {
                        try closes.wait()
                        return
                    }
                }
            }
            let caller = try fleet.call()
            #expect(try caller.fetch("/first").status == 200)
            // The ticket is at the keeper; then the grant waits at the dispatcher, and behind it the close.
            try fleet[.poolKeeper].signal(SIGSTOP)
            let jobs = try fleet.counter("jobs")
            try caller.get("/second")
            try fleet.waitCounter("jobs", atLeast: jobs + 1)
            try fleet[.dispatcher].signal(SIGSTOP)
            try fleet[.poolKeeper].signal(SIGCONT)
            try fleet.waitPool("pods", "the grant") { $0.leases == 1 }
            closes.open()
            try worker.wait("the close") { $0.open == 0 }
            try fleet[.dispatcher].signal(SIGCONT)
            #expect(try caller.readResponse().status == 200)
            #expect(worker.names == ["/first", "/second"])
            #expect(try fleet.pool("pods").quarantined == 0, "nobody's fault")
        }
    }

    @Test func aWorkerThatSaysCloseIsNotKept() throws {
        try Fleet.run(Setup.http(pool: "worker-connections: reuse")) { fleet in
            let worker = try fleet.serveHTTP { _, _ in Reply.ok("", "Connection: close") }
            let caller = try fleet.call()
            for _ in 0..<3 { #expect(try caller.fetch().status == 200) }
            #expect(worker.connections == 3)
        }
    }

    /// Bytes that nobody asked for would be the next caller's response.
    @Test func aConnectionWithSurplusBytesIsNotKept() throws {
        try Fleet.run(Setup.http(pool: "worker-connections: reuse")) { fleet in
            let worker = try fleet.serveScript { visit in
                while (try? visit.readRequest()) != nil {
                    visit.begin()
                    visit.finish()
                    try visit.send(Reply.ok("fine") + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
                }
            }
            for _ in 0..<10 {
                let response = try fleet.fetch()
                #expect(response.status == 200)
                #expect(response.text == "fine")
            }
            #expect(worker.connections == 10)
        }
    }
}
