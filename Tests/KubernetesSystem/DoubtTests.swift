import KubeTestServer
import TestKit
import Testing

/// A list that suddenly shows nothing.
@Suite(.ownThread) struct DoubtTests {
    private func fetch(_ cluster: Cluster) throws -> HTTPMessage {
        let caller = try cluster.fleet.call()
        try caller.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        return try caller.readResponse()
    }

    /// The server comes back without its past and without its objects.
    private func lose(_ cluster: Cluster) throws {
        try cluster.server.stop()
        for object in cluster.server.objects { cluster.server.delete(object.key) }
        cluster.server.compact()
        try cluster.server.start()
    }

    @Test func suddenEmptinessIsHeldBackAndThenApplied() throws {
        try Cluster.run(kubernetes: "doubt-for: 4s", pool: "hold: { timeout: 1s }") { cluster in
            for n in 0..<3 { try cluster.serve("uid-\(n)") { _, _ in Reply.ok() } }
        } _: { cluster in
            try cluster.waitUntilEqual()
            try lose(cluster)
            let source = try cluster.waitSource("the doubt") { $0.kubernetes.doubts == 1 }
            #expect(source.endpoints == 3 && !source.detail.isEmpty, "\(source)")
            #expect(try fetch(cluster).status == 200)
            #expect(try cluster.fleet.counter("doubts", of: .watcher) == 1)
            let (shown, _) = try cluster.fleet.leasehold("show", "source")
            #expect(shown.contains("1 lists doubted"), "\(shown)")
            // Nothing refutes it: it was true.
            try cluster.waitUntilEqual()
            #expect(try fetch(cluster).status == 503)
            try cluster.waitSource("no doubt any more") { $0.detail.isEmpty && $0.state == "live" && $0.endpoints == 0 }
        }
    }

    @Test func whatComesBackInTimeWasNeverGone() throws {
        try Cluster.run(kubernetes: "doubt-for: 10m") { cluster in
            for n in 0..<3 { try cluster.serve("uid-\(n)") { _, _ in Reply.ok() } }
        } _: { cluster in
            try cluster.waitUntilEqual()
            let objects = cluster.server.objects
            try lose(cluster)
            try cluster.waitSource("the doubt") { $0.kubernetes.doubts == 1 }
            cluster.server.apply(objects)
            let source = try cluster.waitSource("no doubt any more") { $0.detail.isEmpty && $0.state == "live" }
            #expect(source.endpoints == 3)
            #expect(try cluster.known() == cluster.expected)
        }
    }

    /// Each deletion was told: no doubt.
    @Test func deletionsThatWereSeenCountAtOnce() throws {
        try Cluster.run(kubernetes: "doubt-for: 10m") { cluster in
            for n in 0..<3 { try cluster.serve("uid-\(n)") { _, _ in Reply.ok() } }
        } _: { cluster in
            try cluster.waitUntilEqual()
            for n in 0..<3 { cluster.server.delete(Cluster.key("pods-uid-\(n)")) }
            try cluster.waitUntilEqual()
            #expect(try cluster.source().kubernetes.doubts == 0)
        }
    }
}
