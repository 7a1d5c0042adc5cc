import Linux
import Model
import TestKit
import Testing

/// HTTP/1.x through a lease: what passes, what changes, byte for byte.
@Suite(.ownThread) struct HTTPTests {
    @Test func everyRequestOfAConnectionHasALeaseOfItsOwn() throws {
        try Fleet.run(Setup.http()) { fleet in
            let workers = try (0..<2).map { _ in fleet.own(try TestWorker(http: { _, _ in Reply.ok() })) }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            let caller = try fleet.call()
            var tokens: Set<String> = []
            for i in 0..<6 {
                let response = try caller.fetch("/\(i)")
                #expect(response.status == 200)
                #expect(response["Connection"] == nil)
                tokens.insert(try #require(response["Leasehold-Lease"]))
                try fleet.waitPool("pods", "the lease to end") { $0.free == 2 }
            }
            #expect(tokens.count == 6)
            #expect(workers.map(\.jobs) == [3, 3], "the least recently used comes first")
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrderByteForByte() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { request, _ in Reply.ok("\(request.method) \(request.target) \(request.text)") }
            var all = ""
            var wanted: [String] = []
            for i in 0..<30 {
                if i.isMultiple(of: 3) {
                    let body = String(repeating: "\(i % 10)", count: i * 7)
                    all += "POST /\(i) HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                    wanted.append("POST /\(i) \(body)")
                } else if i % 3 == 1 {
                    all += "PUT /\(i) HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n"
                    wanted.append("PUT /\(i) abcd")
                } else {
                    all += "GET /\(i) HTTP/1.1\r\nHost: x\r\n\r\n"
                    wanted.append("GET /\(i) ")
                }
            }
            let atOnce = try fleet.call()
            try atOnce.send(all)
            for text in wanted { #expect(try atOnce.readResponse().text == text) }
            // The same, cut at odd places.
            let inPieces = try fleet.call()
            let bytes = Array(all.utf8)
            var random = SeededGenerator(seed: 3)
            var i = 0
            while i < bytes.count {
                let end = min(bytes.count, i + Int.random(in: 1...40, using: &random))
                try inPieces.send(Array(bytes[i..<end]))
                i = end
            }
            for text in wanted { #expect(try inPieces.readResponse().text == text) }
        }
    }

    @Test func anHTTP10CallerIsAnsweredInItsVersion() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.serveHTTP { request, _ in
                switch request.target {
                case "/chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX: y\r\n\r\n"
                case "/hints": "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + Reply.ok("hints")
                default: Reply.ok(request.startLine)
                }
            }
            let plain = try fleet.call()
            try plain.send("GET /plain HTTP/1.0\r\n\r\n")
            let response = try plain.readResponse()
            #expect(response.startLine == "HTTP/1.0 200 OK")
            #expect(response.text == "GET /plain HTTP/1.1")
            #expect(try plain.expectEnd() == .fin)

            let chunked = try fleet.call()
            try chunked.send("GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            let decoded = try chunked.readResponse()
            #expect(decoded["Transfer-Encoding"] == nil)
            #expect(decoded.text == "abcdefg", "close-delimited: its length was not known")
            #expect(try chunked.expectEnd() == .fin)

            let kept = try fleet.call()
            for target in ["/one", "/hints", "/two"] {
                try kept.send("GET \(target) HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                let response = try kept.readResponse(interim: true)
                #expect(response.status == 200, "no 1xx for HTTP/1.0")
                #expect(response["Connection"]?.lowercased() == "keep-alive")
            }
            #expect(worker.violations == 0)
        }
    }

    @Test func responsesWithoutABodyLeaveTheConnectionInStep() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveScript { visit in
                while let request = try? visit.readRequestHead() {
                    switch (request.method, request.target) {
                    case ("HEAD", _): try visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    case (_, "/204"): try visit.send("HTTP/1.1 204 No Content\r\n\r\n")
                    case (_, "/304"): try visit.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"x\"\r\n\r\n")
                    default: try visit.send(Reply.ok(request.target))
                    }
                    if request.has("Connection", "close") { return }
                }
            }
            let caller = try fleet.call()
            try caller.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
            let head = try caller.readResponse(to: "HEAD")
            #expect(head["Content-Length"] == "100000")
            #expect(try caller.fetch("/204").status == 204)
            let notModified = try caller.fetch("/304")
            #expect(notModified.status == 304)
            #expect(notModified["ETag"] == "\"x\"")
            #expect(try caller.fetch("/last").text == "/last")
        }
    }

    /// What is left of a line pins the whole buffer that it came in. On loopback that can be all of the window.

    @Test func interimResponsesPassBeforeTheFinalOne() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { _, _ in
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\nLeasehold-Lease: forged\r\n\r\n"
                    + Reply.ok("late")
            }
            let caller = try fleet.call()
            try caller.get()
            let hints = try caller.readResponse(interim: true)
            #expect(hints.status == 103)
            #expect(hints["Link"] == "</a>")
            let processing = try caller.readResponse(interim: true)
            #expect(processing.status == 102)
            #expect(processing["Leasehold-Lease"] == nil)
            #expect(try caller.readResponse(interim: true).text == "late")
        }
    }

    /// A response that begins before the request is whole is relayed, then both sides are closed.

    @Test func hopByHopFieldsStayOnTheirHop() throws {
        try Fleet.run(Setup.http()) { fleet in
            let seen = Locked<HTTPMessage?>(nil)
            _ = try fleet.serveHTTP { request, _ in
                seen.set(request)
                return Reply.ok("", "X-Answer: 1", "X-Private: 1", "Connection: X-Private", "Keep-Alive: timeout=5", "Proxy-Connection: x")
            }
            let caller = try fleet.call()
            let response = try caller.fetch(
                "/?a=%41", "Connection: X-Drop, keep-alive", "X-Drop: 1", "Keep-Alive: 300", "Proxy-Connection: keep-alive", "TE: gzip",
                "Upgrade: h2c", "HTTP2-Settings: AAAA", "X-Keep: ü\t 1", "Accept:  a , b")
            let request = try #require(seen.get())
            for name in ["X-Drop", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "HTTP2-Settings"] {
                #expect(request[name] == nil, "\(name)")
            }
            #expect(request.target == "/?a=%41")
            let head = String(decoding: request.head, as: UTF8.self)
            #expect(head.contains("\r\nX-Keep: ü\t 1\r\nAccept:  a , b\r\n"), "end-to-end fields stay byte for byte and in order")
            #expect(response["X-Answer"] == "1")
            for name in ["X-Private", "Keep-Alive", "Proxy-Connection"] { #expect(response[name] == nil, "\(name)") }
        }
    }

    @Test func theTargetIsForwardedByteForByte() throws {
        try Fleet.run(Setup.http()) { fleet in
            _ = try fleet.serveHTTP { request, _ in Reply.ok("\(request.target) \(request["Host"] ?? "")") }
            let caller = try fleet.call()
            for (target, host) in [
                ("http://a.example:81/x?y=%7e", "a.example:81"), ("/%7Euser/./b/../c;p=1?q=a//b", "x"), ("/a%2Fb%5cc", "x"),
                ("//double", "x"),
            ] {
                try caller.send("GET \(target) HTTP/1.1\r\nHost: \(host)\r\n\r\n")
                #expect(try caller.readResponse().text == "\(target) \(host)")
            }
        }
    }

    @Test func whatACallerClaimsIsReplacedUnlessItIsTrusted() throws {
        let claims = [
            "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https",
            "Leasehold-Lease: forged",
            "Leasehold-Tenant: gold", "Leasehold-Anything: x", "leasehold-busy: 1", "X-Real: stays",
        ]
        let request = "GET / HTTP/1.1\r\nHost: h.example\r\n" + claims.map { "\($0)\r\n" }.joined() + "\r\n"
        try Fleet.run(Setup.http()) { fleet in
            let seen = Locked<HTTPMessage?>(nil)
            _ = try fleet.serveHTTP { request, _ in
                seen.set(request)
                return Reply.ok("", "Leasehold-Reason: forged", "Leasehold-Anything: forged")
            }
            let caller = try fleet.call()
            try caller.send(request)
            let response = try caller.readResponse()
            let got = try #require(seen.get())
            #expect(got["X-Forwarded-For"] == "127.0.0.1")
            #expect(got["Forwarded"] == "for=127.0.0.1;host=\"h.example\";proto=http")
            #expect(got["X-Forwarded-Host"] == "h.example")
            #expect(got["X-Forwarded-Proto"] == "http")
            #expect(got["Leasehold-Lease"]?.hasPrefix("pods/") == true)
            for name in ["Leasehold-Tenant", "Leasehold-Anything", "Leasehold-Busy"] { #expect(got[name] == nil, "\(name)") }
            #expect(got["X-Real"] == "stays")
            #expect(response["Leasehold-Reason"] == nil)
            #expect(response["Leasehold-Anything"] == nil)
        }
        try Fleet.run(Setup.http(listener: "trust: { from: [127.0.0.0/8] }")) { fleet in
            let seen = Locked<HTTPMessage?>(nil)
            _ = try fleet.serveHTTP { request, _ in
                seen.set(request)
                return Reply.ok()
            }
            let caller = try fleet.call()
            try caller.send(request)
            _ = try caller.readResponse()
            let got = try #require(seen.get())
            #expect(got["X-Forwarded-For"] == "6.6.6.6, 127.0.0.1")
            #expect(got["Forwarded"] == "for=6.6.6.6, for=127.0.0.1;host=\"h.example\";proto=http")
            #expect(got["X-Forwarded-Host"] == "evil")
            #expect(got["X-Forwarded-Proto"] == "https")
            #expect(got["Leasehold-Lease"]?.hasPrefix("pods/") == true)
            #expect(got["Leasehold-Anything"] == nil)
        }
    }

    @Test func whatCallersSeeOfALeaseIsConfigured() throws {
        try Fleet.run(Setup.http(listener: "expose: []")) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok() }
            let response = try fleet.fetch()
            for name in ["Leasehold-Lease", "Server-Timing", "Leasehold-Endpoint"] { #expect(response[name] == nil, "\(name)") }
        }
        try Fleet.run(Setup.http(listener: "expose: [endpoint, timing]")) { fleet in
            _ = try fleet.serveHTTP { _, _ in Reply.ok("", "Server-Timing: render;dur=5") }
            let response = try fleet.fetch()
            #expect(response["Leasehold-Lease"] == nil)
            #expect(response["Leasehold-Endpoint"] != nil)
            #expect(response["Server-Timing"]?.hasPrefix("render;dur=5, hold;dur=") == true)
        }
    }
}
