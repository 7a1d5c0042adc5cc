import Foundation
import TestKit
import Testing

@testable import ServiceKit

/// Whatever stands in the file, reading it ends in a configuration or in diagnostics that point into it.
@Suite struct ConfigurationMutations {
    private let texts = ["sample", "everything"].compactMap {
        try? String(contentsOfFile: "\(configurationFixtures)/valid/\($0).yaml", encoding: .utf8)
    }

    private func tryToRead(_ bytes: [UInt8]) -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).count
        do {
            let configuration = try Configuration.parse(text, file: "/m.yaml")
            let printed = configuration.describe()
            #expect((try? Configuration.parse(printed.yaml, file: "/p.yaml").describe()) == printed, "\(text)")
            return "valid"
        } catch {
            #expect(!error.diagnostics.isEmpty)
            for diagnostic in error.diagnostics { #expect(diagnostic.line <= lines + 1 && !diagnostic.remedy.isEmpty, "\(diagnostic)") }
            return error.description
        }
    }

    @Test func aFileThatEndsAnywhereIsReadOrRefused() {
        for text in texts {
            let bytes = Array(text.utf8)
            for end in stride(from: 0, through: bytes.count, by: 3) { _ = tryToRead(Array(bytes[..<end])) }
        }
    }

    @Test func aFileWithSlipsIsReadOrRefused() {
        let seed = UInt64(ProcessInfo.processInfo.environment["LEASEHOLD_SEED"] ?? "") ?? .random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        let pieces = [
            "\n", "  ", ": ", "- ", "[", "]", "{", "}", "\"", "'", "*", "&a ", "0", "s", "-1", "~", "null", "#", "\t", "\u{0}", "é",
            "99999999999999999999", "pools", "|\n", "---\n", "<<",
        ]
        for _ in 0..<400 {
            var bytes = Array(texts[Int.random(in: 0..<texts.count, using: &random)].utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0...bytes.count, using: &random)
                let length = min(Int.random(in: 0...6, using: &random), bytes.count - at)
                bytes.replaceSubrange(at..<at + length, with: Array(pieces[Int.random(in: 0..<pieces.count, using: &random)].utf8))
            }
            _ = tryToRead(bytes)
        }
    }
}
