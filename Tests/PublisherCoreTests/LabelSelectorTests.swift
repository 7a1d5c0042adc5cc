import TestKit
import Testing

@testable import PublisherCore

@Suite struct LabelSelectorTests {
    private static let labels = ["pool": "browsers", "size": "12"]

    /// After apimachinery's own tables (pkg/labels/selector_test.go).
    @Test(arguments: [
        ("", true), ("  ", true),
        ("pool=browsers", true), ("pool==browsers", true), ("pool = browsers", true), ("pool=other", false), ("none=", false),
        ("pool=", false),
        ("pool!=browsers", false), ("pool!=other", true), ("none!=x", true), ("pool!=", true),
        ("pool in (browsers)", true), ("pool in (a,browsers , b)", true), ("pool in (a, b)", false), ("none in (a)", false),
        ("pool in (a,)", false),
        ("pool in (,)", false), ("pool notin (browsers)", false), ("pool notin (a, b)", true), ("none notin (a)", true),
        ("pool notin (,)", true),
        ("pool", true), ("none", false), ("!pool", false), ("!none", true), ("! none", true),
        ("pool,size", true), ("pool,!size", false), ("pool=browsers,size!=3,!none", true), ("pool in (browsers),size in (12)", true),
        ("size>11", true), ("size>12", false), ("size<13", true), ("size < 12", false), ("pool>1", false), ("none>1", false),
        ("in=x", false), ("notin!=x", true), ("!in", true), ("in in (in)", false), ("pool=in", false),
        ("example.com/pool=x", false), ("!example.com/pool", true), ("pool\t=\nbrowsers", true),
    ])
    func whatKubernetesMatchesIsMatched(_ text: String, _ matches: Bool) throws {
        #expect(try LabelSelector(text).matches(Self.labels) == matches)
    }

    @Test(arguments: [
        ",", "pool,", ",pool", "pool,,size", "pool=a=b", "pool=(a)", "pool in a", "pool in (", "pool in ()", "pool in (a", "pool in (a b)",
        "pool in a,b",
        "pool notin ()", "(pool)", "!pool=a", "!", "!!pool", "pool!", "pool=!a", "pool>", "pool>x", "pool>1.5", "pool<", "pool=>1", "=a",
        "==", "pool a", "pool in",
        "-pool", "pool-", "po ol=a", "a/b/c=d", "/pool", "Example.com/pool", "ex_ample/pool", "pool=-a", "pool=a_", "pool in (-)", "pool=é",
        "pöol",
        "pool/", "a..b/c",
    ])
    func whatKubernetesRefusesIsRefusedWithWhatWasFound(_ text: String) {
        let error = #expect(throws: LabelSelector.Malformed.self) { try LabelSelector(text) }
        #expect(error?.description.isEmpty == false)
    }

    @Test func namesAreBounded() throws {
        let longest = String(repeating: "a", count: 63)
        #expect(try LabelSelector("\(longest)=\(longest)").requirements.count == 1)
        #expect(throws: LabelSelector.Malformed.self) { try LabelSelector("\(longest)a") }
        #expect(throws: LabelSelector.Malformed.self) { try LabelSelector("a=\(longest)a") }
        #expect(throws: LabelSelector.Malformed.self) { try LabelSelector("\(String(repeating: "a.", count: 127))/b") }
    }

    /// Whatever bytes come, the answer is a selector or an error.
    @Test(arguments: [1, 2, 3] as [UInt64]) func noBytesTrap(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let signs = Array("pool in notin(),=!<> \t-_./aZ9\u{0}é")
        for _ in 0..<20_000 {
            let text = String(
                (0..<Int.random(in: 0...14, using: &random)).map { _ in signs[Int.random(in: 0..<signs.count, using: &random)] })
            _ = try? LabelSelector(text).matches(Self.labels)
        }
    }
}

@Suite struct RequestTargetTests {
    @Test(
        arguments: [
            ("/", [], [:]), ("/a/b", ["a", "b"], [:]), ("/a/b/", ["a", "b"], [:]), ("/a//b", ["a", "", "b"], [:]), ("/a%2Fb", ["a/b"], [:]),
            ("/a+b", ["a+b"], [:]),
            ("/a?x=1&y=a%20b+c", ["a"], ["x": "1", "y": "a b c"]), ("/a?x", ["a"], ["x": ""]), ("/a?", ["a"], [:]),
            ("/a?x=a=b", ["a"], ["x": "a=b"]),
            ("/%C3%A9", ["é"], [:]),
        ] as [(String, [String], [String: String])])
    func aTargetIsDecoded(_ text: String, _ path: [String], _ query: [String: String]) throws {
        let target = try #require(RequestTarget(text))
        #expect(target.path == path)
        #expect(Dictionary(target.query.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }) == query)
    }

    @Test(arguments: ["", "a", "/%", "/%4", "/%zz", "/%ff", "/a?x=%", "/a?%80=1"])
    func whatIsNoTargetIsRefused(_ text: String) { #expect(RequestTarget(text) == nil) }
}

@Suite struct HostRuleTests {
    @Test(arguments: [
        nil, "", "localhost", "LOCALHOST:9808", "localhost.", "127.0.0.1", "127.0.0.1:9808", "10.1.2.3:80", "[::1]", "[::1]:9808",
        "metrics.example.org", "Metrics.Example.Org:443",
    ])
    func addressesAndOurNamesAreOurs(_ host: String?) { #expect(HostRule(names: ["metrics.example.org"]).allows(host)) }

    @Test(arguments: [
        "evil.example", "evil.example:9808", "localhost.evil.example", "127.0.0.1.evil.example", "example.org", "a.metrics.example.org",
        "localhost:x", "localhost:1:2", "[::1",
        "[evil]", "127.0.0.1:99999", "127.0.0.1@evil.example", "local host", "0x7f000001.evil",
    ])
    func othersAreNot(_ host: String) { #expect(!HostRule(names: ["metrics.example.org"]).allows(host)) }
}
