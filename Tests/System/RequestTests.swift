import Linux
import Model
import TestKit
import Testing

/// Requests that no worker ever sees, and what their callers are told.
@Suite(.ownThread) struct RequestTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var bytes: String
        var status: Int
        var reason: String
        var error: String

        init(_ name: String, _ bytes: String, _ status: Int = 400, _ reason: String = "bad-request", _ error: String = "http_request_error")
        {
            testDescription = name
            self.bytes = bytes
            self.status = status
            self.reason = reason
            self.error = error
        }
    }

    static let cases: [Case] = [
        Case("no Host", "GET / HTTP/1.1\r\n\r\n"),
        Case("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        Case("Host and target differ", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
        Case("both lengths", "POST /zebra HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        Case("differing lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nzebra"),
        Case("a list of differing lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nzebra"),
        Case("a signed length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nzebra"),
        Case("a length that overflows", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nzebra"),
        Case("an unknown coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"),
        Case("chunked twice", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"),
        Case("identity", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n"),
        Case("chunked is not last", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
        Case("a coding behind a vertical tab", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n"),
        Case("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Case("a bare line feed", "GET / HTTP/1.1\nHost: zebra\n\n"),
        Case("a bare line feed among fields", "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n"),
        Case("a bare carriage return", "GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n"),
        Case("NUL in a value", "GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n"),
        Case("a folded line", "GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n zebra\r\n\r\n"),
        Case("space before the colon", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nzebra"),
        Case("no name", "GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n"),
        Case("a first line that begins with a space", " GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        Case("two spaces", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"),
        Case("no version", "GET /zebra\r\n\r\n"),
        Case("a fragment", "GET /#zebra HTTP/1.1\r\nHost: x\r\n\r\n"),
        Case("Connection names Host", "GET / HTTP/1.1\r\nHost: x\r\nConnection: host\r\n\r\n"),
        Case("Connection names a length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: content-length\r\n\r\nzebra"),
        Case("Connection names Leasehold-Lease", "GET / HTTP/1.1\r\nHost: x\r\nConnection: leasehold-lease\r\n\r\n"),
        Case("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-not-supported"),
        Case("HTTP/3", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "version-not-supported"),
        Case("CONNECT", "CONNECT zebra:443 HTTP/1.1\r\nHost: zebra:443\r\n\r\n", 501, "not-implemented"),
        Case("TRACE", "TRACE /zebra HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method-not-allowed", "http_request_denied"),
        Case("an expectation", "POST / HTTP/1.1\r\nHost: x\r\nExpect: zebra\r\nContent-Length: 5\r\n\r\nzebra", 417, "expectation-failed"),
        Case(
            "a head that is too large", "GET / HTTP/1.1\r\nHost: x\r\nX: \(String(repeating: "zebra", count: 500))\r\n\r\n", 431,
            "head-too-large"),
        Case(
            "a target that is too large", "GET /\(String(repeating: "zebra", count: 500)) HTTP/1.1\r\nHost: x\r\n\r\n", 431,
            "head-too-large"),
        Case(
            "a head without an end", "GET / HTTP/1.1\r\nHost: x\r\n\(String(repeating: "X: zebra\r\n", count: 300))", 431, "head-too-large"),
        Case("too many fields", "GET / HTTP/1.1\r\nHost: x\r\n\(String(repeating: "A:\r\n", count: 400))\r\n", 431, "head-too-large"),
        Case("a body that is too large", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\nzebra", 413, "body-too-large"),
    ]

    /// One fleet for all of them: each is a connection of its own.
    @Test func whatIsNotValidIsRefusedAndNeverReachesAWorker() throws {
        try Fleet.run(Setup.http(listener: "limits: { head: 2KiB, body: 100000 }")) { fleet in
            let worker = try fleet.serveHTTP { _, _ in Reply.ok() }
            for one in Self.cases {
                let caller = try fleet.call()
                try caller.send(one.bytes)
                do {
                    let response = try caller.readResponse()
                    #expect(response.status == one.status, "\(one.testDescription)")
                    try expectAnswer(response, one.status, one.reason, error: one.error)
                    #expect(response["Connection"] == "close", "\(one.testDescription)")
                    #expect(try caller.expectEnd() == .fin, "\(one.testDescription)")
                    if one.status == 405 { #expect(response["Allow"] != nil) }
                } catch {
                    Issue.record("\(one.testDescription): \(error)")
                }
            }
            #expect(worker.connections == 0)
            #expect(try fleet.counter("refused-bad-request") == Self.cases.filter { $0.status == 400 }.count)
            #expect(try fleet.fetch().status == 200)
        }
    }

    @Test(arguments: [
        "x\r\n", "5\r\nabc", "5 \r\nabcde\r\n", "5\nabcde\r\n", "FFFFFFFFFFFFFFFFF\r\n", "-5\r\n", "0x5\r\nabcde\r\n",
        "3\r\nabcX\r\n0\r\n\r\n",
    ])
    func aBadChunkIs400(_ chunk: String) throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                visit.begin()
                // It never sees an end of this body.
                let (bytes, _) = try visit.receiveToEnd()
                #expect(!bytes.suffix(5).elementsEqual("0\r\n\r\n".utf8))
            }
            let caller = try fleet.call()
            try caller.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            try worker.wait("the job") { $0.jobs == 1 }
            try caller.send(chunk)
            guard chunk != "5\r\nabc" else {
                // Cut off in its middle: it left.
                caller.halfClose()
                try worker.wait("the end of the job") { $0.running == 0 && $0.open == 0 }
                return
            }
            try expectAnswer(try caller.readResponse(), 400, "bad-request", error: "http_request_error")
            try worker.wait("the end of the job") { $0.running == 0 && $0.open == 0 }
        }
    }

    @Test func aChunkedBodyThatGrowsTooLargeIs413() throws {
        try Fleet.run(Setup.http(listener: "limits: { body: 1000 }")) { fleet in
            let worker = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                visit.begin()
                _ = try visit.receiveToEnd()
            }
            let caller = try fleet.call()
            try caller.send("POST /zebra HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in 0..<11 { try caller.send("64\r\n\(String(repeating: "z", count: 100))\r\n") }
            try expectAnswer(try caller.readResponse(), 413, "body-too-large", error: "http_request_error")
            try worker.wait("the end of the job") { $0.running == 0 && $0.jobs == 1 }
        }
    }

    @Test func aHeadThatTakesTooLongIs408AndSilenceIsClosed() throws {
        try Fleet.run(Setup.http(listener: "deadlines: { head: 150ms, keep-alive: 150ms }")) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            let slow = try fleet.call()
            let silent = try fleet.call()
            let kept = try fleet.call()
            try slow.send("GET /zebra HTTP/1.1\r\nHost: x\r\nX-Ze")
            #expect(try kept.fetch().status == 200)
            let response = try slow.readResponse()
            try expectAnswer(response, 408, "head-timeout", error: "http_request_error")
            #expect(response["Connection"] == "close")
            #expect(try slow.expectEnd() == .fin)
            #expect(try silent.expectEnd() == .fin)
            #expect(try kept.expectEnd() == .fin)
        }
    }

    @Test func optionsForTheServerItselfIsAnsweredByUs() throws {
        try Fleet.run(Setup.http()) { fleet in
            let caller = try fleet.call()
            try caller.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
            let response = try caller.readResponse()
            #expect(response.status == 200)
            #expect(response["Allow"] != nil)
            #expect(response["X-Content-Type-Options"] == "nosniff")
            #expect(response.body.isEmpty)
            try caller.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try caller.readResponse().status == 200)
        }
    }

    /// An uploader that is refused sees the answer and an orderly end, though its body was not read.
    @Test func aRefusedUploaderSeesTheAnswerAndNoReset() throws {
        try Fleet.run(Setup.http(pool: "hold: { no-endpoints-timeout: 50ms }")) { fleet in
            for _ in 0..<5 {
                let caller = try fleet.call()
                try caller.send("POST /zebra HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
                try caller.send([UInt8](repeating: 122, count: 30_000))
                let response = try caller.readResponse()
                try expectAnswer(response, 503, "no-endpoints", error: "destination_unavailable", retryAfter: true)
                #expect(response["Connection"] == "close")
                // The rest of its body is still taken off the wire.
                try caller.send([UInt8](repeating: 122, count: 150_000))
                caller.halfClose()
                #expect(try caller.expectEnd() == .fin)
            }
        }
    }

    @Test func aCallerThatFloodsARefusalIsClosedInTheEnd() throws {
        try Fleet.run(Setup.http(pool: "hold: { no-endpoints-timeout: 0s }")) { fleet in
            let caller = try fleet.call()
            try caller.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
            #expect(try caller.readResponse().status == 503)
            let block = [UInt8](repeating: 122, count: 64 * 1024)
            var sent = 0
            while sent < 64 << 20, (try? caller.send(block)) != nil { sent += block.count }
            #expect(sent < 64 << 20)
        }
    }
}
