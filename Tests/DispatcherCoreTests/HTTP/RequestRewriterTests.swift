import Model
import Foundation
import Testing

@testable import DispatcherCore

private let ours =
    "X-Forwarded-For: 192.0.2.10\r\nForwarded: for=192.0.2.10;host=\"x\";proto=http\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: x\r\n"
private let ending = "Leasehold-Lease: web/17.4\r\n\r\n"

struct RequestRewriterTests {
    @Test func ordinaryRequestKeepsItsFieldsInOrderAndGetsOurs() {
        let request =
            "POST /render?a=1 HTTP/1.1\r\nHost: x.example:8080\r\nUser-Agent:  t \r\nContent-Length: 5\r\nAccept: */*\r\n\r\nhello"
        #expect(
            rewriteRequest(latin1(request))
                == "POST /render?a=1 HTTP/1.1\r\nHost: x.example:8080\r\nUser-Agent:  t \r\nContent-Length: 5\r\nAccept: */*\r\n"
                + "X-Forwarded-For: 192.0.2.10\r\nForwarded: for=192.0.2.10;host=\"x.example:8080\";proto=http\r\n"
                + "X-Forwarded-Proto: http\r\nX-Forwarded-Host: x.example:8080\r\nConnection: close\r\nLeasehold-Lease: web/17.4\r\n\r\n")
    }

    /// Field lines behind `Host: x`, and what a worker gets of them: kept lines, and lines behind ours.
    @Test(arguments: [
        ("", "", "Connection: close\r\n"),
        ("A: 1\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nB: 2\r\n", "A: 1\r\nB: 2\r\n", "Connection: close\r\n"),
        ("A: 1\r\nConnection: b, close\r\nB: 2\r\nb: 3\r\nC: 4\r\n", "A: 1\r\nC: 4\r\n", "Connection: close\r\n"),
        ("B: 2\r\nConnection: x\r\nConnection: B\r\n", "", "Connection: close\r\n"),
        ("Proxy-Connection: keep-alive\r\nCookie: c\r\n", "Cookie: c\r\n", "Connection: close\r\n"),
        ("Transfer-Encoding: CHUNKED\r\nTrailer: t\r\n", "Trailer: t\r\n", "Transfer-Encoding: chunked\r\nConnection: close\r\n"),
        ("TE: gzip, trailers\r\nConnection: TE\r\n", "", "TE: trailers\r\nConnection: close, TE\r\n"),
        ("TE: gzip\r\nConnection: TE\r\n", "", "Connection: close\r\n"),
        (
            "Upgrade: h2c, WebSocket\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: A\r\nSec-WebSocket-Key: k\r\n",
            "Sec-WebSocket-Key: k\r\n",
            "Upgrade: WebSocket\r\nConnection: Upgrade\r\n"
        ),
        (
            "Upgrade: websocket\r\nConnection: upgrade\r\nTE: trailers\r\n", "",
            "TE: trailers\r\nUpgrade: websocket\r\nConnection: Upgrade, TE\r\n"
        ),
        ("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: A\r\n", "", "Connection: close\r\n"),
        ("Expect: 100-continue\r\nContent-Length: 1\r\n", "Expect: 100-continue\r\nContent-Length: 1\r\n", "Connection: close\r\n"),
        (
            "Leasehold-Lease: web/99.1\r\nLeasehold-Tenant: a\r\nLeasehold-Affinity: k\r\nLeasehold-Other: o\r\nleasehold_lease: l\r\n",
            "Leasehold-Affinity: k\r\n", "Connection: close\r\n"
        ),
        (
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: e\r\nX-Forwarded-Port: 1\r\nX_Forwarded_For: 1\r\nForwarded: for=e\r\n",
            "", "Connection: close\r\n"
        ),
        ("Priority: u=0\r\nPrefer: wait=1\r\n", "Priority: u=0\r\nPrefer: wait=1\r\n", "Connection: close\r\n"),
    ]) func strangersFields(_ fields: String, _ kept: String, _ behind: String) {
        let request = "POST /a HTTP/1.1\r\nHost: x\r\n\(fields)\r\n"
        #expect(rewriteRequest(latin1(request)) == "POST /a HTTP/1.1\r\nHost: x\r\n\(kept)\(ours)\(behind)\(ending)")
    }

    @Test func trustedPeersChainGetsLonger() {
        let request =
            "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nA: b\r\nX-Forwarded-For: 3.3.3.3\r\nForwarded: for=1.1.1.1\r\n"
            + "X-Forwarded-Proto: https\r\nX-Forwarded-Host: outer\r\nX-Forwarded-Port: 443\r\nLeasehold-Tenant: acme\r\nLeasehold-Lease: l\r\n\r\n"
        #expect(
            rewriteRequest(latin1(request), from: friend, to: .reused)
                == "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: outer\r\nX-Forwarded-Port: 443\r\n"
                + "Leasehold-Tenant: acme\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1\r\n"
                + "Forwarded: for=1.1.1.1, for=10.0.0.1;host=\"x\";proto=http\r\n\(ending)")
    }

    @Test func oldCallersAreSentOnIn11() {
        let rest = "X-Forwarded-For: 192.0.2.10\r\n"
        #expect(
            rewriteRequest(latin1("GET / HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\n\r\n"))
                == "GET / HTTP/1.1\r\nHost: \r\n\(rest)Forwarded: for=192.0.2.10;proto=http\r\nX-Forwarded-Proto: http\r\nConnection: close\r\n\(ending)"
        )
        #expect(
            rewriteRequest(latin1("GET http://y:8/a HTTP/1.0\r\n\r\n"))
                == "GET http://y:8/a HTTP/1.1\r\nHost: y:8\r\n\(rest)Forwarded: for=192.0.2.10;host=\"y:8\";proto=http\r\nX-Forwarded-Proto: http\r\n"
                + "X-Forwarded-Host: y:8\r\nConnection: close\r\n\(ending)")
    }

    @Test func reusedWorkerConnectionIsNotAskedToClose() {
        let request = latin1("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(rewriteRequest(request, to: .reused) == "GET / HTTP/1.1\r\nHost: x\r\n\(ours)\(ending)")
    }

    @Test(
        arguments: [
            (SocketAddress(ip: "2001:db8::1", port: 1), "2001:db8::1", "\"[2001:db8::1]\""), (nil, "unknown", "unknown"),
        ] as [(SocketAddress?, String, String)]) func peersOfOtherFamilies(_ address: SocketAddress?, _ plain: String, _ quoted: String)
        throws
    {
        let peer = Peer(address: address, believed: .anybody)
        let head = try #require(rewriteRequest(latin1("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), from: peer))
        #expect(head.contains("\r\nX-Forwarded-For: \(plain)\r\nForwarded: for=\(quoted);host=\"x\";proto=http\r\n"))
    }

    @Test func sinkThatIsTooSmallSaysSo() throws {
        let request = latin1("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\nTE: trailers\r\n\r\n")
        let whole = try #require(rewriteRequest(request))
        for capacity in 0..<whole.utf8.count { #expect(rewriteRequest(request, capacity: capacity) == nil) }
        #expect(rewriteRequest(request, capacity: whole.utf8.count) == whole)
    }

    @Test(arguments: allRequestCases.filter { $0.verdict == nil }, [stranger, friend])
    func whatIsWrittenReadsAsTheSameRequest(_ item: RequestCase, _ peer: Peer) throws {
        try checkRewritten(item.bytes, from: peer)
    }
}

/// The rewritten head is valid, means the same, and carries nothing that its caller may not say.
func checkRewritten(_ bytes: [UInt8], from peer: Peer) throws {
    guard let before = parseRequest(bytes, from: peer).head else { return }
    let written = latin1(try #require(rewriteRequest(bytes, from: peer, capacity: 64 * 1024)))
    guard !before.host.isEmpty else { return }
    let result = parseRequest(written, from: friend, most: 64 * 1024, fields: 256)
    let after = try #require(result.head, "\(text(bytes)) became \(text(written))")
    func part(_ all: [UInt8], _ range: ByteRange) -> [UInt8] { all.withUnsafeBytes { Array($0.slice(range)) } }
    #expect(after.length == written.count && after.framing == before.framing && after.version == .v11)
    #expect(
        part(written, after.target) == part(bytes, before.target) && part(written, after.methodRange) == part(bytes, before.methodRange))
    #expect(part(written, after.host) == part(bytes, before.host) && part(written, after.upgrade) == part(bytes, before.upgrade))
    #expect(part(written, after.tenant) == part(bytes, before.tenant))
    let names = text(written).components(separatedBy: "\r\n").dropFirst().map { $0.prefix { $0 != ":" }.lowercased() }
    #expect(names.filter { $0 == "leasehold-lease" }.count == 1)
    for name in ["x-forwarded-for", "forwarded", "host"] { #expect(names.filter { $0 == name }.count == 1) }
    for name in ["keep-alive", "proxy-connection", "http2-settings"] { #expect(!names.contains(name)) }
}
