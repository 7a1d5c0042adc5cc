import Model
import Testing
import Wire

@testable import leasehold

@Suite struct TopScreenTests {
    private let now = Instant(nanoseconds: 50_000_000_000)

    private func screen(_ pools: [(String, queued: UInt32, free: UInt32)]) -> TopScreen {
        var screen = TopScreen()
        screen.up()
        let names = Dictionary(pools.map { (PoolID(name: $0.0), $0.0) }, uniquingKeysWith: { $1 })
        for (name, queued, free) in pools {
            var state = PoolState(pool: PoolID(name: name))
            state.queued = queued
            state.free = free
            state.oldestWait = .seconds(queued > 0 ? 2 : 0)
            screen.heard(.pool(state), name: { names[$0] ?? "" }, at: now)
        }
        screen.heard(.snapshotEnd, name: { names[$0] ?? "" }, at: now)
        return screen
    }

    private func order(_ screen: inout TopScreen, rows: Int = 20) -> [String] {
        screen.lines(rows: rows, columns: 120, coloured: false, at: now).dropFirst(3).map { String($0.prefix { $0 != " " }) }
    }

    @Test func thePoolWithMostDemandComesFirst() {
        var screen = screen([("a", queued: 0, free: 3), ("b", queued: 7, free: 0), ("c", queued: 9, free: 1)])
        #expect(Array(order(&screen).prefix(3)) == ["c", "b", "a"])
    }

    @Test(arguments: [("n", ["a", "b", "c"]), ("f", ["a", "c", "b"]), ("w", ["c", "b", "a"]), ("s", ["c", "b", "a"])])
    func keysChangeTheOrder(_ key: String, _ expected: [String]) {
        var screen = screen([("a", queued: 0, free: 3), ("b", queued: 7, free: 0), ("c", queued: 9, free: 1)])
        screen.typed(Array(key.utf8))
        #expect(Array(order(&screen).prefix(3)) == expected)
    }

    @Test func aFilterIsTypedKeptAndEnded() {
        var screen = screen([("browsers", queued: 0, free: 3), ("kernels", queued: 7, free: 0)])
        screen.typed(Array("/bro".utf8))
        #expect(screen.isTyping)
        #expect(screen.lines(rows: 10, columns: 80, coloured: false, at: now).last == "filter: bro_")
        screen.typed([0x0d])
        #expect(order(&screen).filter { $0 == "browsers" || $0 == "kernels" } == ["browsers"])
        // q in a filter is a letter.
        screen.typed(Array("/q".utf8))
        #expect(!screen.isOver)
        screen.typed([0x1b])
        #expect(order(&screen).filter { $0 == "browsers" || $0 == "kernels" } == ["kernels", "browsers"])
        screen.typed([UInt8(ascii: "q")])
        #expect(screen.isOver)
    }

    @Test(arguments: [(2, 10), (5, 40), (24, 80), (50, 200)]) func itFitsIntoTheTerminal(_ rows: Int, _ columns: Int) {
        var screen = screen((0..<40).map { ("pool-\($0)-with-a-rather-long-name", queued: 1, free: 1) })
        for coloured in [false, true] {
            let lines = screen.lines(rows: rows, columns: columns, coloured: coloured, at: now)
            #expect(lines.count == rows)
            for line in lines { #expect(line.replacing(#/\u{1b}\[[0-9]*m/#, with: "").count <= columns) }
        }
    }

    @Test func arrowsMoveNoFurtherThanThereAreRows() {
        var screen = screen((10..<40).map { ("p\($0)", queued: 0, free: 0) })
        for _ in 0..<100 { screen.typed([0x1b, 0x5b, 0x42]) }
        #expect(order(&screen, rows: 14).prefix(10).last == "p39")
        for _ in 0..<100 { screen.typed([0x1b, 0x5b, 0x41]) }
        #expect(order(&screen, rows: 14).first == "p10")
    }

    @Test func waitsGrowWhileTheLinkIsUpAndStandStillWithoutIt() {
        var screen = screen([("a", queued: 1, free: 0)])
        let later = Instant(nanoseconds: now.nanoseconds + 3_000_000_000)
        #expect(screen.lines(rows: 10, columns: 120, coloured: false, at: later).contains { $0.contains("5.0s") })
        screen.standing = .away(since: now)
        let lines = screen.lines(rows: 10, columns: 120, coloured: false, at: later)
        #expect(lines[0].contains("away for 3.0s"))
        #expect(lines.contains { $0.hasPrefix("a ") && $0.contains("2.0s") })
    }
}
