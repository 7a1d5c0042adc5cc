import Foundation
import Model
import Testing

@testable import ServiceKit

/// `Tests/Fixtures/configuration`: a file for each error with what is said about it beside it, and files that are right in `valid`.
let configurationFixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/configuration").path()

/// The fixtures with that ending, without it, sorted.
func fixtureNames(in directory: String, ending: String) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return names.filter { $0.hasSuffix(ending) }.map { String($0.dropLast(ending.count)) }.sorted()
}

func parse(_ text: String) throws -> Configuration { try Configuration.parse(text, file: "/etc/leasehold/leasehold.yaml") }

/// What is said about a text; empty when nothing is.
func diagnostics(_ text: String) -> [Diagnostic] {
    do {
        _ = try Configuration.parse(text, file: "/t.yaml")
        return []
    } catch {
        return error.diagnostics
    }
}

@Suite struct ConfigurationErrors {
    @Test(arguments: fixtureNames(in: configurationFixtures, ending: ".yaml"))
    func aWrongFileIsAnsweredWithWhereWhatAndRemedy(name: String) throws {
        let text = try String(contentsOfFile: "\(configurationFixtures)/\(name).yaml", encoding: .utf8)
        let expectedPath = "\(configurationFixtures)/\(name).expected"
        var said = "accepted"
        do {
            _ = try Configuration.parse(text, file: "\(name).yaml")
        } catch {
            said = error.description
            for diagnostic in error.diagnostics { #expect(!diagnostic.message.isEmpty && !diagnostic.remedy.isEmpty) }
        }
        if ProcessInfo.processInfo.environment["LEASEHOLD_RECORD"] != nil {
            try (said + "\n").write(toFile: expectedPath, atomically: true, encoding: .utf8)
        }
        let expected = try String(contentsOfFile: expectedPath, encoding: .utf8)
        #expect(said + "\n" == expected)
    }

    @Test func everyFixtureIsThere() {
        #expect(fixtureNames(in: configurationFixtures, ending: ".yaml") == fixtureNames(in: configurationFixtures, ending: ".expected"))
        #expect(fixtureNames(in: configurationFixtures, ending: ".yaml").count >= 60)
    }

    @Test func aFileThatIsNotThereIsNamedWithTheRemedy() {
        let error = #expect(throws: ConfigurationError.self) { try Configuration.load(path: "/nonexistent/leasehold.yaml") }
        #expect(
            error?.description
                == "/nonexistent/leasehold.yaml: error: cannot read it: No such file or directory; create it, or name another with --config"
        )
    }

    @Test func aDirectoryIsNotAFile() {
        let error = #expect(throws: ConfigurationError.self) { try Configuration.load(path: "/tmp") }
        #expect(error?.description == "/tmp: error: cannot read it: Is a directory; name a file in it")
    }

    @Test func moreThanTwentyErrorsAreCountedNotPrinted() {
        let text = "pools:\n" + (0..<30).map { "  - { name: p\($0), service: a/b, slots: 0 }\n" }.joined() + "source: { directory: /x }\n"
        let error = #expect(throws: ConfigurationError.self) { try Configuration.parse(text, file: "/t.yaml") }
        #expect(error?.diagnostics.count == 20)
        #expect(error?.omitted == 10)
        #expect(error?.description.hasSuffix("/t.yaml: and 10 more") == true)
    }

    @Test func errorsComeInTheOrderOfTheFile() {
        let lines = diagnostics("publisher: { address: nowhere }\npools:\n  - { name: a, slots: 0, colour: red }\n").map(\.line)
        #expect(lines == lines.sorted())
        #expect(lines.count == 4)
    }
}
