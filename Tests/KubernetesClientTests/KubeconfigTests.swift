import Foundation
import Testing

@testable import KubernetesClient

@Suite struct Kubeconfigs {
    private func access(_ file: String, context: String? = nil) async throws -> ServerAccess {
        try await AccessProvider(.kubeconfig(path: file, context: context), environment: ["PATH": "/usr/bin:/bin"]).access()
    }

    private func problem(_ file: String, context: String? = nil) async -> String {
        do {
            _ = try await access(file, context: context)
            return "nothing"
        } catch {
            return "\(error)"
        }
    }

    @Test func everythingOfTheCurrentContextIsRead() async throws {
        let directory = try Directory()
        let file = try directory.kubeconfig(
            server: "https://[2001:db8::1]:6443/k8s/", cluster: "certificate-authority: ca.pem\ntls-server-name: kubernetes",
            user: "client-certificate-data: \(Data("CERT".utf8).base64EncodedString())\nclient-key: key.pem\ntokenFile: token")
        try directory.write("ca.pem", "AUTHORITY")
        try directory.write("key.pem", "KEY")
        try directory.write("token", " abc\n")
        let access = try await access(file)
        #expect(access.server.description == "https://[2001:db8::1]:6443/k8s")
        #expect(access.trust == .authorities(Array("AUTHORITY".utf8), place: "\(directory.path)/ca.pem"))
        #expect(access.serverName == "kubernetes" && access.namespace == "shop" && access.warnings.isEmpty)
        #expect(access.certificate?.chain == Array("CERT".utf8) && access.certificate?.key == Secret("KEY".utf8))
        #expect(access.authorization == Secret("Bearer abc".utf8))
        #expect(access.identity == "user me of \(file), by its client certificate, by the token in \(directory.path)/token")
    }

    @Test func aTokenFileIsReadAgain() async throws {
        let directory = try Directory()
        let file = try directory.kubeconfig(server: "https://127.0.0.1", user: "tokenFile: token")
        let provider = AccessProvider(.kubeconfig(path: file, context: nil), environment: [:])
        try directory.write("token", "first")
        #expect(try await provider.access().authorization == Secret("Bearer first".utf8))
        try directory.write("token", "second")
        #expect(try await provider.access().authorization == Secret("Bearer second".utf8))
    }

    @Test func secretsAreNeverPrinted() async throws {
        let directory = try Directory()
        let access = try await access(try directory.kubeconfig(server: "https://127.0.0.1", user: "token: hunter2"))
        var dumped = ""
        dump(access, to: &dumped)
        #expect(!"\(access) \(String(reflecting: access)) \(dumped)".contains("hunter2"))
    }

    @Test func whatIsDangerousIsAWarning() async throws {
        let directory = try Directory()
        let insecure = try await access(try directory.kubeconfig(server: "https://127.0.0.1", cluster: "insecure-skip-tls-verify: true"))
        #expect(insecure.trust == .anybody && insecure.warnings.count == 1 && insecure.warnings[0].contains("kubeconfig:11: "))
        let plain = try await access(try directory.kubeconfig(server: "http://127.0.0.1:8001", cluster: ""))
        #expect(plain.warnings.count == 1 && plain.warnings[0].contains("without TLS"))
    }

    @Test(arguments: [
        ("certificate-authority: missing.crt", "token: a", "missing.crt: the certificate authority (named by FILE:11) cannot be read: No such file"),
        ("certificate-authority-data: '%%%'", "token: a", "FILE:11: certificate-authority-data is not base64"),
        ("proxy-url: http://proxy:3128", "token: a", "FILE:11: proxies are not supported; remove proxy-url"),
        ("insecure-skip-tls-verify: yes", "token: a", "FILE:11: cluster here: insecure-skip-tls-verify is not true or false"),
        ("insecure-skip-tls-verify: true\ncertificate-authority: x", "token: a", "FILE:11: stands beside a certificate authority"),
        ("", "token: 'a b'", "the token has white space"),
        ("", "tokenFile: none", "none: the token (named by FILE:15) cannot be read: No such file or directory; put it there"),
        ("", "client-certificate: \(fixtures)/client.crt", "FILE:15: user me has a client-certificate and no client-key; add client-key"),
        ("", "auth-provider: { name: gcp }", "FILE:15: auth-provider of user me is not supported; use an exec plug-in"),
        ("", "as: admin", "FILE:15: as of user me is not supported; impersonation is not supported"),
        ("", "exec: { command: x }", "exec has no apiVersion; add apiVersion: client.authentication.k8s.io/v1"),
        ("", "exec: { apiVersion: client.authentication.k8s.io/v1alpha1, command: x }", "is not supported; update the plug-in"),
        ("", "exec: { apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always }", "needs a person at a terminal"),
        ("", "exec: { apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin }", "the credential plug-in no-such-plugin is not in PATH; install it"),
    ]) func whatIsWrongIsSaidWithItsPlaceAndRemedy(cluster: String, user: String, expected: String) async throws {
        let directory = try Directory()
        let file = try directory.kubeconfig(server: "https://127.0.0.1", cluster: cluster.isEmpty ? "disable-compression: true" : cluster, user: user)
        let said = await problem(file)
        #expect(said.replacingOccurrences(of: file, with: "FILE").contains(expected), "\(said)")
    }

    @Test(arguments: [
        ("a: [", "is not YAML"), ("just text", "holds no mapping"), ("apiVersion: v1", "has no current-context; set one with kubectl"),
        ("current-context: x", "FILE:1: there is no context named x under contexts; name one that exists; there is none"),
        ("current-context: x\ncontexts:\n- name: y\n  context: {}", "there are: y"),
        ("current-context: x\ncontexts:\n- name: x\n  context: { user: u }", "FILE:4: the context has no cluster; add cluster: NAME"),
        ("current-context: x\ncontexts:\n- name: x\n  context: { cluster: c, user: u }", "FILE:4: there is no cluster named c under clusters"),
        ("current-context: x\ncontexts: { a: b }", "FILE:2: contexts is not a list"),
    ]) func aFileThatIsNoneIsSaid(text: String, expected: String) async throws {
        let directory = try Directory()
        let file = try directory.write("config", text)
        let said = await problem(file)
        #expect(said.replacingOccurrences(of: file, with: "FILE").contains(expected), "\(said)")
    }

    @Test func aContextCanBeNamed() async throws {
        let directory = try Directory()
        let file = try directory.kubeconfig(server: "https://127.0.0.1")
        #expect(try await access(file, context: "test").namespace == "shop")
        #expect(await problem(file, context: "other").contains("there is no context named other"))
    }

    @Test(arguments: ["", "127.0.0.1", "ftp://a", "https://", "https://u:p@h", "https://h?x", "https://h:0", "https://h:70000", "https:// h"])
    func whatIsNoServerIsRefused(text: String) { #expect(ServerAddress(text) == nil) }
}

@Suite struct InCluster {
    @Test func theServiceAccountIsReadAnew() async throws {
        let directory = try Directory()
        try directory.write("ca.crt", "AUTHORITY")
        try directory.write("token", "one\n")
        try directory.write("namespace", "shop\n")
        let environment = ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"]
        let provider = AccessProvider(.inCluster(directory: directory.path), environment: environment)
        let access = try await provider.access()
        #expect(access.server.description == "https://[fd00::1]:6443" && access.namespace == "shop")
        #expect(access.authorization == Secret("Bearer one".utf8))
        try directory.write("token", "two")
        #expect(try await provider.access().authorization == Secret("Bearer two".utf8))
    }

    @Test func outsideOfAPodItIsSaidWhatToDo() async throws {
        await #expect(throws: AccessError("in-cluster", "KUBERNETES_SERVICE_HOST is not set: this is not a pod", remedy: "run in a pod, or set source.kubernetes.kubeconfig to a file")) {
            _ = try await AccessProvider(.inCluster(directory: "/nowhere"), environment: [:]).access()
        }
    }
}
