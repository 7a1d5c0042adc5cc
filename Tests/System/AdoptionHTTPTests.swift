import Foundation
import Linux
import Model
import TestKit
import Testing

/// A dispatcher is killed at a known place of an exchange; the next process in its seat goes on there.
@Suite(.ownThread) struct AdoptionHTTPTests {
    /// How a message says where it ends.
    enum Framing: String, CaseIterable, CustomTestStringConvertible {
        case length
        case chunked
        case untilClose

        var testDescription: String { rawValue }

        func head(_ start: String, _ length: Int) -> String {
            switch self {
            case .length: "\(start)\r\nContent-Length: \(length)\r\n\r\n"
            case .chunked: "\(start)\r\nTransfer-Encoding: chunked\r\n\r\n"
            case .untilClose: "\(start)\r\nConnection: close\r\n\r\n"
            }
        }

        func wrap(_ bytes: [UInt8]) -> [UInt8] {
            self == .chunked ? Array("\(String(bytes.count, radix: 16))\r\n".utf8) + bytes + [13, 10] : bytes
        }

        var end: [UInt8] { self == .chunked ? Array("0\r\n\r\n".utf8) : [] }
    }

    private func content(_ count: Int, _ seed: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: ($0 &+ seed) &* 2_654_435_761 >> 11) }
    }

    private func expectNoLoss(_ fleet: Fleet, sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(try fleet.counter("adoption-losses") == 0, sourceLocation: sourceLocation)
        #expect(try fleet.counter("adoption-cut-heads") == 0, sourceLocation: sourceLocation)
    }

    @Test func anIdleConnectionIsKeptForItsNextRequest() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request.target) }
            let caller = try seat.call()
            let fresh = try seat.call()
            for round in 0..<3 {
                #expect(try caller.fetch("/\(round)").text == "/\(round)")
                try seat.kill()
                try expectNoLoss(fleet)
                // One that has never said anything, too.
                #expect(try fleet.counter("adopted-callers") == 2)
            }
            #expect(try caller.fetch("/last").text == "/last")
            #expect(try fresh.fetch("/fresh").text == "/fresh")
            #expect(worker.names == ["/0", "/1", "/2", "/last", "/fresh"])
        }
    }

    @Test func parkedRequestsKeepTheirPlaceAndTheirBudget() throws {
        try Seat.run(Setup.http(pool: "hold: { timeout: 60s }")) { fleet, seat in
            let hasty = try seat.call()
            let callers = try (0..<10).map { _ in try seat.call() }
            try hasty.get("/hasty", "Prefer: wait=2")
            for (i, caller) in callers.enumerated() {
                try caller.get("/\(i)")
                try fleet.waitPool("pods", "\(i + 1) parked callers") { $0.queued >= i + 1 }
            }
            for _ in 0..<2 {
                try seat.kill()
                try expectNoLoss(fleet)
            }
            // Its budget ran on while there was nobody, and is not begun anew.
            let refusal = try hasty.readResponse()
            #expect(refusal.status == 503)
            try fleet.waitPool("pods", "the others") { $0.queued == 10 }
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request.target) }
            for (i, caller) in callers.enumerated() { #expect(try caller.readResponse().text == "/\(i)") }
            #expect(worker.names == (0..<10).map { "/\($0)" }, "in their old order")
        }
    }

    @Test func aParkedCallerThatLeavesWhileThereIsNobodyGivesItsPlaceBack() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let (leaves, stays) = (try seat.call(), try seat.call())
            try leaves.get("/leaves")
            try fleet.waitPool("pods", "one") { $0.queued == 1 }
            try stays.get("/stays")
            try fleet.waitPool("pods", "two") { $0.queued == 2 }
            try fleet[.dispatcher].kill()
            leaves.close()
            try fleet.waitPool("pods", "one gone") { $0.queued == 1 }
            try seat.sit()
            let worker = try fleet.serveHTTP { request, _ in Reply.ok(request.target) }
            #expect(try stays.readResponse().text == "/stays")
            #expect(worker.names == ["/stays"])
            try expectNoLoss(fleet)
        }
    }

    @Test(arguments: [Framing.length, .chunked], [0, 1, 700, 150_000])
    func aRequestBodyGoesOn(_ framing: Framing, _ before: Int) throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let (first, second) = (content(before, 1), content(90_000, 2))
            let got = Locked<[UInt8]>([])
            let worker = try fleet.serveHTTP { request, _ in
                got.set(request.body)
                return Reply.ok("\(request.body.count)")
            }
            let caller = try seat.call()
            try caller.send(framing.head("POST /up HTTP/1.1\r\nHost: x", first.count + second.count))
            if before > 0 { try caller.send(framing.wrap(first)) }
            // Before that, it would be dialled anew: no byte has reached the worker.
            try fleet.waitCounter("escrowed", of: .poolKeeper, atLeast: 1)
            try seat.kill()
            // Half of a chunk comes before the next death.
            let rest = framing.wrap(second) + framing.end
            try caller.send(Array(rest.prefix(40_000)))
            try seat.kill()
            try caller.send(Array(rest.dropFirst(40_000)))
            #expect(try caller.readResponse().text == "\(before + 90_000)")
            #expect(got.get() == first + second)
            #expect(worker.connections == 1)
            #expect(try caller.fetch("/next").text == "0", "and the connection is kept")
            try expectNoLoss(fleet)
        }
    }

    @Test(arguments: Framing.allCases, [0, 1, 700, 150_000])
    func aResponseBodyGoesOn(_ framing: Framing, _ before: Int) throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let (first, second, third) = (content(before, 1), content(70_000, 2), content(30, 3))
            let total = first + second + third
            let (goOn, finish) = (Gate(), Gate())
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                visit.begin()
                try visit.send(Array(framing.head("HTTP/1.1 200 OK", total.count).utf8) + (before > 0 ? framing.wrap(first) : []))
                try goOn.wait()
                let rest = framing.wrap(second)
                // Not at a chunk's edge.
                try visit.send(Array(rest.prefix(20_011)))
                try visit.send(Array(rest.dropFirst(20_011).prefix(5)))
                try finish.wait()
                try visit.send(Array(rest.dropFirst(20_016)) + framing.wrap(third) + framing.end)
                visit.finish()
            }
            let caller = try seat.call(receiveBuffer: 16_384)
            try caller.get("/")
            _ = try caller.receive(through: "\r\n\r\n")
            try seat.kill()
            goOn.open()
            try seat.kill()
            finish.open()
            try seat.kill()
            #expect(try body(of: caller, framing, total.count) == total)
            #expect(worker.connections == 1 && worker.violations == 0 && worker.troubles.isEmpty)
            try fleet.waitPool("pods", "the lease to end") { $0.leases == 0 && $0.free == 1 }
            if framing != .untilClose {
                // The connection is the caller's for its next request.
                try caller.get("/next")
                #expect(try caller.receive(through: "\r\n\r\n").starts(with: Array("HTTP/1.1 200".utf8)))
            }
            try expectNoLoss(fleet)
        }
    }

    /// What comes behind a head, without its framing.
    private func body(of caller: RawCaller, _ framing: Framing, _ count: Int) throws -> [UInt8] {
        switch framing {
        case .length: return try caller.receive(count)
        case .chunked:
            var all: [UInt8] = []
            while true {
                let line = String(decoding: try caller.receive(through: "\r\n").dropLast(2), as: UTF8.self)
                guard let size = Int(line, radix: 16) else { throw TestFailure("not a chunk: \(line)") }
                all += try caller.receive(size)
                _ = try caller.receive(through: "\r\n")
                if size == 0 { return all }
            }
        case .untilClose:
            let (bytes, end) = try caller.receiveToEnd()
            #expect(end == .fin)
            return bytes
        }
    }

    @Test func anEarlyResponseIsRelayedToItsEnd() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let goOn = Gate()
            let body = content(50_000, 4)
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                visit.begin()
                try visit.send(Array("HTTP/1.1 403 No\r\nContent-Length: 50000\r\n\r\n".utf8) + body.prefix(100))
                try goOn.wait()
                try visit.send(Array(body.dropFirst(100)))
                visit.finish()
            }
            let caller = try seat.call()
            try caller.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome of it")
            _ = try caller.receive(through: "\r\n\r\n")
            try seat.kill()
            goOn.open()
            #expect(try caller.receive(50_000) == body)
            // Then both sides are closed: the request was never whole.
            #expect(try caller.expectEnd() == .fin)
            #expect(worker.troubles.isEmpty)
            try fleet.waitPool("pods", "the lease to end") { $0.leases == 0 }
            try expectNoLoss(fleet)
        }
    }

    @Test func theContinueThatACallerWaitsForComesFromTheWorkerAfterADeathToo() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let (asked, goOn) = (Gate(), Gate())
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                asked.open()
                try goOn.wait()
                try visit.send("HTTP/1.1 100 Continue\r\n\r\n")
                let body = try visit.receive(10)
                try visit.send(Reply.ok(String(decoding: body, as: UTF8.self)))
            }
            let caller = try seat.call()
            try caller.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
            try asked.wait()
            try seat.kill()
            goOn.open()
            #expect(try caller.receive(through: "\r\n\r\n").starts(with: Array("HTTP/1.1 100".utf8)))
            try seat.kill()
            try caller.send("0123456789")
            #expect(try caller.readResponse().text == "0123456789")
            try expectNoLoss(fleet)
        }
    }

    /// A job that was adopted and then goes back in line is all that it was: its body goes to the next worker.
    @Test(arguments: [false, true])
    func aJobThatGoesBackInLineAfterADeathTakesItsBodyAlong(_ isChunked: Bool) throws {
        try Seat.run(Setup.http(pool: "quarantine: { first: 50ms, most: 50ms }")) { fleet, seat in
            let (asked, goOn) = (Gate(), Gate())
            let worker = try fleet.serveScript { visit in
                let head = try visit.readRequestHead()
                if head.target == "/next" { return try visit.send(Reply.ok()) }
                visit.begin(head.target)
                defer { visit.finish() }
                if visit.number == 0 {
                    asked.open()
                    try goOn.wait()
                    return try visit.send("HTTP/1.1 503 Busy\r\nLeasehold-Busy: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                }
                try visit.send("HTTP/1.1 100 Continue\r\n\r\n")
                let body = try visit.receive(isChunked ? 20 : 10)
                try visit.send(Reply.ok(String(decoding: body, as: UTF8.self)))
            }
            let caller = try seat.call()
            let framing = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: 10"
            try caller.send("POST /up HTTP/1.1\r\nHost: x\r\n\(framing)\r\nExpect: 100-continue\r\n\r\n")
            try asked.wait()
            try seat.kill()
            try fleet.publish([])
            goOn.open()
            try fleet.waitPool("pods", "it goes back in line") { $0.queued == 1 }
            try fleet.serve([Pod("worker", at: worker.address)])
            #expect(try caller.receive(through: "\r\n\r\n").starts(with: Array("HTTP/1.1 100".utf8)))
            try caller.send(isChunked ? "a\r\n0123456789\r\n0\r\n\r\n" : "0123456789")
            let answer = try caller.readResponse()
            #expect(answer.status == 200 && answer.text.contains("0123456789"), "\(answer)")
            #expect(worker.names == ["/up", "/up"])
            #expect(try caller.fetch("/next").status == 200, "and nothing of it is taken for another request")
        }
    }

    /// Also one whose worker has said all it will say.
    @Test(arguments: [false, true])
    func anUpgradedConnectionGoesOn(_ workerIsSilent: Bool) throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let heard = Locked<[UInt8]>([])
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                visit.begin()
                try visit.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst\n")
                if workerIsSilent { visit.halfClose() }
                var all: [UInt8] = []
                while true {
                    let some = try visit.receiveSome(atMost: 1 << 20)
                    if some.isEmpty { break }
                    all += some
                    if !workerIsSilent { try visit.send(some) }
                }
                heard.set(all)
                if visit.end != .fin { throw TestFailure("the tunnel ended with \(visit.end.map { "\($0)" } ?? "?")") }
                visit.finish()
            }
            let caller = try seat.call()
            try caller.send("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            #expect(try caller.readResponse().status == 101)
            #expect(try caller.receive(through: "\n").elementsEqual("first\n".utf8))
            var said: [UInt8] = []
            for round in 0..<4 {
                let some = content(round * 30_000 + 10, round)
                try caller.send(some)
                said += some
                if !workerIsSilent { #expect(try caller.receive(some.count) == some) }
                if round == 2 { try seat.handOver() } else { try seat.kill() }
                #expect(try fleet.counter("adopted-sessions") == 1)
                try expectNoLoss(fleet)
            }
            caller.halfClose()
            #expect(try caller.expectEnd() == .fin)
            try worker.wait("the end of the tunnel") { $0.open == 0 }
            #expect(heard.get() == said)
            #expect(worker.troubles.isEmpty, "\(worker.troubles)")
            try fleet.waitPool("pods", "the lease to end") { $0.leases == 0 }
        }
    }

    @Test func aWorkerWhoseCallerIsGoneKeepsItsLeaseUntilItIsDone() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let gate = Gate()
            let worker = try fleet.serveHTTP { request, _ in
                if request.target == "/gone" { try gate.wait() }
                return Reply.ok(request.target)
            }
            let gone = try seat.call()
            try gone.get("/gone")
            try worker.wait("the job") { $0.running == 1 }
            gone.reset()
            try fleet.waitPool("pods", "the ending job") { $0.ending == 1 }
            let next = try seat.call()
            try next.get("/next")
            try fleet.waitPool("pods", "a parked caller") { $0.queued == 1 }
            try seat.kill()
            #expect(try fleet.pool("pods").leases == 1)
            try fleet.waitPool("pods", "it is still ending") { $0.ending == 1 && $0.queued == 1 }
            gate.open()
            #expect(try next.readResponse().text == "/next")
            #expect(worker.violations == 0)
            try expectNoLoss(fleet)
        }
    }

    /// The one case that is cut: nobody knows the rest of a head of which a part is on its way.
    @Test func aHeadThatIsOnItsWayOnlyInPartIsCutAndCounted() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let filler = String(repeating: "x", count: 7000)
            let fields = (0..<7).map { "X-\($0): \(filler)\r\n" }.joined()
            let worker = try fleet.serveHTTP { _, _ in "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\(fields)\r\nx" }
            let caller = try seat.call(receiveBuffer: 4096)
            let count = 400
            for _ in 0..<count { try caller.get("/") }
            // It reads nothing: at some head the socket is full.
            var (last, still) = (0, 0)
            try fleet[.dispatcher].wait("the pipeline to stand still") {
                still = worker.jobs == last && worker.running == 0 ? still + 1 : 0
                last = worker.jobs
                return last > 3 && still > 150
            }
            #expect(worker.jobs < count)
            try seat.kill()
            #expect(try fleet.counter("adoption-cut-heads") == 1)
            #expect(try caller.receiveToEnd().end == .reset)
            try fleet.waitPool("pods", "the lease to end") { $0.leases == 0 }
        }
    }
}
