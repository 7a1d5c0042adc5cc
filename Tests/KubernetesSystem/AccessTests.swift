import Foundation
import KubeTestServer
import TestKit
import Testing

/// Access that is wrong: one clear line with the remedy, seen in `show source`, tried again, and well once repaired.
@Suite(.ownThread) struct AccessTests {
    struct Trouble: Sendable, CustomTestStringConvertible {
        var testDescription: String
        /// Of `show source`, and of docs/kubernetes.md.
        var line: String
        var kind: String
        var breaks: @Sendable (Cluster) throws -> Void
        var repairs: @Sendable (Cluster) throws -> Void
    }

    /// PORT is the server's. What a test finds in docs/kubernetes.md has `127.0.0.1:6443` and short paths instead.
    static let troubles = [
        Trouble(
            testDescription: "wrong CA",
            line: "127.0.0.1:PORT: the server's certificate does not verify: it is not signed by an authority of TLS/other-ca.crt; put the cluster's authority there",
            kind: "tls", breaks: { try $0.kubeconfig { $0.cluster = "certificate-authority: \(Cluster.tls)/other-ca.crt" } },
            repairs: { try $0.kubeconfig() }),
        Trouble(
            testDescription: "expired token",
            line: "Unauthorized: the server does not accept the credentials; renew the token or certificate that the kubeconfig or service account gives (endpointslices in namespace shop)",
            kind: "unauthorized", breaks: { $0.server.behave { $0.tokens = ["renewed": "me"] } },
            repairs: { try $0.kubeconfig { $0.user = "token: renewed" } }),
        Trouble(
            testDescription: "missing RBAC",
            line: "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:leasehold:leasehold-watcher\" cannot watch resource \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \"shop\": grant this identity list and watch on endpointslices.discovery.k8s.io in namespace shop",
            kind: "forbidden", breaks: { $0.server.behave { $0.denials = [.init(resource: .endpointslices, namespace: "shop")] } },
            repairs: { $0.server.behave { $0.denials = [] } }),
        Trouble(
            testDescription: "unreachable server",
            line: "127.0.0.1:PORT refuses connections: nobody listens there; is the server's address right, and is it up?",
            kind: "connection-refused", breaks: { try $0.server.stop() }, repairs: { try $0.server.start() }),
        Trouble(
            testDescription: "no kubeconfig",
            line: "DIRECTORY/kubeconfig: the kubeconfig cannot be read: No such file or directory; put it there, or correct the path",
            kind: "credentials", breaks: { try FileManager.default.removeItem(atPath: "\($0.fleet.directory)/kubeconfig") },
            repairs: { try $0.kubeconfig() }),
        Trouble(
            testDescription: "something else listens there",
            line: "the server could not find the requested resource: is this the base URL of an API server of Kubernetes 1.21 or later? (/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices)",
            kind: "not-found", breaks: { cluster in try cluster.kubeconfig { $0.server = cluster.server.url + "/elsewhere" } },
            repairs: { try $0.kubeconfig() }),
    ]

    static let wrongNamespace = "Pool pods gets nothing: there is no EndpointSlice of Service shopp/pods; check its namespace and name"

    private static func line(_ text: String, _ cluster: Cluster) -> String {
        text.replacing("PORT", with: "\(cluster.server.port)").replacing("DIRECTORY", with: cluster.fleet.directory).replacing("TLS", with: Cluster.tls)
    }

    @Test(arguments: troubles) func troubleFromTheStartIsSaidAndEndsWhenRepaired(trouble: Trouble) throws {
        try Cluster.run { cluster in
            try cluster.serve("uid-a") { _, _ in Reply.ok("a") }
            try trouble.breaks(cluster)
        } _: { cluster in
            let line = Self.line(trouble.line, cluster)
            let source = try cluster.waitSource(line) { $0.kubernetes.scopes[0].problem == line }
            #expect(source.state == "unknown" && source.detail == line && source.kubernetes.lastError == line)
            #expect(source.kubernetes.scopes[0].errors[trouble.kind, default: 0] >= 1)
            let (shown, exit) = try cluster.fleet.leasehold("show", "source")
            #expect(exit == .status(0) && shown.contains("endpointslices in namespace shop: \(line)\n"), "\(shown)")
            try #require(try cluster.fleet[.watcher].output.contains("The Kubernetes source cannot be read, continuing with what is known"))
            // One line, however often it is tried.
            try cluster.fleet[.watcher].wait("another try") { try cluster.source().kubernetes.scopes[0].errors.values.reduce(0, +) >= 3 }
            let output = try cluster.fleet[.watcher].output
            #expect(output.components(separatedBy: "The Kubernetes source cannot be read").count == 2, "\(output)")
            try trouble.repairs(cluster)
            try cluster.waitUntilEqual()
            let well = try cluster.waitSource("recovery") { $0.state == "live" }
            #expect(well.detail.isEmpty && well.kubernetes.scopes[0].problem.isEmpty)
        }
    }

    /// The same while it runs: what is known stays, jobs are served, connections that are up are cut to make it show.
    @Test(arguments: troubles) func troubleLaterLeavesWhatIsKnown(trouble: Trouble) throws {
        try Cluster.run { cluster in
            try cluster.serve("uid-a") { _, _ in Reply.ok("a") }
        } _: { cluster in
            try cluster.waitUntilEqual()
            try trouble.breaks(cluster)
            cluster.server.cutConnections()
            let line = Self.line(trouble.line, cluster)
            let source = try cluster.waitSource(line) { $0.kubernetes.scopes[0].problem == line }
            #expect(source.state == "stale" && source.endpoints == 1)
            let caller = try cluster.fleet.call()
            try caller.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            #expect(try caller.readResponse().text == "a")
            try cluster.serve("uid-b") { _, _ in Reply.ok("b") }
            try trouble.repairs(cluster)
            try cluster.waitUntilEqual()
            try cluster.waitSource("recovery") { $0.state == "live" && $0.detail.isEmpty }
        }
    }

    /// The server answers well, and there is nothing: no error, and a sentence all the same.
    @Test func aWrongNamespaceIsSaid() throws {
        let cluster = try Cluster(namespace: "shopp")
        defer { cluster.close() }
        try cluster.serve("uid-a") { _, _ in Reply.ok("a") }
        try cluster.fleet.start()
        try cluster.waitSource("the list") { $0.state == "live" }
        let (shown, _) = try cluster.fleet.leasehold("show", "source")
        #expect(shown.contains("\(Self.wrongNamespace)\n"), "\(shown)")
        // Repaired by making it: no restart of anybody.
        let worker = cluster.fleet.own(try TestWorker(http: { _, _ in Reply.ok("there") }))
        cluster.server.apply(
            .slice("shopp", "pods-x", of: "pods", ports: [.init("http", Int(worker.address.port))], [.init("uid-x", ["127.0.0.1"])]))
        let caller = try cluster.fleet.call()
        try caller.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        #expect(try caller.readResponse().text == "there")
    }

    // MARK: Rotation

    @Test func aTokenFileThatIsRotatedIsReadAgain() throws {
        try Cluster.run { cluster in
            try cluster.write("token", "one\n")
            try cluster.kubeconfig { $0.user = "tokenFile: token" }
            cluster.server.behave { $0.tokens = ["one": "me"] }
            try cluster.serve("uid-a") { _, _ in Reply.ok("a") }
        } _: { cluster in
            try cluster.waitUntilEqual()
            // As the kubelet does: the file first; the old token ends later.
            try cluster.write("token", "two\n")
            cluster.server.behave { $0.tokens = ["two": "me"] }
            cluster.server.cutConnections()
            try cluster.serve("uid-b") { _, _ in Reply.ok("b") }
            try cluster.waitUntilEqual()
            #expect(try cluster.source().kubernetes.scopes[0].errors["unauthorized"] == nil)
        }
    }

    @Test func aPluginIsAskedAgainWhenItsTokenIsRefusedOrExpires() throws {
        try Cluster.run { cluster in
            try cluster.write("token", "one")
            try cluster.write(
                "plugin",
                """
                #!/bin/sh
                echo run >> \(cluster.fleet.directory)/runs
                cat <<EOF
                {"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"$(cat \(cluster.fleet.directory)/token)","expirationTimestamp":"2099-01-02T03:04:05Z"}}
                EOF

                """, mode: 0o700)
            try cluster.kubeconfig {
                $0.user = """
                    exec:
                      apiVersion: client.authentication.k8s.io/v1
                      command: \(cluster.fleet.directory)/plugin
                      interactiveMode: Never
                    """
            }
            cluster.server.behave { $0.tokens = ["one": "me"] }
            try cluster.serve("uid-a") { _, _ in Reply.ok("a") }
        } _: { cluster in
            try cluster.waitUntilEqual()
            // It is kept until it expires.
            cluster.server.cutConnections()
            try cluster.serve("uid-b") { _, _ in Reply.ok("b") }
            try cluster.waitUntilEqual()
            func runs() throws -> Int { try String(contentsOfFile: "\(cluster.fleet.directory)/runs", encoding: .utf8).split(separator: "\n").count }
            #expect(try runs() == 1)
            // Refused before its time: asked again, at once, without a word to anybody.
            try cluster.write("token", "two")
            cluster.server.behave { $0.tokens = ["two": "me"] }
            cluster.server.cutConnections()
            try cluster.serve("uid-c") { _, _ in Reply.ok("c") }
            try cluster.waitUntilEqual()
            #expect(try runs() == 2)
            #expect(try !cluster.fleet[.watcher].output.contains("does not accept the credentials"))
        }
    }

    @Test func aPodsServiceAccountGivesAccess() throws {
        let cluster = try Cluster()
        defer { cluster.close() }
        let directory = "\(cluster.fleet.directory)/account"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        try cluster.write("account/token", "let-me-in")
        try cluster.write("account/namespace", "leasehold")
        try cluster.write("account/ca.crt", try String(contentsOfFile: "\(Cluster.tls)/ca.crt", encoding: .utf8))
        try cluster.fleet.configure(
            """
            source: { kubernetes: { service-account: account } }
            pools: [{ name: pods, service: shop/pods, port: http }]
            listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods }]
            """)
        try cluster.serve("uid-a") { _, _ in Reply.ok("a") }
        try cluster.fleet.launch(
            .watcher, environment: ["KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "\(cluster.server.port)"])
        try cluster.fleet[.watcher].waitForNotification("READY=1")
        try cluster.fleet.start([.poolKeeper])
        try cluster.waitUntilEqual()
        #expect(try cluster.source().location == "in-cluster")
    }
}
