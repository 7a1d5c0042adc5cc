import Foundation
import Testing

@testable import KubernetesClient

@Suite struct ExecPlugins {
    /// Writes a plug-in that counts its runs, and a kubeconfig that uses it.
    private func provider(_ directory: Directory, _ script: String, more: String = "") throws -> AccessProvider {
        // A link: a script of our own would be busy for exec while any other test forks.
        try FileManager.default.createSymbolicLink(atPath: "\(directory.path)/plugin", withDestinationPath: "/bin/sh")
        try directory.write("script", "echo run >> \(directory.path)/runs\n\(script)\n", mode: 0o700)
        let file = try directory.kubeconfig(
            server: "https://127.0.0.1:6443",
            user: """
                exec:
                  apiVersion: client.authentication.k8s.io/v1
                  command: ./plugin
                  args: [\(directory.path)/script, get, token]
                  env: [{ name: COLOUR, value: blue }]
                  installHint: get it from the shop
                  interactiveMode: IfAvailable
                \(more)
                """)
        return AccessProvider(.kubeconfig(path: file, context: nil), environment: ["PATH": "/usr/bin:/bin"])
    }

    private func runs(_ directory: Directory) -> Int {
        ((try? String(contentsOfFile: "\(directory.path)/runs", encoding: .utf8)) ?? "").split(separator: "\n").count
    }

    private func answer(_ status: String) -> String {
        "echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\(status)}}'"
    }

    @Test func itsTokenIsKeptUntilItExpires() async throws {
        let directory = try Directory()
        let provider = try provider(directory, answer("\"token\":\"'$1-$2-$COLOUR'\",\"expirationTimestamp\":\"2999-01-01T00:00:00Z\""))
        let access = try await provider.access()
        #expect(access.authorization == Secret("Bearer get-token-blue".utf8))
        #expect(access.identity.hasSuffix("by a token of the plug-in plugin"))
        _ = try await provider.access()
        #expect(runs(directory) == 1)
        _ = try await provider.renewed()
        #expect(runs(directory) == 2)
    }

    @Test func anExpiredTokenIsAskedForAnew() async throws {
        let directory = try Directory()
        let provider = try provider(directory, answer("\"token\":\"a\",\"expirationTimestamp\":\"2001-01-01T00:00:00.5Z\""))
        _ = try await provider.access()
        _ = try await provider.access()
        #expect(runs(directory) == 2)
    }

    @Test func requestsAtTheSameTimeShareOneRun() async throws {
        let directory = try Directory()
        let provider = try provider(directory, answer("\"token\":\"a\""))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { _ = try await provider.access() } }
            try await group.waitForAll()
        }
        #expect(runs(directory) == 1)
    }

    @Test func itIsToldTheClusterWhenItWants() async throws {
        let directory = try Directory()
        let provider = try provider(directory, "printf %s \"$KUBERNETES_EXEC_INFO\" > \(directory.path)/info; " + answer("\"token\":\"a\""), more: "  provideClusterInfo: true")
        _ = try await provider.access()
        let info = try String(contentsOfFile: "\(directory.path)/info", encoding: .utf8)
        #expect(info.contains(#""server":"https://127.0.0.1:6443""#) && info.contains("certificate-authority-data") && info.contains(#""interactive":false"#))
    }

    @Test(arguments: [
        ("echo no login >&2; echo see the manual >&2; exit 3", "ended with status 3: see the manual; log in with it again, or run it by hand as this user (get it from the shop)"),
        ("kill -9 $$", "was killed by signal 9"),
        ("echo nonsense", "plugin answered no ExecCredential in JSON"),
        (#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"a"}}'"#, "answered client.authentication.k8s.io/v1beta1 instead of"),
        (#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}'"#, "answered without a status"),
        (#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{}}'"#, "answered no credential"),
        (#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"a","expirationTimestamp":"soon"}}'"#, "expirationTimestamp that is no time"),
        ("head -c 3000000 /dev/zero", "wrote more than 1 MiB"),
    ]) func whatGoesWrongIsSaid(script: String, expected: String) async throws {
        let directory = try Directory()
        let provider = try provider(directory, script)
        do {
            _ = try await provider.access()
            Issue.record("no error")
        } catch {
            #expect("\(error)".contains(expected), "\(error)")
        }
    }

    @Test func oneThatDoesNotAnswerIsEndedWithAllThatItStarted() async throws {
        let directory = try Directory()
        _ = try provider(directory, "tail -f /dev/null & echo $! > \(directory.path)/child; wait")
        let file = "\(directory.path)/kubeconfig"
        guard case .plugin(_, let plugin) = try Kubeconfig(file: file).credential(context: nil) else { throw AccessError("", "", remedy: "") }
        let run = PluginRun(plugin: plugin, environment: ["PATH": "/usr/bin:/bin"], timeout: .milliseconds(500))
        await #expect(throws: AccessError.self) { _ = try await run.output() }
        let child = try String(contentsOfFile: "\(directory.path)/child", encoding: .utf8).trimmed
        // Killed; a zombie at most, until init has reaped it.
        let state = (try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)) ?? ") Z"
        #expect(state.contains(") Z") || state.contains(") X"), "\(state)")
    }
}
