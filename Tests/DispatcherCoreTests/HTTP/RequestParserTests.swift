import Model
import Testing

@testable import DispatcherCore

struct RequestParserTests {
    @Test(arguments: allRequestCases) func verdict(_ item: RequestCase) {
        let result = parseRequest(item.bytes)
        #expect(result.refusal == item.verdict)
        #expect((result.head != nil) == (item.verdict == nil))
        if result.head != nil { #expect(result.head?.length == item.bytes.count) }
    }

    @Test(arguments: allRequestCases) func prefixNeverGetsAnotherVerdictThanTheWhole(_ item: RequestCase) {
        let whole = parseRequest(item.bytes)
        for count in 0..<item.bytes.count {
            switch parseRequest(Array(item.bytes[..<count])) {
            case .needMore: break
            case .refused(let refusal): #expect(refusal.reason == whole.refusal, "after \(count) bytes")
            case .request: Issue.record("accepted \(count) bytes of \(item.bytes.count)")
            }
        }
        // What follows belongs to the next message, whatever it is.
        for tail in [[0], [13, 10], latin1("GET / HTTP/1.1\r\n"), [UInt8](repeating: 0xff, count: 40)] {
            let result = parseRequest(item.bytes + tail)
            #expect(result.refusal == whole.refusal)
            #expect(result.head?.length == whole.head?.length)
        }
    }

    @Test func headIsDescribedByRangesIntoTheBytes() throws {
        let request =
            "GET /a/b?c=d HTTP/1.1\r\nhOST: X.example:80\r\nPrefer: respond-async, wait=7\r\nPriority: i, u=5\r\n"
            + "Leasehold-Affinity: key 1\r\nLeasehold-Tenant: acme\r\n\r\n"
        let bytes = latin1(request)
        let head = try #require(parseRequest(bytes, from: friend).head)
        func part(_ range: ByteRange) -> String { bytes.withUnsafeBytes { text($0.slice(range)) } }
        #expect(part(head.methodRange) == "GET" && part(head.target) == "/a/b?c=d" && part(head.path) == "/a/b")
        #expect(part(head.host) == "X.example:80" && part(head.affinity) == "key 1" && part(head.tenant) == "acme")
        #expect(head.method == .get && head.version == .v11 && head.form == .origin && head.framing == .none)
        #expect(head.urgency == Urgency(rawValue: 5) && head.preferWait == 7 && head.traits == .keepsAlive && head.upgrade.isEmpty)
    }

    @Test func absoluteFormGivesPathAndHost() throws {
        let bytes = latin1("GET http://x.example:80 HTTP/1.0\r\n\r\n")
        let head = try #require(parseRequest(bytes).head)
        #expect(head.form == .absolute && head.path.isEmpty)
        #expect(bytes.withUnsafeBytes { text($0.slice(head.host)) } == "x.example:80")
        let query = latin1("GET http://x?/a HTTP/1.1\r\nHost: X:80\r\n\r\n")
        #expect(try #require(parseRequest(query).head).path.isEmpty)
    }

    @Test(arguments: [
        ("", BodyFraming.none), ("Content-Length: 0\r\n", .length(0)), ("Content-Length: 12\r\n", .length(12)),
        ("Transfer-Encoding: Chunked\r\n", .chunked),
    ]) func framing(_ fields: String, _ framing: BodyFraming) {
        #expect(parseRequest(latin1("PUT / HTTP/1.1\r\nHost: x\r\n\(fields)\r\n")).head?.framing == framing)
    }

    @Test(arguments: [
        ("1.1", "", true), ("1.1", "close", false), ("1.1", "keep-alive", true), ("1.1", "keep-alive, Close", false), ("1.0", "", false),
        ("1.0", "Keep-Alive", true), ("1.0", "close", false), ("1.0", "keep-alive, close", false),
    ]) func keepAlive(_ version: String, _ connection: String, _ keeps: Bool) throws {
        let head = try #require(parseRequest(latin1("GET / HTTP/\(version)\r\nHost: x\r\nConnection: \(connection)\r\n\r\n")).head)
        #expect(head.traits.contains(.keepsAlive) == keeps)
        #expect(head.traits.contains(.isHTTP10) == (version == "1.0"))
    }

    @Test(arguments: [
        ("GET", "1.1", "Upgrade: websocket\r\nConnection: Upgrade\r\n", "websocket"),
        ("GET", "1.1", "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n", "WebSocket"),
        ("GET", "1.1", "Upgrade: h2c, example/2 , websocket\r\nConnection: upgrade\r\n", "example/2"),
        ("GET", "1.1", "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: upgrade\r\n", "websocket"),
        ("GET", "1.1", "Upgrade: websocket\r\n", nil),
        ("GET", "1.1", "Connection: upgrade\r\n", nil),
        ("GET", "1.1", "Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AA\r\n", nil),
        ("GET", "1.1", "Upgrade: websocket2\r\nConnection: upgrade\r\n", nil),
        ("GET", "1.0", "Upgrade: websocket\r\nConnection: upgrade\r\n", nil),
        ("POST", "1.1", "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 1\r\n", nil),
        ("POST", "1.1", "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n", "websocket"),
    ]) func onlyAllowedUpgradesAreHonoured(_ method: String, _ version: String, _ fields: String, _ token: String?) throws {
        let bytes = latin1("\(method) / HTTP/\(version)\r\nHost: x\r\n\(fields)\r\n")
        let head = try #require(parseRequest(bytes).head)
        #expect(head.traits.contains(.upgrades) == (token != nil))
        #expect(bytes.withUnsafeBytes { text($0.slice(head.upgrade)) } == token ?? "")
    }

    @Test(arguments: [
        ("1.1", "Content-Length: 4\r\n", true), ("1.1", "Transfer-Encoding: chunked\r\n", true), ("1.1", "", false),
        ("1.0", "Content-Length: 4\r\n", false),
    ]) func continueIsExpectedOnlyWithABodyIn11(_ version: String, _ fields: String, _ expects: Bool) throws {
        let bytes = latin1("POST / HTTP/\(version)\r\nHost: x\r\nExpect: 100-continue\r\n\(fields)\r\n")
        #expect(try #require(parseRequest(bytes).head).traits.contains(.expectsContinue) == expects)
    }

    @Test(arguments: [
        ("trailers", true), ("deflate;q=0.5, Trailers", true), ("trailersx", false), ("trailers;q=1", false), ("", false),
    ]) func trailersAreTakenWhenAskedFor(_ te: String, _ takes: Bool) throws {
        let head = try #require(parseRequest(latin1("GET / HTTP/1.1\r\nHost: x\r\nTE: \(te)\r\n\r\n")).head)
        #expect(head.traits.contains(.takesTrailers) == takes)
    }

    @Test(
        arguments: [
            ("wait=0", 0), ("wait=10", 10), ("WAIT = 10", 10), ("wait=\"10\"", 10), ("wait=10; x=y", 10),
            ("respond-async, wait=3, wait=4", 3),
            ("wait=99999999999", UInt32.max), ("wait=999999999999999999999999", UInt32.max), ("a=\"wait=1, b\", wait=2", 2), ("wait", nil),
            ("wait=", nil), ("wait=-1", nil), ("wait=1.5", nil), ("waiting=1", nil), ("wait=\"", nil), ("a=\"\\", nil),
        ] as [(String, UInt32?)]) func preferWait(_ value: String, _ seconds: UInt32?) throws
    {
        let head = try #require(parseRequest(latin1("GET / HTTP/1.1\r\nHost: x\r\nPrefer: \(value)\r\n\r\n")).head)
        #expect(head.preferWait == seconds)
    }

    @Test(
        arguments: [
            ("u=0", 0), ("u=7", 7), ("i, u=1", 1), ("u=1, u=6", 6), ("u=2;x, i", 2), ("u=8", 3), ("u=-1", 3), ("u=10", 3), ("U=1", 3),
            ("", 3),
            ("u", 3), ("xu=1", 3),
        ] as [(String, UInt8)]) func priorityCountsAsSentWhenBelievedAndOnlyDownwardsOtherwise(_ value: String, _ urgency: UInt8) throws
    {
        let bytes = latin1("GET / HTTP/1.1\r\nHost: x\r\nPriority: \(value)\r\n\r\n")
        #expect(try #require(parseRequest(bytes, from: friend).head).urgency.rawValue == urgency)
        #expect(try #require(parseRequest(bytes, from: stranger).head).urgency.rawValue == max(3, urgency))
    }

    @Test func tenantIsBelievedOfTrustedPeersOnly() throws {
        let bytes = latin1("GET / HTTP/1.1\r\nHost: x\r\nLeasehold-Tenant: acme\r\n\r\n")
        #expect(try #require(parseRequest(bytes, from: stranger).head).tenant.isEmpty)
        #expect(try #require(parseRequest(bytes, from: friend).head).tenant.count == 4)
        let twice = latin1("GET / HTTP/1.1\r\nHost: x\r\nLeasehold-Tenant: a\r\nLeasehold-Tenant: b\r\n\r\n")
        #expect(parseRequest(twice, from: friend).refusal == .badRequest)
    }

    @Test(arguments: [(128, 128), (129, 0)]) func longAffinityKeysDoNotCount(_ length: Int, _ counted: Int) throws {
        let key = String(repeating: "k", count: length)
        let head = try #require(parseRequest(latin1("GET / HTTP/1.1\r\nHost: x\r\nLeasehold-Affinity: \(key)\r\n\r\n")).head)
        #expect(head.affinity.count == counted)
    }

    @Test func headThatDoesNotEndWithinTheLimitIsTooLarge() {
        let start = "GET / HTTP/1.1\r\nHost: x\r\nX: "
        let fits = latin1(start + String(repeating: "a", count: 256 - start.utf8.count - 4) + "\r\n\r\n")
        #expect(fits.count == 256)
        #expect(parseRequest(fits, most: 256).head?.length == 256)
        #expect(parseRequest(fits, most: 255).refusal == .headTooLarge)
        for count in 0..<255 { #expect(parseRequest(Array(fits[..<count]), most: 255).wantsMore) }
        #expect(parseRequest([UInt8](repeating: 0x41, count: 300), most: 256).refusal == .headTooLarge)
        #expect(parseRequest(latin1("GET /") + [UInt8](repeating: 0x41, count: 300), most: 256).refusal == .headTooLarge)
    }

    @Test func tooManyFieldsAreTooLarge() {
        func request(_ count: Int) -> [UInt8] {
            latin1("GET / HTTP/1.1\r\nHost: x\r\n" + (1..<count).map { "h\($0): v\r\n" }.joined() + "\r\n")
        }
        #expect(parseRequest(request(5), fields: 5).head != nil)
        #expect(parseRequest(request(6), fields: 5).refusal == .headTooLarge)
        #expect(parseRequest(request(HTTPLimits.fields)).head != nil)
        #expect(parseRequest(request(HTTPLimits.fields + 1)).refusal == .headTooLarge)
    }

    @Test(
        arguments: [("HEAD / HTTP/1.1", CallerTraits.isHead), ("HEAD / HTTP/1.0", [.isHead, .isHTTP10]), ("GET / HTTP/1.0", .isHTTP10)]
            as [(String, CallerTraits)])
    func refusalRemembersHowToAnswer(_ line: String, _ traits: CallerTraits) {
        guard case .refused(let refusal) = parseRequest(latin1("\(line)\r\nbad\r\n\r\n")) else {
            Issue.record("not refused")
            return
        }
        #expect(refusal == HeadRefusal(.badRequest, traits))
    }

    @Test func parserIsReusable() {
        var parser = RequestParser()
        for item in allRequestCases + allRequestCases.reversed() {
            let result = item.bytes.withUnsafeBytes { parser.parse($0, from: stranger, under: rules) }
            #expect(result.refusal == item.verdict)
        }
    }
}
