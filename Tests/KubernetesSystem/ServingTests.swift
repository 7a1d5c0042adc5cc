import KubeTestServer
import TestKit
import Testing

/// From an API server to a job that is served.
@Suite(.ownThread) struct ServingTests {
    @Test(arguments: [(true, true), (true, false), (false, true), (false, false)])
    func aJobIsServedByAnEndpointOfAnAPIServer(http2: Bool, protobuf: Bool) throws {
        try Cluster.run(offersHTTP2: http2) { cluster in
            cluster.server.behave {
                $0.hasProtobuf = protobuf
                $0.hasWatchList = http2
            }
            try cluster.serve("uid-a") { _, _ in Reply.ok("a") }
        } _: { cluster in
            let caller = try cluster.fleet.call()
            try caller.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            #expect(try caller.readResponse().text == "a")
            // An event, not only the list.
            try cluster.serve("uid-b") { _, _ in Reply.ok("b") }
            try cluster.waitUntilEqual()
            let source = try cluster.waitSource("live") { $0.state == "live" && $0.kubernetes.scopes.first?.connectedMs != nil }
            try cluster.fleet[.watcher].wait("the STATUS") {
                let status = try cluster.fleet.show("process", of: .watcher, as: Fleet.ProcessRow.self).status
                return status.hasPrefix("Source live: 2 endpoints in 1 pools") && status.contains("; API server connected for ")
                    && status.contains(" s ago, version 100")
            }
            #expect(source.kind == "kubernetes" && source.endpoints == 2 && source.kubernetes.scopes.count == 1)
            #expect(source.kubernetes.scopes[0].protobuf == protobuf || !protobuf)
            #expect(cluster.server.requests.allSatisfy { $0.version == (http2 ? "HTTP/2.0" : "HTTP/1.1") })
        }
    }
}
