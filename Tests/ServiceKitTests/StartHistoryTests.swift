import Foundation
import Linux
import Testing

@testable import ServiceKit

@Suite struct StartHistoryTests {
    private static let second: Int64 = 1_000_000_000

    private func history() -> StartHistory {
        StartHistory(path: FileManager.default.temporaryDirectory.appending(path: "leasehold-starts-\(UUID().uuidString)").path)
    }

    @Test func theFifthStartWithinTenSecondsIsOneTooMany() {
        let history = history()
        defer { unlink(history.path) }
        let answers = (0..<8).map { history.record(at: (100 + Int64($0)) * Self.second) }
        #expect(answers == [false, false, false, false, true, true, true, true])
    }

    @Test func fourStartsInTenSecondsAreNotTooMany() {
        let history = history()
        defer { unlink(history.path) }
        #expect((0..<30).allSatisfy { !history.record(at: (100 + Int64($0) * 5 / 2) * Self.second) })
    }

    @Test func aLongQuietForgives() {
        let history = history()
        defer { unlink(history.path) }
        for i in 0..<5 { _ = history.record(at: Int64(100 + i) * Self.second) }
        #expect(!history.record(at: 115 * Self.second))
    }

    @Test(arguments: ["", "nonsense", "9223372036854775808\n-\n\u{0}", "99999999999999"])
    func whatIsDamagedOrOfAnotherBootDoesNotCount(_ text: String) {
        #expect(StartHistory.recent(text, at: 50 * Self.second).isEmpty)
    }

    @Test func aPlaceThatCannotBeWrittenSlowsNothingDown() {
        let history = StartHistory(path: "/proc/leasehold/starts")
        #expect((0..<10).allSatisfy { !history.record(at: Int64($0)) })
    }
}
