import Foundation
import KubeTestServer
import Linux
import Synchronization
import TestKit
import Testing

/// Whatever the server does: once it is quiet, the pool is what its slices say.
@Suite(.ownThread) struct ConvergenceTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var trouble: @Sendable (TestRequest) -> Trouble?
        /// The kind of error that is counted; nil when none is.
        var kind: String?
        var behave: @Sendable (inout TestAPIServer.Behaviour) -> Void = { _ in }

        init(
            _ name: String, _ kind: String?, _ trouble: @autoclosure @escaping @Sendable () -> Trouble,
            behave: @escaping @Sendable (inout TestAPIServer.Behaviour) -> Void = { _ in }
        ) {
            testDescription = name
            self.kind = kind
            self.trouble = { _ in trouble() }
            self.behave = behave
        }
    }

    static let json: @Sendable (inout TestAPIServer.Behaviour) -> Void = { $0.hasProtobuf = false }
    static let pages: @Sendable (inout TestAPIServer.Behaviour) -> Void = {
        $0.hasWatchList = false
        $0.pageLimit = 3
    }

    static let cases = [
        Case("429 with Retry-After", "too-many-requests", .status(429, reason: "TooManyRequests", retryAfter: 1)),
        Case("429 without", "too-many-requests", .status(429, reason: "TooManyRequests")),
        Case("500", "server-error", .status(500, reason: "InternalError")),
        Case("503 while pages are read", "server-error", .status(503, reason: "ServiceUnavailable"), behave: pages),
        Case("a watch that ends at once", "short-watch", .emptyWatch),
        Case("410 as a status", "expired", .status(410, reason: "Expired")),
        Case("410 as an event", "expired", .expiredEvent, behave: json),
        Case("504 because the version is too large", "server-error", .status(504, reason: "Timeout")),
        Case("half a line", "connection-lost", .line(#"{"type":"ADDED","object":{"kind":"Endpo"#), behave: json),
        Case("a line that is no JSON", "unreadable", .line("<html>it works</html>"), behave: json),
        Case("an unknown event", "unreadable", .line(#"{"type":"SURPRISE","object":{"kind":"Other","metadata":{}}}"#), behave: json),
        Case("cut in the head of an object", "connection-lost", .cut(after: 40)),
        Case("cut in the middle of a list", "connection-lost", .cut(after: 2_500)),
        Case("cut in the middle of a list of JSON", "connection-lost", .cut(after: 2_500), behave: json),
        Case("a byte at a time", nil, .slow(bytes: 7, milliseconds: 1)),
        Case("a byte at a time, in pages of JSON", nil, .slow(bytes: 11, milliseconds: 1)) {
            pages(&$0)
            json(&$0)
        },
    ]

    /// The first two requests meet the trouble, then one after the connections were cut, while objects change all the time. More of them
    /// would be waited for longer than a test can: the back-off doubles until all was well for two minutes.
    @Test(arguments: cases) func aTroubleIsOverwhelmed(trouble: Case) throws {
        let left = Mutex(2)
        try Cluster.run(kubernetes: "doubt-for: 1s") { cluster in
            for n in 0..<12 { cluster.server.apply(Self.slice(n, uid: "uid-\(n)")) }
            cluster.server.behave {
                trouble.behave(&$0)
                $0.trouble = { request in
                    let isStruck = left.withLock { left in
                        guard left > 0, request.resource != nil else { return false }
                        left -= 1
                        return true
                    }
                    return isStruck ? trouble.trouble(request) : nil
                }
            }
        } _: { cluster in
            for n in 0..<8 { cluster.server.apply(Self.slice(n, uid: "uid-\(n)-new")) }
            for n in 8..<10 { cluster.server.delete(Self.slice(n, uid: "").key) }
            try cluster.waitUntilEqual()
            left.withLock { $0 = 1 }
            cluster.server.cutConnections()
            for n in 4..<20 { cluster.server.apply(Self.slice(n, uid: "uid-\(n)-newer", ready: n % 3 != 0)) }
            cluster.server.delete(Self.slice(0, uid: "").key)
            try cluster.waitUntilEqual()
            let source = try cluster.waitSource("recovery") { $0.state == "live" && $0.detail.isEmpty }
            #expect(left.withLock { $0 } == 0, "the trouble did not come")
            if let kind = trouble.kind {
                #expect(source.kubernetes.scopes[0].errors[kind, default: 0] >= 1, "\(source.kubernetes.scopes[0].errors)")
            }
        }
    }

    /// Both ways in which a server says that it has forgotten our place.
    @Test(arguments: [true, false]) func aForgottenVersionIsListedAnewWithoutAGap(byStatus: Bool) throws {
        try Cluster.run { cluster in
            for n in 0..<10 { cluster.server.apply(Self.slice(n, uid: "uid-\(n)")) }
            cluster.server.behave { $0.expiresByStatus = byStatus }
        } _: { cluster in
            try cluster.waitUntilEqual()
            let changes = try cluster.fleet.counter("changes", of: .watcher)
            try cluster.server.stop()
            cluster.server.apply(Self.slice(3, uid: "uid-3-new"))
            cluster.server.compact()
            try cluster.server.start()
            try cluster.waitUntilEqual()
            let source = try cluster.waitSource("recovery") { $0.state == "live" && $0.kubernetes.scopes[0].relists == 1 }
            #expect(source.kubernetes.scopes[0].errors["expired"] == 1)
            // The difference alone was told: one in, one out, and words about health.
            let told = try cluster.fleet.counter("changes", of: .watcher) - changes
            #expect(told <= 8, "\(told) messages for one change")
        }
    }

    /// A server that accepts and never answers, and one that stops in the middle: found by time limits of a minute.
    @Test(arguments: [Case("never answers", "timeout", .hang), Case("silent in the middle of a list", "silent", .silence(after: 700))])
    func aHangIsNotForEver(trouble: Case) throws {
        let left = Mutex(1)
        try Cluster.run { cluster in
            for n in 0..<10 { cluster.server.apply(Self.slice(n, uid: "uid-\(n)")) }
            cluster.server.behave {
                $0.trouble = { request in
                    let isStruck = left.withLock { left in
                        defer { left -= 1 }
                        return left > 0
                    }
                    return isStruck ? trouble.trouble(request) : nil
                }
            }
        } _: { cluster in
            for _ in 0..<3 where try cluster.known() != cluster.expected {
                // Each wait lasts half of what the limits take.
                do { try cluster.waitUntilEqual() } catch is TestFailure { continue }
            }
            try cluster.waitUntilEqual()
            #expect(try cluster.source().kubernetes.scopes[0].errors[trouble.kind ?? "", default: 0] == 1)
        }
    }

    /// Random scripts: changes, and every trouble that there is. LEASEHOLD_SEEDS names seeds, separated by commas.
    @Test(
        arguments: ProcessInfo.processInfo.environment["LEASEHOLD_SEEDS"].map { $0.split(separator: ",").compactMap { UInt64($0) } }
            ?? (0..<4).map { _ in UInt64.random(in: 0 ... .max) })
    func afterAnyScriptThePoolIsWhatTheSlicesSay(seed: UInt64) throws {
        print("seed \(seed)")
        try Cluster.run(kubernetes: "doubt-for: 500ms") { cluster in
            for n in 0..<20 { cluster.server.apply(Self.slice(n, uid: "uid-\(n)")) }
        } _: { cluster in
            var script = TroubleScript(seed: seed, cluster)
            do {
                try script.run(steps: 60)
                try cluster.waitUntilEqual()
                try cluster.waitSource("health") { $0.state == "live" }
            } catch { throw TestFailure("seed \(seed): \(error)\n\(script.said.joined(separator: "\n"))") }
        }
    }

    static func slice(_ n: Int, uid: String, ready: Bool? = true, slice: Int? = nil) -> TestObject {
        .slice(
            "shop", "pods-\(slice ?? n)", of: "pods", ports: [.init("http", 8_000)],
            [.init(uid, ["127.1.\(n / 200).\(n % 200 + 1)"], ready: ready)])
    }
}

/// Random changes and troubles, and quiet at the end.
private struct TroubleScript {
    private var random: SeededGenerator
    private let cluster: Cluster
    private let state: SharedTrouble
    private(set) var said: [String] = []
    private var isDown = false

    /// What the server does to its next requests.
    private final class SharedTrouble: Sendable {
        let next = Mutex<[Trouble]>([])
    }

    init(seed: UInt64, _ cluster: Cluster) {
        random = SeededGenerator(seed: seed)
        self.cluster = cluster
        state = SharedTrouble()
        cluster.server.behave { [state] in
            $0.trouble = { request in
                guard request.resource != nil else { return nil }
                return state.next.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            }
        }
    }

    mutating func run(steps: Int) throws {
        for _ in 0..<steps { try step() }
        state.next.withLock { $0 = [] }
        if isDown { try cluster.server.start() }
        cluster.server.behave {
            $0.expiresByStatus = false
            $0.pageLimit = 500
        }
    }

    private mutating func note(_ what: String) { said.append("\(said.count): \(what)") }

    private mutating func step() throws {
        let server = cluster.server
        let n = Int.random(in: 0..<40, using: &random)
        switch Int.random(in: 0..<24, using: &random) {
        case 0..<5:
            note("uid-\(n) there")
            server.apply(ConvergenceTests.slice(n, uid: "uid-\(n)", ready: Bool.random(using: &random)))
        case 5..<8:
            note("another pod at the address of \(n)")
            server.delete(ConvergenceTests.slice(n, uid: "", slice: 100 + n).key)
            server.apply(ConvergenceTests.slice(n, uid: "uid-\(n)-\(said.count)"))
        case 8..<12:
            note("\(n) deleted")
            server.delete(ConvergenceTests.slice(n, uid: "").key)
            server.delete(ConvergenceTests.slice(n, uid: "", slice: 100 + n).key)
        case 12:
            note("uid-\(n) moves to another slice and is ready")
            server.apply(ConvergenceTests.slice(n, uid: "uid-\(n)", slice: 100 + n))
            server.delete(ConvergenceTests.slice(n, uid: "").key)
        case 13, 14:
            note("connections cut")
            server.cutConnections()
        case 15:
            note("versions forgotten")
            server.compact()
        case 16:
            note("versions move on, bookmarks")
            server.advance(by: 5)
            server.bookmark()
        case 17:
            note(isDown ? "up" : "down")
            if isDown { try server.start() } else { try server.stop() }
            isDown.toggle()
        case 18:
            let byStatus = Bool.random(using: &random)
            note("410 by status: \(byStatus), small pages")
            server.behave {
                $0.expiresByStatus = byStatus
                $0.pageLimit = 3
            }
        case 19:
            // The watcher takes part: what it has seen so far is for the machine to decide, where the script goes on is not.
            if isDown { return }
            note("quiet for a moment")
            let changes = try cluster.source().kubernetes.scopes[0].events
            cluster.server.bookmark()
            try cluster.waitSource("any word") { $0.kubernetes.scopes[0].events >= changes }
        case _:
            let trouble: Trouble =
                switch Int.random(in: 0..<9, using: &random) {
                case 0: .status(429, reason: "TooManyRequests", retryAfter: 1)
                case 1: .status(500, reason: "InternalError")
                case 2: .status(410, reason: "Expired")
                case 3: .emptyWatch
                case 4: .cut(after: Int.random(in: 0..<5_000, using: &random))
                case 5: .slow(bytes: Int.random(in: 1..<200, using: &random), milliseconds: 1)
                case 6: .line("{\"type\":\"ADD")
                case 7: .status(401, reason: "Unauthorized")
                case _: .expiredEvent
                }
            note("\(trouble), once connections are cut")
            state.next.withLock { if $0.count < 3 { $0.append(trouble) } }
            server.cutConnections()
        }
    }
}
