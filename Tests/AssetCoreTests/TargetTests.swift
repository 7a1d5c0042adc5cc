import Model
import Testing

@testable import AssetCore

struct TargetTests {
    @Test(arguments: [
        ("http://a/", "http://a/"), ("HTTP://EXAMPLE.org", "http://example.org/"), ("https://a:443/x?y=1#z", "https://a/x?y=1"),
        ("http://a:80", "http://a/"), ("http://a:8080/b", "http://a:8080/b"), ("http://a.?q", "http://a/?q"),
        ("http://[::1]:8/x", "http://[::1]:8/x"),
        ("http://a:/x", "http://a/x"), ("https://a_b.c/", "https://a_b.c/"), ("http://a/%2e%2E/b", "http://a/%2e%2E/b"),
        ("http://127.0.0.1/", "http://127.0.0.1/"),
    ]) func aURLIsWrittenInOneWay(text: String, expected: String) { #expect(TargetURL(text)?.text == expected) }

    @Test(arguments: [
        "", "/x", "a/b", "ftp://a/", "http:/a", "http://", "http:///x", "http://user@a/", "http://user:pw@a/", "http://a b/", "http://a/ b",
        "http://a\t/",
        "http://a/\r\nX: y", "http://a:0/", "http://a:65536/", "http://a:x/", "http://a:-1/", "http://[::1/", "http://[a]/",
        "http://[1.2.3.4]/",
        "http://::1/", "http://a..b/", "http://.a/", "http://é/", "file:///etc/passwd", "http://a%41/", "http://[fe80::1%25eth0]/",
        "javascript:alert(1)",
        "http://" + String(repeating: "a", count: 254) + "/", "http://a/" + String(repeating: "x", count: 8_192),
    ]) func whatIsNoURLIsRefused(text: String) { #expect(TargetURL(text) == nil) }

    @Test(arguments: [
        ("/x", "http://a/x"), ("x", "http://a/b/x"), ("../x", "http://a/x"), ("../../../x", "http://a/x"), ("./x", "http://a/b/x"),
        ("?q", "http://a/b/c?q"),
        ("//other/x", "http://other/x"), ("https://s/", "https://s/"), ("", "http://a/b/c?d"), ("#f", "http://a/b/c?d"),
        (".", "http://a/b/"),
        ("..", "http://a/"), ("/a/./b/../c", "http://a/a/c"),
    ]) func aLocationLeadsWhereItSays(reference: String, expected: String) {
        #expect(TargetURL("http://a/b/c?d")?.resolving(reference)?.text == expected)
    }

    @Test(arguments: ["mailto:x", "javascript:alert(1)", "ftp://a/", "//", "file:///x", "http://u@h/"])
    func aLocationThatIsNoneLeadsNowhere(reference: String) {
        #expect(TargetURL("http://a/b/c?d")?.resolving(reference) == nil)
    }

    private static func addresses(_ texts: [String]) -> [SocketAddress] { texts.compactMap { SocketAddress(ip: $0, port: 80) } }

    @Test(arguments: [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
        "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "::127.0.0.1",
        "::10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::8.8.8.8", "2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::",
        "2001:0:1:2:3:4:5:6", "2001:db8::1", "2001:10::1", "2001:20::1", "3fff::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1",
        "ff02::1", "100::1", "4000::1",
        "5f00::1",
    ]) func privateAddressesAreRefused(ip: String) throws {
        let rule = TargetRule(allowHosts: ["*"], allowPrivate: [])
        let address = try #require(SocketAddress(ip: ip, port: 80))
        #expect(rule.judge([address]) == .isPrivate)
        // One among public ones is how a name is rebound.
        #expect(rule.judge(Self.addresses(["8.8.8.8"]) + [address]) == .isPrivate)
        #expect(rule.judge([address] + Self.addresses(["8.8.8.8"])) == .isPrivate)
    }

    @Test(arguments: [
        "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.0.1", "198.17.0.1", "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
    ]) func publicAddressesAreNot(ip: String) throws {
        #expect(TargetRule(allowHosts: ["*"], allowPrivate: []).judge([try #require(SocketAddress(ip: ip, port: 80))]) == nil)
    }

    @Test func aPrivateAddressIsAllowedWithItsPortOnly() throws {
        let own = try #require(SocketAddress("127.0.0.1:9900"))
        let rule = TargetRule(allowHosts: ["*"], allowPrivate: [try #require(SocketAddress("127.0.0.1:8000")), own], own: [own])
        #expect(rule.judge([try #require(SocketAddress("127.0.0.1:8000"))]) == nil)
        #expect(rule.judge([try #require(SocketAddress("[::ffff:127.0.0.1]:8000"))]) == nil)
        #expect(rule.judge([try #require(SocketAddress("127.0.0.1:8001"))]) == .isPrivate)
        #expect(rule.judge([try #require(SocketAddress("127.0.0.2:8000"))]) == .isPrivate)
        // Ourselves never, whatever is allowed.
        #expect(rule.judge([own]) == .own)
        #expect(rule.judge([try #require(SocketAddress("[::ffff:127.0.0.1]:9900"))]) == .own)
        #expect(rule.judge([try #require(SocketAddress("[64:ff9b::7f00:1]:9900"))]) == .own)
        #expect(rule.judge([]) == .unresolved)
    }

    @Test(arguments: [
        ("*", "a.b", true), ("a.b", "a.b", true), ("a.b", "x.a.b", false), ("a.b", "xa.b", false), ("*.a.b", "x.a.b", true),
        ("*.a.b", "x.y.a.b", true),
        ("*.a.b", "a.b", false), ("*.a.b", ".a.b", false), ("*.a.b", "xa.b", false), ("a.b", "a.bc", false),
    ]) func hostsAreAllowedByName(pattern: String, host: String, allowed: Bool) {
        #expect((TargetRule(allowHosts: [pattern], allowPrivate: []).judge(host: host) == nil) == allowed)
    }

    @Test(arguments: [("a:443", "a", 443), ("[::1]:80", "::1", 80), ("A.B.:1", "a.b", 1)] as [(String, String, UInt16)])
    func connectNamesHostAndPort(text: String, host: String, port: UInt16) throws {
        let target = try #require(TargetURL.connect(text))
        #expect(target.host == host && target.port == port)
    }

    @Test(arguments: ["a", "a:", ":443", "a:443/x", "http://a:443", "u@a:443", "a:443:443", ""]) func connectToAnythingElseIsRefused(
        text: String
    ) {
        #expect(TargetURL.connect(text) == nil)
    }

    @Test func loopsAreSeen() {
        func isLoop(_ fields: [(String, String)]) -> Bool { Loops.isLoop(Fields(fields), pseudonym: "leasehold-1f") }
        #expect(isLoop([("CDN-Loop", "leasehold-1f")]) && isLoop([("cdn-loop", "other; v=1, Leasehold-1F; x=2")]))
        #expect(isLoop([("Via", "1.0 fred, 1.1 leasehold-1f (comment)")]) && !isLoop([("Via", "1.1 leasehold-2f")]))
        #expect(isLoop([("Via", Array(repeating: "1.1 x", count: 21).joined(separator: ","))]) && !isLoop([]))
        var fields = Fields([("via", "1.1 x")])
        Loops.mark(&fields, pseudonym: "leasehold-1f")
        #expect(Loops.isLoop(fields, pseudonym: "leasehold-1f"))
    }

    @Test func fieldsOfOneHopEndThere() {
        let fields = Fields([
            ("Connection", "close, X-Secret, Cache-Control"), ("Keep-Alive", "5"), ("X-Secret", "1"), ("X-Other", "2"),
            ("Cache-Control", "private"),
            ("Proxy-Authorization", "x"), ("TE", "trailers"), ("Transfer-Encoding", "chunked"), ("Upgrade", "h2c"),
        ])
        #expect(fields.endToEnd.all.map(\.name) == ["x-other", "cache-control"])
    }
}
