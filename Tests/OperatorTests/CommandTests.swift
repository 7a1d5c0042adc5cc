import ArgumentParser
import Foundation
import ServiceKit
import Testing

@testable import leasehold

@Suite struct Commands {
    @Test(arguments: [
        ["nonsense"], ["show"], ["show", "nothing"], ["show", "processes", "--pool", "x"], ["show", "pools", "--interval", "5"],
        ["show", "pools", "--interval", "1ms"], ["quarantine", "x", "--for", "0"], ["quarantine", "x", "--for", "10"], ["drain"], ["pause"],
        ["completions", "tcsh"], ["check", "--log-level", "loud"], ["check", "a", "b"],
    ])
    func aWrongCommandLineIsSixtyFour(arguments: [String]) {
        let error = #expect(throws: (any Error).self) { _ = try Leasehold.parseAsRoot(arguments) }
        #expect(error.map { Leasehold.exitCode(for: $0).rawValue } == ExitStatus.usage.rawValue)
    }

    @Test func aDurationOnTheCommandLineIsAnsweredWithTheRemedy() {
        let error = #expect(throws: (any Error).self) { _ = try Leasehold.parseAsRoot(["quarantine", "x", "--for", "10"]) }
        #expect(error.map { Leasehold.fullMessage(for: $0).contains("write 10s for seconds") } == true)
    }

    @Test func theVerbsParse() throws {
        #expect(try Leasehold.parseAsRoot(["drain", "browser-0", "--pool", "browsers", "--config", "/c.yaml"]) is Drain)
        #expect(try Leasehold.parseAsRoot(["undrain", "10.0.0.1:80"]) is Undrain)
        #expect((try Leasehold.parseAsRoot(["quarantine", "u", "--for", "10m"]) as? Quarantine)?.duration == .seconds(600))
        #expect((try Leasehold.parseAsRoot(["pause", "browsers", "--refuse"]) as? Pause)?.refuse == true)
        #expect(try Leasehold.parseAsRoot(["resume", "browsers"]) is Resume)
        #expect((try Leasehold.parseAsRoot(["show", "queue", "--json", "--watch"]) as? Show)?.interval == .seconds(1))
    }

    @Test(arguments: Completions.Shell.allCases)
    func completionsKnowTheSubcommands(shell: Completions.Shell) {
        let script = Leasehold.completionScript(for: shell == .bash ? .bash : shell == .zsh ? .zsh : .fish)
        for word in ["show", "quarantine", "endpoints", "log-level"] { #expect(script.contains(word)) }
    }
}
