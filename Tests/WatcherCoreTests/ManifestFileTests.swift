import Foundation
import Kubernetes
import Testing

@testable import leasehold_watcher

@Suite struct ManifestFileTests {
    private static let slice = """
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
        addressType: IPv4
        ports: [{name: http, port: 8080}]
        endpoints:
        - addresses: [10.0.0.1]

        """

    private func parse(_ text: String, _ name: String = "web.yaml") throws(ManifestFile.Problem) -> Manifest {
        try ManifestFile.parse(Array(text.utf8), name: name)
    }

    @Test func severalDocumentsAndListsAreOneManifest() throws {
        let read = try parse(
            "---\n# nothing yet\n---\n" + Self.slice
                + "---\n---\nkind: List\napiVersion: v1\nitems:\n- {kind: Service, apiVersion: v1, metadata: {name: web}}\n---\n"
                + Self.slice.replacing("web-1", with: "web-2") + "...\n")
        #expect(read.slices.map(\.key.name) == ["web-1", "web-2"])
        #expect(read.services.map(\.key.name) == ["web"])
    }

    @Test(arguments: ["list.json", "list.yaml", "list.yml"])
    func jsonIsReadWhateverTheFileIsCalled(name: String) throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: folder.appendingPathComponent("Fixtures/kubernetes/endpointslices.list.json"), encoding: .utf8)
        #expect(try parse(text, name).slices.count == 6)
    }

    @Test func flowMappingsThatAreNoJSONAreYAML() throws {
        #expect(try parse("{kind: Service, apiVersion: v1, metadata: {name: web}} # short").services.count == 1)
    }

    @Test func windowsLineEndsAndAByteOrderMarkAreRead() throws {
        #expect(try parse("\u{feff}" + Self.slice.replacing("\n", with: "\r\n")).slices.count == 1)
    }

    @Test func anchorsThatMultiplyAreNoMatter() throws {
        var text = Self.slice + "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...12 {
            text += "x-\(level): &a\(level) [\(Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", "))]\n"
        }
        #expect(try parse(text).slices.count == 1)
    }

    @Test(
        arguments: [
            ("web.yaml", "", "web.yaml: holds no manifest; to remove its endpoints, delete the file"),
            ("web.yaml", "# all\n# commented out\n", "web.yaml: holds no manifest; to remove its endpoints, delete the file"),
            ("web.json", "", "web.json: holds no manifest; to remove its endpoints, delete the file"),
            ("web.json", " \n", "web.json: holds no manifest; to remove its endpoints, delete the file"),
            ("web.yaml", "kind: Service\napiVersion: v1\nmetadata:\n  name: [a]\n", "web.yaml:4:9: metadata.name: expected a single value"),
            ("web.yaml", "kind: Service\napiVersion: v1\nmetadata:\n  namespace: shop\n", "web.yaml:4:3: metadata.name: is missing"),
            ("web.yaml", "hello\n", "web.yaml:1:1: expected a mapping"),
            (
                "web.yaml", "kind: Service\n\tapiVersion: v1\n",
                "web.yaml:2:1: found a tab character that violates indentation (while scanning a plain scalar)"
            ),
            ("web.yaml", "kind: Service\nkind: Service\n", "web.yaml:1:1: the key kind comes twice"),
            (
                "web.yaml", "kind: [Service\napiVersion: v1\n",
                "web.yaml:2:11: did not find expected ',' or ']' (while parsing a flow sequence)"
            ),
            ("web.yaml", Self.slice + "- addresses: 10.0.0.2\n", "web.yaml:8:14: endpoints[1].addresses: expected a list"),
            (
                "web.yaml", Self.slice + "---\n" + Self.slice.replacing("8080", with: "high"),
                "web.yaml:13:28: ports[0].port: expected a whole number"
            ),
            (
                "web.yaml", Self.slice + "---\n" + Self.slice.replacing("8080", with: "80800"),
                "web.yaml:13:28: ports[0].port: 80800 is not a port (1…65535)"
            ),
            (
                "web.json", "{\n \"kind\": \"Service\",\n \"apiVersion\": \"v1\",\n \"metadata\": {\"name\": 7}}",
                "web.json:4:23: metadata.name: expected text"
            ),
            ("web.json", "{\n \"kind\": \"Service\",\n \"metadata\": {}}", "web.json:1:1: apiVersion: is missing"),
            ("web.json", "{\n \"kind\": \"Service\"\n \"apiVersion\": \"v1\"}", "web.json:3:2: expected '}', found '\"'"),
            ("web.json", "{\n \"kind\": Service}", "web.json:2:10: \"Service\" is no value; text needs double quotes"),
            ("web.json", "{\n \"kind\": \"Service", "web.json:2:18: the file ends inside a string"),
            ("web.json", "{\n \"kind\": \"Service\",\n", "web.json:3:1: the file ends where '\"' should come"),
            ("web.json", "{\"kind\": \"Service\"}\n{}", "web.json:2:1: something follows the end of the document"),
            ("web.json", "kind: Service\n", "web.json:1:1: \"kind\" is no value; text needs double quotes"),
        ] as [(String, String, String)])
    func aProblemIsNamedWithFileAndLine(name: String, text: String, sentence: String) {
        let problem = #expect(throws: ManifestFile.Problem.self) { try parse(text, name) }
        #expect(problem?.sentence(file: name) == sentence)
    }

    @Test func whatIsNotTextIsAProblem() {
        let problem = #expect(throws: ManifestFile.Problem.self) { try ManifestFile.parse([0x6b, 0xff, 0xfe, 0x3a], name: "a.yaml") }
        #expect(problem?.text == "is not UTF-8 text")
    }

    @Test(arguments: ["[", "{\"a\":", "- ", "{a: "])
    func depthIsBounded(unit: String) {
        for name in ["a.yaml", "a.json"] {
            #expect(throws: ManifestFile.Problem.self) { try parse(String(repeating: unit, count: 100_000), name) }
        }
    }

    @Test func aYAMLFileTooLargeIsRefusedWithARemedy() {
        let problem = #expect(throws: ManifestFile.Problem.self) {
            try parse("#" + String(repeating: " ", count: ManifestFile.mostYAMLBytes))
        }
        #expect(problem?.text == "is larger than 8 MiB; write large manifests as JSON, or in several files")
    }

    @Test func everyPrefixOfAManifestIsReadWithoutHarm() {
        let yaml = Array(Self.slice.utf8)
        let json = Array(
            #"{"kind":"ServiceList","apiVersion":"v1","items":[{"metadata":{"name":"a\n"},"spec":{"ports":[{"port":8.0e1}]}}]}"#.utf8)
        for length in 0..<yaml.count { _ = try? ManifestFile.parse(Array(yaml[..<length]), name: "a.yaml") }
        for length in 0..<json.count {
            #expect(throws: ManifestFile.Problem.self) { try ManifestFile.parse(Array(json[..<length]), name: "a.json") }
        }
    }
}
