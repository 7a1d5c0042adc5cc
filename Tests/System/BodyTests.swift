import Foundation
import Linux
import Model
import TestKit
import Testing

/// Bodies through a lease: framed, large, slow, early. Byte for byte.
@Suite(.ownThread) struct BodyTests {
    @Test func aChunkedResponsePassesByteForByte() throws {
        try Fleet.run(Setup.http()) { fleet in
            let body = "5\r\nabcde\r\n1;name=\"va;lue\"\r\nf\r\n00a\r\n0123456789\r\n0\r\nX-Trailer: yes\r\n\r\n"
            _ = try fleet.serveHTTP { _, _ in "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n" + body }
            let caller = try fleet.call()
            let with = try caller.fetch("/", "TE: trailers", "Connection: TE")
            #expect(String(decoding: with.rawBody, as: UTF8.self) == body)
            #expect(with.trailers.map(\.value) == ["yes"])
            let without = try caller.fetch()
            #expect(without.text == "abcdef0123456789")
            #expect(without.trailers.isEmpty, "trailers are for those who asked for them")
        }
    }

    @Test func chunkedUploadsArriveByteForByte() throws {
        try Fleet.run(Setup.http()) { fleet in
            let seen = Locked<HTTPMessage?>(nil)
            _ = try fleet.serveHTTP { request, _ in
                seen.set(request)
                return Reply.ok("\(request.body.count)")
            }
            var random = SeededGenerator(seed: 19)
            let caller = try fleet.call()
            for size in [0, 1, 15, 16, 17, 255, 256, 4095, 4096, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 300_000, 3_000_000] {
                for style in 0..<3 {
                    let content = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ style) }
                    var body: [UInt8] = []
                    var i = 0
                    while i < size {
                        let most = style == 0 ? size : style == 1 ? 4096 : 70_000
                        let count = style == 0 ? size : min(size - i, Int.random(in: 1...most, using: &random))
                        let hex = String(count, radix: 16, uppercase: style == 1)
                        body += Array("\(style == 2 ? "000" : "")\(hex)\(style == 1 ? ";ext=1;q=\"a b\"" : "")\r\n".utf8)
                        body += content[i..<i + count] + [13, 10]
                        i += count
                    }
                    body += Array((style == 0 ? "0\r\n\r\n" : "0\r\nX-Sum: \(size)\r\n\r\n").utf8)
                    let wantsTrailers = style == 2
                    try caller.send(
                        "POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                            + (wantsTrailers ? "TE: trailers\r\nConnection: TE\r\n" : "") + "\r\n")
                    // Cut at odd places.
                    var from = 0
                    while from < body.count {
                        let end = min(body.count, from + Int.random(in: 1...(style == 1 ? 9_000 : 200_000), using: &random))
                        try caller.send(Array(body[from..<end]))
                        from = end
                    }
                    #expect(try caller.readResponse().text == "\(size)")
                    let request = try #require(seen.get())
                    #expect(request.body == content, "\(size) bytes, style \(style)")
                    if style == 0 || wantsTrailers { #expect(request.rawBody == body, "\(size) bytes, style \(style)") }
                    #expect(request.trailers.map(\.value) == (wantsTrailers ? ["\(size)"] : []))
                    #expect(request["Content-Length"] == nil)
                }
            }
        }
    }

    @Test func anUploadWhoseWindowClosesInTheMiddleOfALineGoesOn() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { request, _ in Reply.ok("\(request.body.count)") }
            // Nearly every byte belongs to a line, so every cut is in one.
            let line = "1;" + String(repeating: "x", count: 180) + "\r\ny\r\n"
            let count = 30_000
            let body = Array((String(repeating: line, count: count) + "0\r\n\r\n").utf8)
            for _ in 0..<3 {
                let caller = try fleet.call()
                try caller.send("POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                try caller.send(body)
                #expect(try caller.readResponse().text == "\(count)")
            }
        }
    }

    @Test func aDownloadWhoseWindowClosesInTheMiddleOfALineGoesOn() throws {
        try Fleet.run(Setup.http()) { fleet in
            let line = "1;" + String(repeating: "x", count: 180) + "\r\ny\r\n"
            let count = 30_000
            let reply = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + String(repeating: line, count: count) + "0\r\n\r\n"
            _ = try fleet.serveHTTP { _, _ in reply }
            for _ in 0..<3 { #expect(try fleet.fetch().body.count == count) }
        }
    }

    @Test func pipelinedHeadsWhoseWindowClosesInTheMiddleOfOneGoOn() throws {
        try Fleet.run(Setup.http(pool: "worker-connections: reuse")) { fleet in
            _ = try fleet.serveHTTP { request, _ in Reply.ok(request.target) }
            let count = 1500
            let padding = String(repeating: "z", count: 900)
            let all = (0..<count).map { "GET /\($0) HTTP/1.1\r\nHost: x\r\nX-Padding: \(padding)\r\n\r\n" }.joined()
            let caller = try fleet.call()
            let sent = Gate()
            Thread {
                // A failure shows as a response that does not come.
                try? caller.send(all)
                sent.open()
            }.start()
            for i in 0..<count { #expect(try caller.readResponse().text == "/\(i)") }
            try sent.wait("the sending half")
        }
    }

    @Test func largeBodiesPassBothWaysByteForByte() throws {
        try Fleet.run(Setup.http()) { fleet in
            let size = 24 << 20
            let pattern = Pattern(size)
            _ = try fleet.serveScript { visit in
                let head = try visit.readRequestHead()
                let problem = try pattern.receive(on: visit)
                try visit.send(
                    "HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\nX-Problem: \(problem ?? "none")\r\nX-Length: \(head["Content-Length"] ?? "")\r\n\r\n"
                )
                try pattern.send(on: visit)
            }
            let caller = try fleet.call()
            try caller.send("POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: \(size)\r\n\r\n")
            try pattern.send(on: caller)
            let head = try caller.readResponseHead()
            #expect(head["X-Problem"] == "none")
            #expect(head["X-Length"] == "\(size)")
            #expect(try pattern.receive(on: caller) == nil)
            // In step: the next request of this connection is served.
            try caller.send("POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: \(size)\r\n\r\n")
            try pattern.send(on: caller)
            #expect(try caller.readResponseHead()["X-Problem"] == "none")
            #expect(try pattern.receive(on: caller) == nil)
        }
    }

    @Test func aCallerThatDoesNotReadHoldsUpItsWorkerAndNothingIsBuffered() throws {
        try Fleet.run(Setup.http()) { fleet in
            let size = 64 << 20
            let pattern = Pattern(size)
            let sent = Locked(0)
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequest()
                try visit.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
                try pattern.send(on: visit) { sent.set($0) }
            }
            let caller = try RawCaller(to: fleet.listener(), receiveBuffer: 64 * 1024)
            try caller.get()
            _ = try caller.receive(through: "\r\n\r\n")
            // The worker goes on until everything between it and the caller is full.
            var last = -1
            try fleet[.dispatcher].wait("the worker to stand still") {
                let now = sent.get()
                defer { last = now }
                return now > 0 && now == last
            }
            #expect(sent.get() < 32 << 20)
            #expect(try fleet.memory(of: .dispatcher) < 160 << 20)
            #expect(try pattern.receive(on: caller) == nil)
        }
    }

    @Test func aHundredContinueComesFromTheWorkerAndNeverWhileParked() throws {
        try Fleet.run(Setup.http()) { fleet in
            let caller = try fleet.call()
            try caller.send("POST /up HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            try fleet.waitPool("pods", "a held caller that has waited for a while") { $0.oldestWaitMs >= 400 }
            #expect(caller.pending.isEmpty)
            _ = try fleet.serveScript { visit in
                let head = try visit.readRequestHead()
                try visit.send("HTTP/1.1 100 Continue\r\n\r\n")
                let body = try visit.receive(5)
                try visit.send(Reply.ok((head["Expect"] ?? "") + String(decoding: body, as: UTF8.self)))
            }
            #expect(try caller.readResponse(interim: true).status == 100)
            try caller.send("hello")
            #expect(try caller.readResponse().text == "100-continuehello")
        }
    }

    @Test func anEarlyResponseIsRelayedWhole() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveScript { visit in
                _ = try visit.readRequestHead()
                try visit.send("HTTP/1.1 413 No\r\nContent-Length: 6\r\nConnection: close\r\n\r\nenough")
            }
            for _ in 0..<5 {
                let caller = try fleet.call()
                try caller.send("POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
                try caller.send([UInt8](repeating: 65, count: 20_000))
                let response = try caller.readResponse()
                #expect(response.status == 413)
                #expect(response.text == "enough")
                #expect(response["Connection"] == "close")
                #expect(try caller.expectEnd() == .fin)
            }
        }
    }
}
