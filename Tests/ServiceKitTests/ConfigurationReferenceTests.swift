import Foundation
import ServiceKit
import Testing

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
private let reference = root.appending(path: "docs/configuration.md").path()
private let begin = "<!-- keys: begin (made from the table in the code; `make docs` rewrites it) -->\n"
private let end = "<!-- keys: end -->\n"

/// `docs/configuration.md` and the examples say what the code does.
@Suite struct ConfigurationReference {
    /// With LEASEHOLD_RECORD set, the document is rewritten instead of checked.
    @Test func theDocumentHasEveryKeyWithItsTypeDefaultAndSentence() throws {
        let text = try String(contentsOfFile: reference, encoding: .utf8)
        let from = try #require(text.range(of: begin))
        let to = try #require(text.range(of: end))
        let tables = keyTables()
        if ProcessInfo.processInfo.environment["LEASEHOLD_RECORD"] != nil {
            let new = text[..<from.upperBound] + tables + text[to.lowerBound...]
            try String(new).write(toFile: reference, atomically: true, encoding: .utf8)
        } else {
            #expect(String(text[from.upperBound..<to.lowerBound]) == tables)
        }
    }

    @Test func everyKeyHasOneSentence() {
        for key in Configuration.keys {
            #expect(key.sentence.hasSuffix("."), "\(key.path)")
            #expect(!key.sentence.contains("|"), "\(key.path)")
        }
        #expect(Set(Configuration.keys.map(\.path)).count == Configuration.keys.count)
    }

    @Test(arguments: fixtureNames(in: root.appending(path: "examples").path(), ending: ".yaml"))
    func anExampleParsesAndSaysTheSameWhenPrintedAndReadAgain(name: String) throws {
        let configuration = try Configuration.load(path: root.appending(path: "examples/\(name).yaml").path())
        let printed = configuration.describe()
        #expect(try Configuration.parse(printed.yaml, file: "/printed.yaml").describe() == printed)
    }

    @Test func examplesAreThere() {
        #expect(fixtureNames(in: root.appending(path: "examples").path(), ending: ".yaml").count >= 5)
    }

    /// The YAML blocks of the document that are whole files.
    @Test func theDocumentsOwnExampleParses() throws {
        let text = try String(contentsOfFile: reference, encoding: .utf8)
        let blocks = text.components(separatedBy: "```yaml\n").dropFirst().map { $0.components(separatedBy: "```")[0] }
        let files = blocks.filter { $0.contains("\npools:") || $0.hasPrefix("pools:") }
        #expect(!files.isEmpty)
        for file in files { _ = try Configuration.parse(file, file: "/docs.yaml") }
    }
}

private func keyTables() -> String {
    let groups: [(title: String, prefix: String)] = [
        ("Top of the file", ""), ("`source`", "source."),
        ("`source.kubernetes`", "source.kubernetes."), ("`pools[]`", "pools[]."), ("`pools[].workers`", "pools[].workers."),
        ("`listeners[]`", "listeners[]."), ("`listeners[].routes[]`", "listeners[].routes[]."), ("`publisher`", "publisher."),
        ("`publisher.tls`", "publisher.tls."), ("`publisher.external-metrics`", "publisher.external-metrics."), ("`publisher.trace`", "publisher.trace."), ("`publisher.keda`", "publisher.keda."), ("`dispatcher`", "dispatcher."), ("`asset-cache`", "asset-cache."), ("`asset-cache.keys[]`", "asset-cache.keys[]."),
        ("`asset-cache.backing`", "asset-cache.backing."),
    ]
    // A key belongs to the group with the longest prefix that it has.
    func group(of path: String) -> String {
        groups.map(\.prefix).filter { path.hasPrefix($0) }.max { $0.utf8.count < $1.utf8.count } ?? ""
    }
    var out = ""
    for (title, prefix) in groups {
        out += "\n### \(title)\n\n| key | value | default | meaning |\n|---|---|---|---|\n"
        for key in Configuration.keys where group(of: key.path) == prefix {
            let marks = (key.canHaveDefault ? " \\*" : "") + (key.needsRestart ? " †" : "")
            let value = key.type.replacingOccurrences(of: "|", with: "\\|")
            let given = key.defaultText.isEmpty ? "–" : isLiteral(key) ? "`\(key.defaultText)`" : key.defaultText
            let whenAbsent = key.isRequired ? "required" : given
            let only = key.onlyProtocol.isEmpty ? "" : " (`\(key.onlyProtocol)` only)"
            let sentence = key.sentence.replacingOccurrences(of: "*", with: "\\*")
            out += "| `\(key.path.dropFirst(prefix.count))`\(marks) | \(value) | \(whenAbsent) | \(sentence)\(only) |\n"
        }
    }
    return out + "\n"
}

/// Whether the default is a value as the file writes it, and not a description of one.
private func isLiteral(_ key: ConfigurationKey) -> Bool { !key.defaultText.contains(" ") || key.defaultText.hasPrefix("[") }
