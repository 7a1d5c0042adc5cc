import Model
import Testing

@testable import DispatcherCore

/// One response head and whether it is valid.
struct ResponseCase: Sendable, CustomTestStringConvertible {
    var name: String
    var bytes: [UInt8]
    var isValid: Bool

    init(_ name: String, _ text: String, _ isValid: Bool) {
        self.name = name
        self.bytes = latin1(text)
        self.isValid = isValid
    }

    var testDescription: String { name }

    static func fields(_ name: String, _ lines: String, _ isValid: Bool = false) -> ResponseCase {
        ResponseCase(name, "HTTP/1.1 200 OK\r\n\(lines)\r\n", isValid)
    }
}

let responseCases: [ResponseCase] = [
    ResponseCase("plain", "HTTP/1.1 200 OK\r\n\r\n", true),
    ResponseCase("reason empty", "HTTP/1.1 200 \r\n\r\n", true),
    ResponseCase("reason and its blank missing", "HTTP/1.1 200\r\n\r\n", true),
    ResponseCase("reason with obs-text", "HTTP/1.1 200 gr\u{fc}n\tx\r\n\r\n", true),
    ResponseCase("version 1.0", "HTTP/1.0 404 Not Found\r\n\r\n", true),
    ResponseCase("status 599", "HTTP/1.1 599 x\r\n\r\n", true),
    ResponseCase("status 600", "HTTP/1.1 600 x\r\n\r\n", false),
    ResponseCase("status 099", "HTTP/1.1 099 x\r\n\r\n", false),
    ResponseCase("status of two digits", "HTTP/1.1 20 x\r\n\r\n", false),
    ResponseCase("status of four digits", "HTTP/1.1 2000 x\r\n\r\n", false),
    ResponseCase("status with sign", "HTTP/1.1 +20 x\r\n\r\n", false),
    ResponseCase("version 2.0", "HTTP/2.0 200 OK\r\n\r\n", false),
    ResponseCase("no version", "200 OK\r\n\r\n", false),
    ResponseCase("another protocol", "ICY 200 OK\r\n\r\n", false),
    ResponseCase("two blanks", "HTTP/1.1  200 OK\r\n\r\n", false),
    ResponseCase("empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", false),
    ResponseCase("only LF", "HTTP/1.1 200 OK\n\n", false),
    ResponseCase("bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", false),
    ResponseCase("NUL in the reason", "HTTP/1.1 200 O\u{00}K\r\n\r\n", false),
    ResponseCase("chunked in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false),
    .fields("length", "Content-Length: 3\r\n", true),
    .fields("chunked", "Transfer-Encoding: chunked\r\n", true),
    .fields("both", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
    .fields("two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n"),
    .fields("bad length", "Content-Length: 3x\r\n"),
    .fields("another coding", "Transfer-Encoding: gzip, chunked\r\n"),
    .fields("obs-fold", "A: b\r\n c\r\n"),
    .fields("blank before colon", "A : b\r\n"),
    .fields("bare LF", "A: b\nC: d\r\n"),
    .fields("NUL", "A: \u{00}\r\n"),
    .fields("Connection names the length", "Content-Length: 3\r\nConnection: content-length\r\n"),
    ResponseCase("101 that was not asked for", "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", false),
]

struct ResponseTests {
    @Test(arguments: responseCases) func verdict(_ item: ResponseCase) {
        let result = parseResponse(item.bytes)
        #expect(result.isRefused == !item.isValid)
        #expect(result.head?.length == (item.isValid ? item.bytes.count : nil))
        for count in 0..<item.bytes.count {
            let prefix = parseResponse(Array(item.bytes[..<count]))
            #expect(prefix.wantsMore || (prefix.isRefused && !item.isValid), "after \(count) bytes")
        }
        #expect(parseResponse(item.bytes + latin1("body\r\n\r\n")).head?.length == result.head?.length)
    }

    @Test(
        arguments: [
            (200, "Content-Length: 5\r\n", CallerTraits(), BodyFraming.length(5), true),
            (200, "Transfer-Encoding: chunked\r\n", [], .chunked, true),
            (200, "", [], .untilClose, false),
            (200, "Content-Length: 5\r\nConnection: close\r\n", [], .length(5), false),
            (200, "Content-Length: 5\r\n", .isHead, .none, true),
            (200, "Transfer-Encoding: chunked\r\n", .isHead, .none, true),
            (200, "", .isHead, .none, true),
            (204, "Content-Length: 5\r\n", [], .none, true),
            (304, "Content-Length: 5\r\n", [], .none, true),
            (304, "Transfer-Encoding: chunked\r\n", [], .none, true),
            (100, "Content-Length: 5\r\n", [], .none, true),
            (103, "Link: x\r\n", [], .none, true),
            (205, "Content-Length: 0\r\n", [], .length(0), true),
        ] as [(Int, String, CallerTraits, BodyFraming, Bool)])
    func framing(_ status: Int, _ fields: String, _ traits: CallerTraits, _ framing: BodyFraming, _ keeps: Bool) throws {
        let head = try #require(parseResponse(latin1("HTTP/1.1 \(status) x\r\n\(fields)\r\n"), for: traits).head)
        #expect(head.framing == framing && head.keepsAlive == keeps && head.isInterim == (status < 200) && !head.isSwitch)
    }

    @Test func oldWorkersKeepTheirConnectionOnlyWhenTheySaySo() throws {
        #expect(try !#require(parseResponse(latin1("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n")).head).keepsAlive)
        #expect(
            try #require(parseResponse(latin1("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n")).head).keepsAlive)
    }

    @Test(arguments: [(409, "1", true), (503, "1", true), (503, "0", false), (503, "true", false), (200, "1", false), (500, "1", false)])
    func busyIsSaidWith409And503(_ status: Int, _ value: String, _ busy: Bool) throws {
        let head = try #require(parseResponse(latin1("HTTP/1.1 \(status) x\r\nLeasehold-Busy: \(value)\r\nContent-Length: 0\r\n\r\n")).head)
        #expect(head.isBusy == busy)
    }

    @Test(arguments: [
        ("Upgrade: websocket\r\nConnection: upgrade\r\n", true),
        ("Upgrade: WebSocket\r\nConnection: x, Upgrade\r\nContent-Length: 3\r\n", true),
        ("Upgrade: websocket\r\n", false), ("Connection: upgrade\r\n", false), ("Upgrade: h2c\r\nConnection: upgrade\r\n", false),
    ]) func switchingNeedsItsFields(_ fields: String, _ isValid: Bool) {
        let result = parseResponse(latin1("HTTP/1.1 101 Switching\r\n\(fields)\r\n"), for: [.upgrades, .keepsAlive])
        #expect((result.head?.isSwitch == true) == isValid)
        if let head = result.head { #expect(head.framing == .none && !head.isInterim && !head.keepsAlive) }
    }

    @Test func headThatIsTooLargeIsRefused() {
        let long = latin1("HTTP/1.1 200 OK\r\nA: ") + [UInt8](repeating: 0x61, count: HTTPLimits.headBytes)
        #expect(parseResponse(long).isRefused)
        #expect(parseResponse(Array(long[..<(HTTPLimits.headBytes - 1)])).wantsMore)
    }
}

private let ours = "Leasehold-Lease: web/17.4\r\nLeasehold-Endpoint: pod-7\r\nServer-Timing: hold;dur=12.345, dial;dur=0.2\r\n"

struct ResponseRewriterTests {
    /// Status line and fields from the worker, the request's traits, and what the caller gets.
    @Test(
        arguments: [
            (
                "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 3\r\nDate: d\r\n", .keepsAlive,
                "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 3\r\nDate: d\r\n\(ours)"
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", [], "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\(ours)Connection: close\r\n"),
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n", .keepsAlive, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\(ours)"),
            ("HTTP/1.1 200 OK\r\n", .keepsAlive, "HTTP/1.1 200 OK\r\n\(ours)Connection: close\r\n"),
            ("HTTP/1.1 200\r\nContent-Length: 3\r\n", .keepsAlive, "HTTP/1.1 200 \r\nContent-Length: 3\r\n\(ours)"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\nTrailer: t\r\n", .keepsAlive,
                "HTTP/1.1 200 OK\r\nTrailer: t\r\n\(ours)Transfer-Encoding: chunked\r\n"
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: close, X\r\nX: 1\r\nKeep-Alive: 5\r\nContent-Length: 3\r\n", .keepsAlive,
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\(ours)"
            ),
            (
                "HTTP/1.1 200 OK\r\nLeasehold-Lease: x\r\nLeasehold-Anything: y\r\nServer-Timing: w;dur=1\r\nContent-Length: 3\r\n",
                .keepsAlive,
                "HTTP/1.1 200 OK\r\nServer-Timing: w;dur=1\r\nContent-Length: 3\r\n\(ours)"
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", [.isHTTP10, .keepsAlive],
                "HTTP/1.0 200 OK\r\n\(ours)Connection: close\r\n"
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", [.isHTTP10, .keepsAlive],
                "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\(ours)Connection: keep-alive\r\n"
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", .isHTTP10, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\(ours)Connection: close\r\n"),
            ("HTTP/1.1 204 No\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", .keepsAlive, nil),
            ("HTTP/1.1 204 No\r\nContent-Length: 3\r\n", .keepsAlive, "HTTP/1.1 204 No\r\n\(ours)"),
            ("HTTP/1.1 304 No\r\nContent-Length: 3\r\n", .keepsAlive, "HTTP/1.1 304 No\r\nContent-Length: 3\r\n\(ours)"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", [.isHead, .keepsAlive], "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\(ours)"),
            ("HTTP/1.1 100 Continue\r\n", .keepsAlive, "HTTP/1.1 100 Continue\r\n"),
            ("HTTP/1.1 103 Early\r\nLink: l\r\nConnection: close\r\n", [], "HTTP/1.1 103 Early\r\nLink: l\r\n"),
            (
                "HTTP/1.1 101 Sw\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\nContent-Length: 1\r\n",
                [.upgrades, .keepsAlive],
                "HTTP/1.1 101 Sw\r\nSec-WebSocket-Accept: a\r\n\(ours)Upgrade: websocket\r\nConnection: Upgrade\r\n"
            ),
            (
                "HTTP/1.1 426 Up\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", .keepsAlive,
                "HTTP/1.1 426 Up\r\nContent-Length: 0\r\n\(ours)Upgrade: websocket\r\nConnection: Upgrade\r\n"
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n", .keepsAlive,
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\(ours)"
            ),
        ] as [(String, CallerTraits, String?)]) func whatACallerGets(_ response: String, _ traits: CallerTraits, _ expected: String?)
    {
        #expect(rewriteResponse(latin1(response + "\r\n"), for: traits) == expected.map { $0 + "\r\n" })
    }

    @Test func callersConnectionEndsWhenItMustNotBeKept() {
        let response = latin1("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        #expect(rewriteResponse(response, mayKeep: false)?.hasSuffix("Connection: close\r\n\r\n") == true)
    }

    @Test(
        arguments: [
            (CallerTraits.keepsAlive, BodyFraming.chunked, true, ChunkTreatment.withoutTrailers, true),
            ([.keepsAlive, .takesTrailers], .chunked, true, .whole, true),
            ([.keepsAlive, .isHTTP10], .chunked, false, .dataOnly, true),
            ([.keepsAlive, .isHTTP10], .length(3), true, .dataOnly, true),
            ([.keepsAlive], .untilClose, false, .withoutTrailers, true),
            ([], .length(3), false, .withoutTrailers, true),
        ] as [(CallerTraits, BodyFraming, Bool, ChunkTreatment, Bool)])
    func plan(_ traits: CallerTraits, _ framing: BodyFraming, _ keeps: Bool, _ chunks: ChunkTreatment, _ passes: Bool) throws {
        var head = try #require(parseResponse(latin1("HTTP/1.1 200 OK\r\n\r\n")).head)
        head.framing = framing
        #expect(head.plan(for: traits) == ResponsePlan(keepsCaller: keeps, chunks: chunks, passesHead: passes))
        #expect(!head.plan(for: traits, mayKeep: false).keepsCaller)
    }

    @Test func interimHeadsAreNotForOldCallers() throws {
        let head = try #require(parseResponse(latin1("HTTP/1.1 103 x\r\n\r\n")).head)
        #expect(!head.plan(for: .isHTTP10).passesHead && head.plan(for: []).passesHead)
    }

    @Test(arguments: [
        (0, "0"), (1, "0.001"), (10, "0.01"), (999, "0.999"), (1_000, "1"), (1_500, "1.5"), (12_345, "12.345"), (30_000_100, "30000.1"),
        (-5, "0"),
    ]) func timingIsInMillisecondsWithUpToThreeDecimals(_ microseconds: Int, _ expected: String) {
        #expect(sunk { $0.append(milliseconds: .microseconds(microseconds)) }.text == expected)
    }

    @Test(arguments: [0, 9, 10, 123, UInt64.max]) func decimals(_ value: UInt64) {
        #expect(sunk { $0.append(decimal: value) }.text == "\(value)")
    }
}
