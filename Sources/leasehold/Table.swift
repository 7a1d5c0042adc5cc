/// One field of a ``Table``.
struct Cell: Hashable {
    var text: String
    var colour: Colour?

    /// Control characters from outside are shown, not obeyed.
    init(_ text: String, _ colour: Colour? = nil) {
        self.text = String(
            text.unicodeScalars.map { scalar -> String in
                switch scalar.value {
                case 0..<0x20, 0x7f..<0xa0: "\\u{\(String(scalar.value, radix: 16))}"
                default: String(scalar)
                }
            }.joined())
        self.colour = colour
    }

    init(_ number: Int, _ colour: Colour? = nil) { self.init(String(number), colour) }
}

/// Rows under titles, in columns as wide as their widest field. Columns that hold only numbers and times end at the right.
struct Table {
    var titles: [String]
    var rows: [[Cell]]

    init(_ titles: [String], rows: [[Cell]]) {
        self.titles = titles
        self.rows = rows
    }

    /// With a line break at the end of each line, and no blanks before it.
    func render(coloured: Bool) -> String {
        let columns = titles.indices.map { column -> (width: Int, isRight: Bool) in
            let fields = rows.map { $0[column].text }
            let width = max(titles[column].count, fields.map(\.count).max() ?? 0)
            let measured = fields.filter { !$0.isEmpty && $0 != "-" }
            return (width, !measured.isEmpty && measured.allSatisfy { $0.first?.isNumber == true && !$0.contains(".") || isAge($0) })
        }
        func line(_ cells: [Cell]) -> String {
            var out = ""
            var blanks = 0
            for (cell, column) in zip(cells, columns) {
                let text = cell.text.isEmpty ? "-" : cell.text
                let padding = column.width - text.count
                if column.isRight { blanks += padding }
                out += String(repeating: " ", count: blanks)
                out += coloured ? cell.colour?.around(text) ?? text : text
                blanks = 2 + (column.isRight ? 0 : padding)
            }
            return out + "\n"
        }
        return line(titles.map { Cell($0, .dim) }) + rows.map(line).joined()
    }

    /// What ``age(_:)`` writes.
    private func isAge(_ text: String) -> Bool {
        guard let last = text.last, text.first?.isNumber == true, "smhd".contains(last) else { return false }
        return text.allSatisfy { $0.isNumber || ".smhd".contains($0) }
    }
}

/// Milliseconds for people: `850ms`, `4.2s`, `3m12s`, `2h05m`, `3d04h`.
func age(_ milliseconds: Int) -> String {
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : String(number) }
    let seconds = milliseconds / 1_000
    if milliseconds < 1_000 { return "\(max(0, milliseconds))ms" }
    if seconds < 60 { return "\(seconds).\(milliseconds / 100 % 10)s" }
    if seconds < 3_600 { return "\(seconds / 60)m\(two(seconds % 60))s" }
    if seconds < 86_400 { return "\(seconds / 3_600)h\(two(seconds / 60 % 60))m" }
    return "\(seconds / 86_400)d\(two(seconds / 3_600 % 24))h"
}
