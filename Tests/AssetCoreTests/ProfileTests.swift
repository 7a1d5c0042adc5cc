import Model
import Testing

@testable import AssetCore

struct ProfileTests {
    private static func id(_ counter: UInt64) -> LeaseID { LeaseID(epoch: 5, counter: counter) }

    private func book(_ leases: [UInt64: String]) -> LeaseBook {
        var book = LeaseBook()
        book.snapshotBegan()
        for (counter, tenant) in leases { book.began(Self.id(counter), .init(pool: PoolID(name: "browsers"), tenant: tenant)) }
        book.snapshotEnded()
        return book
    }

    private func judge(_ text: String, _ tenant: String, last: String? = nil, _ book: LeaseBook) -> ProfileRule.Answer? {
        LeaseName(text).map { ProfileRule.judge($0, tenant: tenant, last: last.flatMap { LeaseName($0) }, book: book) }
    }

    @Test func aLiveLeaseOfTheTenantMayWrite() {
        let book = book([7: "ann", 8: ""])
        #expect(judge("browsers/5.7", "ann", book) == .accepted)
        #expect(judge("browsers/5.8", "default", book) == .accepted)
    }

    @Test func aStrangerMayNot() {
        let book = book([7: "ann", 8: ""])
        #expect(judge("browsers/5.7", "bob", book) == .notLive)
        #expect(judge("browsers/5.8", "ann", book) == .notLive)
        #expect(judge("browsers/5.9", "ann", book) == .notLive)
        // Another pool's name in front of a live token.
        #expect(judge("others/5.7", "ann", book) == .notLive)
    }

    @Test func aZombieNeverOverwrites() {
        var book = book([7: "ann", 9: "ann"])
        #expect(judge("browsers/5.7", "ann", last: "browsers/5.9", book) == .older)
        #expect(judge("browsers/5.9", "ann", last: "browsers/5.9", book) == .accepted)
        #expect(judge("browsers/5.9", "ann", last: "browsers/4.99", book) == .accepted)
        // Tokens of different pools do not compare.
        #expect(judge("browsers/5.7", "ann", last: "others/5.9", book) == .accepted)
        book.ended(Self.id(7))
        #expect(judge("browsers/5.7", "ann", book) == .notLive)
    }

    @Test func whileNobodyTellsNobodyIsBelieved() {
        var book = book([7: "ann"])
        book.linkLost()
        #expect(judge("browsers/5.7", "ann", book) == .unknown)
        #expect(judge("browsers/5.7", "ann", LeaseBook()) == .unknown)
        book.snapshotBegan()
        book.began(Self.id(8), .init(pool: PoolID(name: "browsers"), tenant: "ann"))
        #expect(judge("browsers/5.8", "ann", book) == .unknown)
        book.snapshotEnded()
        #expect(judge("browsers/5.8", "ann", book) == .accepted && judge("browsers/5.7", "ann", book) == .notLive)
    }

    @Test func aLeaseThatEndsWithinASnapshotIsNotInIt() {
        var book = LeaseBook()
        book.snapshotBegan()
        book.began(Self.id(1), .init(pool: PoolID(name: "browsers"), tenant: ""))
        book.ended(Self.id(1))
        book.snapshotEnded()
        #expect(book.count == 0)
    }

    @Test(arguments: ["", "browsers", "/5.7", "browsers/", "browsers/5", "browsers/x.y", "browsers/5.-7"]) func whatNamesNoLeaseIsNone(
        text: String
    ) {
        #expect(LeaseName(text) == nil)
    }

    @Test(arguments: ["", ".", "..", "a/b", "a b", "a%2f", "é", String(repeating: "a", count: 129), "a\u{0}", "a?b"])
    func whatIsNoNameIsRefused(text: String) {
        #expect(!ProfileRule.isName(text))
    }
}
