import Testing

@testable import leasehold

@Suite struct Tables {
    @Test func columnsAreAsWideAsTheirWidestFieldAndNumbersEndAtTheRight() {
        let table = Table(
            ["POOL", "QUEUED", "AGE", "NOTES"],
            rows: [[Cell("a"), Cell(7), Cell("850ms"), Cell("")], [Cell("browsers"), Cell(12_000), Cell("1h05m"), Cell("paused")]])
        #expect(
            table.render(coloured: false) == """
                POOL      QUEUED    AGE  NOTES
                a              7  850ms  -
                browsers   12000  1h05m  paused

                """)
    }

    @Test func aTableWithoutRowsHasItsTitles() { #expect(Table(["A", "B"], rows: []).render(coloured: false) == "A  B\n") }

    @Test func addressesAreNotNumbers() {
        let table = Table(["ADDRESS", "X"], rows: [[Cell("10.0.0.1:80"), Cell("y")], [Cell("10.0.0.10:8080"), Cell("y")]])
        #expect(table.render(coloured: false) == "ADDRESS         X\n10.0.0.1:80     y\n10.0.0.10:8080  y\n")
    }

    @Test func coloursTakeNoRoom() {
        let table = Table(["STATE", "X"], rows: [[Cell("free", .good), Cell("y")]])
        #expect(table.render(coloured: true) == "\u{1b}[2mSTATE\u{1b}[0m  \u{1b}[2mX\u{1b}[0m\n\u{1b}[32mfree\u{1b}[0m   y\n")
    }

    @Test func controlCharactersFromOutsideAreShownNotObeyed() {
        #expect(Cell("a\u{1b}[2Jb\n\u{9b}").text == "a\\u{1b}[2Jb\\u{a}\\u{9b}")
    }

    @Test(arguments: [
        (-5, "0ms"), (0, "0ms"), (999, "999ms"), (1_000, "1.0s"), (59_999, "59.9s"), (60_000, "1m00s"), (3_599_999, "59m59s"),
        (3_600_000, "1h00m"), (86_399_999, "23h59m"), (86_400_000, "1d00h"), (1_000_000_000, "11d13h"),
    ])
    func ageIsShortEnoughToRead(milliseconds: Int, text: String) { #expect(age(milliseconds) == text) }
}
