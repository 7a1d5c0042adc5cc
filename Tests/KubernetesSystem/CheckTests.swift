import Foundation
import KubeTestServer
import TestKit
import Testing

/// `leasehold check` with an API server.
@Suite(.ownThread) struct CheckTests {
    private func run(_ prepare: (Cluster) throws -> Void = { _ in }, _ arguments: String...) throws -> (cluster: Cluster, output: String, exit: Daemon.Exit) {
        let cluster = try Cluster()
        try prepare(cluster)
        let command = try cluster.fleet.spawn(
            "leasehold", Fleet.executable("leasehold"), ["check"] + arguments + ["--config", cluster.fleet.configurationPath])
        let exit = try command.waitForExit()
        return (cluster, command.output, exit)
    }

    @Test func whoWeAreAndWhatWeMayIsSaid() throws {
        let (cluster, output, exit) = try run()
        defer { cluster.close() }
        #expect(exit == .status(0))
        for line in [
            "# server: https://127.0.0.1:\(cluster.server.port), v1.33.0-test\n",
            "# identity: system:serviceaccount:leasehold:leasehold-watcher (groups: system:authenticated)\n",
            "# allowed: list endpointslices.discovery.k8s.io in namespace shop; watch endpointslices.discovery.k8s.io in namespace shop\n",
        ] { #expect(output.contains(line), "\(output)") }
        #expect(!output.contains("let-me-in"), "a secret is shown")
        // What it prints is a valid file.
        let path = try cluster.write("printed.yaml", output)
        let (_, again) = try cluster.fleet.leasehold("check", path, "--offline")
        #expect(again == .status(0))
    }

    @Test func missingRightsAreNamed() throws {
        let (cluster, output, exit) = try run { $0.server.behave { $0.denials = [.init(verb: "watch", resource: .endpointslices, namespace: "shop")] } }
        defer { cluster.close() }
        #expect(exit == .status(77))
        #expect(output.contains("# missing: watch endpointslices.discovery.k8s.io in namespace shop\n"), "\(output)")
        #expect(
            output.contains(
                "error: source.kubernetes: the API server does not let us watch endpointslices.discovery.k8s.io in namespace shop; "
                    + "bind the Role or ClusterRole of deploy/kubernetes/ to system:serviceaccount:leasehold:leasehold-watcher\n"), "\(output)")
    }

    @Test func aServerWithoutSelfSubjectReviewIsGoodEnough() throws {
        let (cluster, output, exit) = try run { $0.server.behave { $0.hasSelfSubjectReview = false } }
        defer { cluster.close() }
        #expect(exit == .status(0) && !output.contains("# identity") && output.contains("# allowed: list"), "\(output)")
    }

    @Test func aRefusedTokenIsSaid() throws {
        let (cluster, output, exit) = try run { $0.server.behave { $0.tokens = [:] } }
        defer { cluster.close() }
        #expect(exit == .status(77))
        #expect(output.contains("the API server does not accept the credential (401: Unauthorized); renew it"), "\(output)")
    }

    @Test func aServerThatIsAwayIsSaid() throws {
        let (cluster, output, exit) = try run { try $0.server.stop() }
        defer { cluster.close() }
        #expect(exit == .status(69))
        #expect(output.contains("refuses connections; is the server up, and the port right?"), "\(output)")
    }

    @Test func aWrongAuthorityIsAMistakeOfTheConfiguration() throws {
        let (cluster, output, exit) = try run { try $0.kubeconfig { $0.cluster = "certificate-authority: \(Cluster.tls)/other-ca.crt" } }
        defer { cluster.close() }
        #expect(exit == .status(78))
        #expect(output.contains("it is not signed by an authority of \(Cluster.tls)/other-ca.crt"), "\(output)")
    }

    @Test func offlineAsksNobody() throws {
        let (cluster, output, exit) = try run({ try $0.server.stop() }, "--offline")
        defer { cluster.close() }
        #expect(exit == .status(0) && !output.contains("# server"), "\(output)")
        #expect(cluster.server.requests.isEmpty)
    }

    @Test func quietSaysOnlyWhatIsWrong() throws {
        let (cluster, output, exit) = try run({ _ in }, "--quiet")
        defer { cluster.close() }
        #expect(exit == .status(0) && output.isEmpty, "\(output)")
    }

    @Test func jsonIsASecondLine() throws {
        let (cluster, output, exit) = try run({ _ in }, "--json")
        defer { cluster.close() }
        #expect(exit == .status(0))
        let lines = output.split(separator: "\n")
        #expect(lines.count == 2)
        struct Report: Decodable {
            struct Rule: Decodable {
                var verb: String
                var allowed: Bool
            }
            var outcome: String
            var user: String
            var rules: [Rule]
        }
        let report = try JSONDecoder().decode(Report.self, from: Data(try #require(lines.last).utf8))
        #expect(report.outcome == "allowed" && report.rules.map(\.verb) == ["list", "watch"] && report.rules.allSatisfy(\.allowed))
    }
}
