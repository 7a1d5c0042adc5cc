import Foundation
import Testing

/// The journal's catalog and the code say the same, read from both as text.
@Suite struct MessageCatalogTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func text(_ path: String) throws -> String { try String(contentsOf: root.appending(path: path), encoding: .utf8) }

    private static func ids() throws -> [String: String] {
        let pairs = try text("Sources/ServiceKit/MessageID.swift").matches(of: #/static let (\w+) = "([0-9a-f]{32})"/#)
        return Dictionary(pairs.map { (String($0.1), String($0.2)) }) { first, _ in first }
    }

    @Test func everyMessageHasAnEntryAndEveryEntryAMessage() throws {
        let catalog = try Self.text("units/catalog/leasehold.catalog")
        let entries = catalog.matches(of: #/(?m)^-- ([0-9a-f]{32})$/#).map { String($0.1) }
        #expect(Set(entries).count == entries.count, "an entry is there twice")
        #expect(Set(entries) == Set(try Self.ids().values))
        #expect(catalog.matches(of: #/(?m)^Subject: ./#).count == entries.count)
    }

    @Test func idsAreUsedOnce() throws {
        let ids = try Self.ids()
        #expect(Set(ids.values).count == ids.count)
    }

    @Test func everyLineFromNoticeOnHasAnID() throws {
        let sources = Self.root.appending(path: "Sources")
        let files = FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil)?.compactMap { $0 as? URL } ?? []
        var calls = 0
        for file in files where file.pathExtension == "swift" {
            let source = try String(contentsOf: file, encoding: .utf8)
            for call in source.matches(of: #/logger\.(?:notice|warning|error|critical)\(/#) {
                var depth = 1
                let rest = source[call.range.upperBound...]
                let end = rest.firstIndex { character in
                    depth += character == "(" ? 1 : character == ")" ? -1 : 0
                    return depth == 0
                }
                calls += 1
                #expect(rest[..<(end ?? rest.endIndex)].contains("messageID"), "\(file.lastPathComponent): \(rest.prefix(80))")
            }
        }
        #expect(calls > 20)
    }
}
