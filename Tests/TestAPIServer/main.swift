import ArgumentParser
import Foundation
import KubeTestServer

/// The test API server on its own, for trying things by hand: it keeps what it is told and forgets it at its end.
struct TestAPIServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leasehold-test-apiserver", abstract: "Serve EndpointSlices and Services over TLS on loopback, for tests.",
        discussion: "Runs until it is stopped. The kubeconfig that it writes gives access to it.")

    @Option(help: "0 takes a free one.")
    var port: UInt16 = 0

    @Option(help: "A directory with server.crt, server.key and ca.crt, such as Tests/Fixtures/kubernetes-tls.")
    var certificates: String

    @Option(help: "Where to write a kubeconfig.")
    var kubeconfig: String

    func run() throws {
        let server = TestAPIServer(tls: .init(certificate: "\(certificates)/server.crt", key: "\(certificates)/server.key"))
        server.behave { $0.tokens = ["let-me-in": "tester"] }
        try server.start(port: port)
        let authority = URL(filePath: certificates).appending(path: "ca.crt").standardizedFileURL.path()
        try """
            apiVersion: v1
            kind: Config
            current-context: test
            contexts: [{ name: test, context: { cluster: test, user: tester } }]
            clusters: [{ name: test, cluster: { server: "\(server.url)", certificate-authority: "\(authority)" } }]
            users: [{ name: tester, user: { token: let-me-in } }]

            """.write(toFile: kubeconfig, atomically: true, encoding: .utf8)
        print("Serving \(server.url); KUBECONFIG=\(kubeconfig)")
        fflush(nil)
        while true { pause() }
    }
}

TestAPIServerCommand.main()
