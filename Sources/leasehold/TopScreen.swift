import Model
import Wire

/// What `leasehold top` shows, and what its keys do: a value that is drawn into a given number of lines and columns.
struct TopScreen {
    /// What pools are ordered by; the one with most comes first, names in their alphabet.
    enum Order: Character, CaseIterable {
        case name = "n"
        case demand = "d"
        case queued = "w"
        case oldest = "o"
        case free = "f"
        case leased = "l"
        case quarantined = "x"

        var title: String {
            switch self {
            case .name: "POOL"
            case .demand: "DEMAND"
            case .queued: "WAITING"
            case .oldest: "OLDEST"
            case .free: "FREE"
            case .leased: "LEASED"
            case .quarantined: "ASIDE"
            }
        }
    }

    /// What the pool-keeper's link says.
    enum Standing: Hashable {
        case connecting(String)
        case live
        case away(since: Instant)
    }

    struct Entry {
        var name: String
        var state: PoolState
        var heard: Instant
    }

    private(set) var order = Order.demand
    private(set) var filter = ""
    /// Keys go into the filter.
    private(set) var isTyping = false
    private(set) var first = 0
    /// The operator wants to go.
    private(set) var isOver = false
    var standing = Standing.connecting("")
    private var entries: [PoolID: Entry] = [:]
    private var told: Set<PoolID> = []

    // MARK: What is heard

    mutating func up() {
        standing = .live
        told = []
    }

    mutating func heard(_ message: StateMessage, name: (PoolID) -> String, at now: Instant) {
        switch message {
        case .pool(let state):
            entries[state.pool] = Entry(name: name(state.pool), state: state, heard: now)
            told.insert(state.pool)
        case .poolGone(let pool): entries[pool] = nil
        case .snapshotEnd: entries = entries.filter { told.contains($0.key) }
        case .cells: break  // never asked for
        }
    }

    // MARK: Keys

    /// Bytes as a terminal sends them.
    mutating func typed(_ bytes: [UInt8]) {
        if !isTyping, bytes.first == 0x1b, bytes.count > 1 { return moved(bytes) }
        for byte in bytes { typed(byte) }
    }

    private mutating func typed(_ byte: UInt8) {
        if isTyping {
            switch byte {
            case 0x0d, 0x0a: isTyping = false
            case 0x1b:
                isTyping = false
                filter = ""
            case 0x7f, 0x08: if !filter.isEmpty { filter.removeLast() }
            case 0x03: isOver = true
            case 0x20...0x7e: if filter.utf8.count < 64 { filter.append(Character(UnicodeScalar(byte))) }
            default: break  // nothing that a pool may be called
            }
            first = 0
            return
        }
        switch byte {
        case UInt8(ascii: "q"), 0x03, 0x04: isOver = true
        case UInt8(ascii: "/"): isTyping = true
        case UInt8(ascii: "s"):
            let all = Order.allCases
            order = all[((all.firstIndex(of: order) ?? 0) + 1) % all.count]
        case UInt8(ascii: "j"): first += 1
        case UInt8(ascii: "k"): first = max(0, first - 1)
        case 0x1b: filter = ""
        default: if let chosen = Order(rawValue: Character(UnicodeScalar(byte))) { order = chosen }
        }
    }

    /// The arrows, and a page up or down (ECMA-48).
    private mutating func moved(_ bytes: [UInt8]) {
        switch bytes {
        case [0x1b, 0x5b, 0x41], [0x1b, 0x4f, 0x41]: first = max(0, first - 1)
        case [0x1b, 0x5b, 0x42], [0x1b, 0x4f, 0x42]: first += 1
        case [0x1b, 0x5b, 0x35, 0x7e]: first = max(0, first - 10)
        case [0x1b, 0x5b, 0x36, 0x7e]: first += 10
        default: break
        }
    }

    // MARK: Drawing

    /// At most `rows` lines of at most `columns` characters.
    mutating func lines(rows: Int, columns: Int, coloured: Bool, at now: Instant) -> [String] {
        var chosen = entries.values.filter { filter.isEmpty || $0.name.lowercased().contains(filter.lowercased()) }
        chosen.sort { isBefore($0, $1, now) }
        let room = max(1, rows - 4)
        first = min(first, max(0, chosen.count - room))
        let shown = chosen.dropFirst(first).prefix(room)

        var table = Table(Self.titles(order), rows: shown.map { row($0, now) })
        if columns < 100 { table = table.without(columns: columns < 76 ? [6, 7, 9, 10] : [6, 7]) }
        let body = table.render(coloured: coloured).split(separator: "\n").map(String.init)
        var out = [head(now, coloured), sums(chosen)]
        out += body
        if chosen.isEmpty { out.append(entries.isEmpty ? "No pool is known yet." : "No pool matches.") }
        let rest = chosen.count - shown.count
        let hidden = rest > 0 ? "\(first + 1)–\(first + shown.count) of \(chosen.count)  " : ""
        let foot = isTyping ? "filter: \(filter)_" : hidden + (filter.isEmpty ? "" : "filter: \(filter)  ") + "q quit  s sort (\(order.title))  / filter  arrows move"
        out = Array(out.prefix(max(0, rows - 1)))
        out += [String](repeating: "", count: max(0, rows - 1 - out.count))
        out.append(coloured ? Colour.dim.around(String(foot.prefix(columns))) : foot)
        return out.suffix(rows).map { cut($0, columns) }
    }

    private static func titles(_ order: Order) -> [String] {
        ["POOL", "DEMAND", "WAITING", "OLDEST", "LEASED", "FREE", "ENDING", "RECOVERING", "ASIDE", "DRAINING", "UNREADY", "NOTES"].map {
            $0 == order.title ? $0 + "*" : $0
        }
    }

    private func row(_ entry: Entry, _ now: Instant) -> [Cell] {
        let state = entry.state
        let notes = [state.isPaused ? "paused" : nil, state.isRecovering ? "recovering" : nil].compactMap(\.self).joined(separator: " ")
        return [
            Cell(entry.name), Cell(Int(state.demand)), Cell(Int(state.queued), state.queued > 0 ? .warning : nil),
            state.queued > 0 ? Cell(age(Int(oldest(entry, now).milliseconds)), .warning) : Cell(""), Cell(Int(state.leases), state.leases > 0 ? .busy : nil),
            Cell(Int(state.free), state.free > 0 ? .good : nil), Cell(Int(state.ending)), Cell(Int(state.recovering)),
            Cell(Int(state.quarantined), state.quarantined > 0 ? .bad : nil), Cell(Int(state.draining)), Cell(Int(state.unready)),
            Cell(notes, notes.isEmpty ? nil : .warning),
        ]
    }

    /// Who waits has waited longer since it was told, while every change is told.
    private func oldest(_ entry: Entry, _ now: Instant) -> Duration {
        entry.state.oldestWait + (standing == .live ? max(.zero, now - entry.heard) : .zero)
    }

    private func isBefore(_ a: Entry, _ b: Entry, _ now: Instant) -> Bool {
        func key(_ entry: Entry) -> Int64 {
            switch order {
            case .name: 0
            case .demand: Int64(entry.state.demand)
            case .queued: Int64(entry.state.queued)
            case .oldest: entry.state.queued > 0 ? oldest(entry, now).nanoseconds : -1
            case .free: Int64(entry.state.free)
            case .leased: Int64(entry.state.leases)
            case .quarantined: Int64(entry.state.quarantined)
            }
        }
        return key(a) == key(b) ? a.name < b.name : key(a) > key(b)
    }

    private func head(_ now: Instant, _ coloured: Bool) -> String {
        let (text, colour): (String, Colour) =
            switch standing {
            case .connecting(let why): ("connecting" + (why.isEmpty ? "" : ": \(why)"), .warning)
            case .live: ("live", .good)
            case .away(let since): ("the pool-keeper is away for \(age(Int(max(.zero, now - since).milliseconds))); what is shown is old", .bad)
            }
        return "leasehold top  " + (coloured ? colour.around(text) : text)
    }

    private func sums(_ chosen: [Entry]) -> String {
        func sum(_ property: KeyPath<PoolState, UInt32>) -> Int { chosen.reduce(0) { $0 + Int($1.state[keyPath: property]) } }
        return "\(chosen.count) pools  demand \(sum(\.demand))  waiting \(sum(\.queued))  leased \(sum(\.leases))  free \(sum(\.free))  workers \(sum(\.total))"
    }

    /// To the width of the terminal; sequences that colour take no room.
    private func cut(_ line: String, _ columns: Int) -> String {
        var out = ""
        var width = 0
        var isSequence = false
        for character in line {
            if character == "\u{1b}" { isSequence = true }
            if isSequence {
                out.append(character)
                if character == "m" { isSequence = false }
            } else if width < columns {
                out.append(character)
                width += 1
            }
        }
        return out
    }
}

extension Table {
    /// For narrow terminals.
    fileprivate func without(columns: Set<Int>) -> Table {
        func kept<Item>(_ list: [Item]) -> [Item] { list.enumerated().filter { !columns.contains($0.offset) }.map(\.element) }
        return Table(kept(titles), rows: rows.map { kept($0) })
    }
}
