import Foundation
import TestKit
import Testing

/// A configuration that is not right: every process says where, and what would be, and exits with 78.
@Suite(.ownThread) struct ConfigurationFileTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var text: String
        /// Line and column behind the file's name.
        var place: String
        var says: [String]
    }

    private static let pools = "pools: [{ name: pods }]\n"

    static let cases = [
        Case(
            testDescription: "unknown key", text: "pools:\n- name: pods\n  slotz: 2\nlisteners: []\n", place: ":5:3:",
            says: ["slotz", "did you mean slots"]),
        Case(
            testDescription: "bad duration", text: "pools:\n- name: pods\n  hold: { timeout: 5 seconds }\n", place: ":5:20:",
            says: ["pools[0].hold.timeout", "5s"]),
        Case(
            testDescription: "unknown pool", text: pools + "listeners:\n- { name: http, address: 127.0.0.1:8080, pool: podz }\n",
            place: ":5:48:",
            says: ["podz", "pods"]),
        Case(
            testDescription: "port clash",
            text: pools
                + "listeners:\n- { name: a, address: 127.0.0.1:8080, pool: pods }\n- { name: b, address: 127.0.0.1:8080, pool: pods }\n",
            place: ":6:23:", says: ["127.0.0.1:8080"]),
    ]

    @Test(arguments: cases) func everyProcessExitsWith78AndSaysWhereAndWhat(_ one: Case) throws {
        let fleet = try Fleet(one.text)
        defer { fleet.close() }
        var outputs: [String: String] = [:]
        for process in Fleet.Process.allCases {
            let daemon = try fleet.launch(process)
            #expect(try daemon.waitForExit() == .status(78), "\(process)")
            outputs[process.rawValue] = daemon.output
        }
        for arguments in [["check"], ["up"], ["show", "pools"]] {
            let command = try fleet.spawn("leasehold", Fleet.executable("leasehold"), arguments + ["--config", fleet.configurationPath])
            #expect(try command.waitForExit() == .status(78), "leasehold \(arguments)")
            outputs["leasehold \(arguments)"] = command.output
        }
        for (who, output) in outputs {
            #expect(output.contains("\(fleet.configurationPath)\(one.place) error: "), "\(who): \(output)")
            for word in one.says { #expect(output.contains(word), "\(who): \(output)") }
        }
    }

    @Test func aMissingFileIs78Too() throws {
        let fleet = try Fleet("pools: [{ name: pods }]\n")
        defer { fleet.close() }
        #expect(unlink(fleet.configurationPath) == 0)
        for process in Fleet.Process.allCases {
            let daemon = try fleet.launch(process)
            #expect(try daemon.waitForExit() == .status(78), "\(process)")
            #expect(daemon.output.contains(fleet.configurationPath))
        }
    }

    @Test func whatCheckPrintsIsAValidFileWithEveryDefault() throws {
        let fleet = try Fleet(Setup.http(pool: "hold: { timeout: 7s }"))
        defer { fleet.close() }
        let (text, exit) = try fleet.leasehold("check")
        #expect(exit == .status(0))
        #expect(text.contains("7s"))
        #expect(text.contains("max-queued: 10000"))
        try Data(text.utf8).write(to: URL(fileURLWithPath: fleet.configurationPath))
        let (again, second) = try fleet.leasehold("check")
        #expect(second == .status(0))
        #expect(again == text)
    }
}
