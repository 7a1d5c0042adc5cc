import Foundation
import TestKit

let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures/kubernetes-tls").path()

/// A directory that goes with its test.
final class Directory {
    let path: String

    init() throws {
        var template = Array("/tmp/lhkc.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: errno \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    func write(_ name: String, _ text: String, mode: Int = 0o600) throws -> String {
        let file = "\(path)/\(name)"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file)
        return file
    }

    /// A kubeconfig with one context; `cluster` and `user` are the YAML of the two sections.
    @discardableResult
    func kubeconfig(server: String, cluster: String = "certificate-authority: \(fixtures)/ca.crt", user: String = "token: let-me-in") throws -> String {
        try write(
            "kubeconfig",
            """
            apiVersion: v1
            kind: Config
            current-context: test
            contexts:
            - name: test
              context: { cluster: here, user: me, namespace: shop }
            clusters:
            - name: here
              cluster:
                server: \(server)
            \(cluster.split(separator: "\n").map { "    \($0)" }.joined(separator: "\n"))
            users:
            - name: me
              user:
            \(user.split(separator: "\n").map { "    \($0)" }.joined(separator: "\n"))

            """)
    }
}
