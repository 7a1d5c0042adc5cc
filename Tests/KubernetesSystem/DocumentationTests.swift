import Foundation
import KubeTestServer
import TestKit
import Testing

/// docs/kubernetes.md says what is really said.
@Suite struct DocumentationTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private func text(_ path: String) throws -> String { try String(contentsOf: Self.root.appending(path: path), encoding: .utf8) }

    /// The same table drives ``AccessTests``, where each line is compared with what the watcher says.
    @Test(arguments: AccessTests.troubles) func everyTroublesLineIsInTheTable(trouble: AccessTests.Trouble) throws {
        let line = trouble.line.replacing("PORT", with: "6443").replacing("DIRECTORY", with: "/etc/leasehold").replacing("TLS", with: "/etc/leasehold")
        #expect(try text("docs/kubernetes.md").contains("| `\(line)` | `\(trouble.kind)` |"), "\(line)")
    }

    @Test func aWrongNamespacesLineIsInTheTable() throws {
        #expect(try text("docs/kubernetes.md").contains("| `\(AccessTests.wrongNamespace)` |"))
    }

    /// The rights are those of the manifests, which scripts/check-manifests holds to the smallest.
    @Test(arguments: ["role.yaml", "cluster-role.yaml"]) func theRightsAreTheManifests(file: String) throws {
        func rules(_ text: String) -> [String] {
            text.split(separator: "\n").map { $0.prefix { $0 != "#" }.trimmingCharacters(in: .whitespaces) }
                .filter { $0.hasPrefix("- apiGroups") || $0.hasPrefix("resources") || $0.hasPrefix("verbs") }
        }
        let told = rules(try text("docs/kubernetes.md"))
        let given = rules(try text("deploy/kubernetes/\(file)"))
        #expect(!told.isEmpty && told == given)
    }

    /// Whoever may not be delayed links nothing that speaks HTTP or TLS, or starts threads.
    @Test(arguments: ["leasehold-pool-keeper", "leasehold-dispatcher", "leasehold-scaler", "leasehold"])
    func onlyTheWatcherLinksAnHTTPClient(program: String) throws {
        let bytes = try Data(contentsOf: URL(filePath: Fleet.executable(program)))
        for symbol in ["AsyncHTTPClient", "NIOSSL", "NIOPosix", "NIOHTTP2", "KubernetesClient"] {
            #expect(bytes.range(of: Data(symbol.utf8)) == nil, "\(program) has \(symbol)")
        }
        let watcher = try Data(contentsOf: URL(filePath: Fleet.executable("leasehold-watcher")))
        #expect(watcher.range(of: Data("NIOSSL".utf8)) != nil, "the test looks for the wrong name")
    }
}
