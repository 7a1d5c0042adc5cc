import Model
import Testing

@testable import DispatcherCore

private func table(_ rows: [(String, String)]) throws -> RouteTable {
    try RouteTable(rows.map { Route(host: $0.0, path: $0.1, pool: PoolID(name: "p")) })
}

extension RouteTable {
    fileprivate func match(_ host: String, _ path: String) -> RouteMatch {
        latin1(host).withUnsafeBytes { host in latin1(path).withUnsafeBytes { match(host: host, path: $0) } }
    }
}

struct RouteTableTests {
    @Test(arguments: [
        // Hosts: exact, then the longest wildcard, then any.
        ("a.example.org", "/", RouteMatch.route(0)), ("A.Example.ORG:8080", "/", .route(0)), ("a.example.org.", "/", .route(0)),
        ("a.example.org.:80", "/", .route(0)), ("a.example.org:", "/", .route(0)),
        ("b.example.org", "/", .route(1)), ("c.b.example.org", "/", .route(1)), ("x.deep.example.org", "/", .route(2)),
        ("y.x.deep.example.org", "/", .route(2)), ("deep.example.org", "/", .route(1)),
        ("example.org", "/", .route(3)), (".example.org", "/", .route(3)), ("aexample.org", "/", .route(3)), ("org", "/", .route(3)),
        ("", "/", .route(3)), ("[::1]", "/", .route(4)), ("[::1]:80", "/", .route(4)), ("[::2]", "/", .route(3)), ("..", "/", .route(3)),
        (":80", "/", .route(3)), ("[", "/", .route(3)),
    ]) func hosts(_ host: String, _ path: String, _ expected: RouteMatch) throws {
        let routes = try table([
            ("a.Example.org", "/"), ("*.example.org", "/"), ("*.deep.example.org", "/"), ("*", "/"), ("[::1]", "/"),
        ])
        #expect(routes.match(host, path) == expected)
    }

    @Test(arguments: [
        ("/a", RouteMatch.route(1)), ("/a/", .route(1)), ("/a/b", .route(2)), ("/a/b/", .route(2)), ("/a/b/c", .route(2)),
        ("/ab", .route(0)),
        ("/a/bc", .route(1)), ("/", .route(0)), ("", .route(0)), ("/A", .route(0)), ("/%61", .route(1)), ("/%61/%62/c", .route(2)),
        ("/a%3ab", .route(3)), ("/a%3Ab", .route(3)), ("/a:b", .route(0)), ("/a/b%2d", .route(1)), ("/%7Euser", .route(4)),
        ("/~user/x", .route(4)),
        ("/a.b", .route(0)), ("/a/...", .route(1)), ("/a/.b", .route(1)), ("/a/..b", .route(1)), ("/a/b..", .route(1)),
        ("/a;v=1", .route(0)),
        // What two readers could read as two paths.
        ("/a/../b", .badRequest), ("/a/./b", .badRequest), ("/..", .badRequest), ("/.", .badRequest), ("/a/..", .badRequest),
        ("/a/.", .badRequest),
        ("/%2e%2e/b", .badRequest), ("/a/%2E", .badRequest), ("/a/.%2e/b", .badRequest), ("//", .badRequest), ("//a", .badRequest),
        ("/a//b", .badRequest),
        ("/a//", .badRequest), ("/a\\b", .badRequest), ("/a%2fb", .badRequest), ("/a%2Fb", .badRequest), ("/a%5cb", .badRequest),
        ("/a%5Cb", .badRequest),
        ("/a%00", .badRequest), ("/a%", .badRequest), ("/a%4", .badRequest), ("/a%zz", .badRequest), ("/a%252fb", .route(0)),
    ]) func paths(_ path: String, _ expected: RouteMatch) throws {
        let routes = try table([("*", "/"), ("*", "/a"), ("*", "/a/b/"), ("*", "/a%3Ab"), ("*", "/~user")])
        #expect(routes.match("x", path) == expected)
    }

    @Test func hostThatMatchesWithoutAPathLeavesTheRequestToLessSpecificHosts() throws {
        let routes = try table([("a.example.org", "/x"), ("*.example.org", "/y"), ("*", "/z"), ("*.org", "/w")])
        #expect(routes.match("a.example.org", "/x") == .route(0))
        #expect(routes.match("a.example.org", "/y") == .route(1))
        #expect(routes.match("a.example.org", "/w") == .route(3))
        #expect(routes.match("a.example.org", "/z") == .route(2))
        #expect(routes.match("a.example.org", "/v") == .noRoute)
        #expect(routes.match("b.example.net", "/y") == .noRoute)
    }

    @Test func singleRouteTakesAnyPathAsItIs() throws {
        let routes = try table([("*", "/")])
        for path in ["/../a", "//", "/%2f", "/a\\b", "", "/%"] { #expect(routes.match("x", path) == .route(0)) }
        let narrow = try table([("x", "/a")])
        #expect(narrow.match("x", "/a/../b") == .route(0))
        #expect(narrow.match("x", "/b") == .noRoute)
        #expect(narrow.match("y", "/a") == .noRoute)
    }

    @Test func noRowsMeanNoRoute() throws { #expect(try table([]).match("x", "/") == .noRoute) }

    @Test(arguments: [
        ("", "/", RouteError.invalidHost(1)), ("a:80", "/", .invalidHost(1)), ("*.", "/", .invalidHost(1)), ("*.*", "/", .invalidHost(1)),
        ("a.*", "/", .invalidHost(1)), ("*a", "/", .invalidHost(1)), (".a", "/", .invalidHost(1)), ("*.[::1]", "/", .invalidHost(1)),
        ("a b", "/", .invalidHost(1)), ("x", "", .invalidPath(1)), ("x", "a", .invalidPath(1)), ("x", "/a/../b", .invalidPath(1)),
        ("x", "/a//b", .invalidPath(1)), ("x", "/a?b", .invalidPath(1)), ("x", "/ä", .invalidPath(1)), ("x", "/a b", .invalidPath(1)),
        ("x", "/%2f", .invalidPath(1)), ("Y.", "/%61/", .duplicate(0, 1)),
    ]) func invalidRowsAreNamed(_ host: String, _ path: String, _ error: RouteError) {
        #expect(throws: error) { try table([("y", "/a"), (host, path)]) }
    }

    /// Random tables and names against a reading of the rules by sorting and comparing text.
    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func agreesWithAPlainReadingOfTheRules(_ seed: UInt64) throws {
        var random = MutationGenerator(seed: seed)
        let labels = ["a", "b", "c"]
        for _ in 0..<300 {
            var rows: [(String, String)] = []
            for _ in 0..<random.below(8) + 2 {
                let name = (0...random.below(3)).map { _ in labels[random.below(3)] }.joined(separator: ".")
                let host = ["*", name, "*.\(name)"][random.below(3)]
                let path = "/" + (0..<random.below(3)).map { _ in labels[random.below(3)] }.joined(separator: "/")
                if !rows.contains(where: { $0 == (host, path) }) { rows.append((host, path)) }
            }
            let routes = try table(rows)
            for _ in 0..<50 {
                let host = (0...random.below(4)).map { _ in labels[random.below(3)] }.joined(separator: ".")
                let path = "/" + (0..<random.below(4)).map { _ in labels[random.below(3)] }.joined(separator: "/")
                #expect(routes.match(host, path) == plain(rows, host, path), "seed \(seed) \(rows) \(host) \(path)")
            }
        }
    }

    private func plain(_ rows: [(String, String)], _ host: String, _ path: String) -> RouteMatch {
        func rank(_ pattern: String) -> Int { pattern == "*" ? 0 : pattern.hasPrefix("*.") ? pattern.utf8.count : 10_000 }
        let matching = rows.indices.filter { i in
            let (pattern, prefix) = rows[i]
            let isHost = pattern == "*" || pattern == host || (pattern.hasPrefix("*.") && host.hasSuffix(pattern.dropFirst()))
            return isHost && (prefix == "/" || path == prefix || path.hasPrefix(prefix + "/"))
        }
        let best = matching.max { (rank(rows[$0].0), rows[$0].1.utf8.count) < (rank(rows[$1].0), rows[$1].1.utf8.count) }
        return best.map { .route($0) } ?? .noRoute
    }
}
