import Linux

/// A lease's token as the worker sees it: `pool/epoch.counter`.
struct Token: Comparable, Hashable {
    var epoch: UInt64
    var counter: UInt64

    init?(inHead text: String) {
        guard let line = text.split(separator: "\r\n").first(where: { $0.lowercased().hasPrefix("leasehold-lease:") }),
            let numbers = line.split(separator: "/").last?.split(separator: "."), numbers.count == 2,
            let epoch = UInt64(numbers[0]), let counter = UInt64(numbers[1])
        else { return nil }
        self.epoch = epoch
        self.counter = counter
    }

    static func < (a: Token, b: Token) -> Bool { (a.epoch, a.counter) < (b.epoch, b.counter) }
}

/// Who got a lease of the scarce pool before whom, and whether that was their turn.
struct OrderBook {
    private struct Served {
        var session: Int
        var askedAt: Int64
        /// By then the dispatcher must have read the request.
        var readBy: Int64
        var token: Token
    }

    private var served: [Served] = []
    /// When no dispatcher was there to read a request.
    private var away: [(from: Int64, to: Int64)] = []
    /// When a dispatcher was struck; also one that was not ready yet.
    private var blows: [Int64] = []
    private(set) var count = 0
    /// Callers that saw at least one later caller go first.
    private(set) var overtaken = 0
    /// The same, where a dispatcher was away meanwhile: a grant that was on its way with it is lost, and its caller's second one is younger than
    /// those of callers behind it that were granted in the same moment.
    private(set) var overtakenInBlow = 0
    /// How many went before one caller, at most.
    private(set) var most = 0
    /// The same for each blow at a dispatcher in that caller's time: every one may take a grant of its with it. With a line about that caller.
    private(set) var mostPerBlow = (count: 0, detail: "")
    private(set) var tokensTwice = 0
    /// Of those that saw a later one go first, a line each.
    private(set) var details: [String] = []

    /// From when on callers are looked at: the first crowd comes all at once, and those who still wait in the backlog then are later than who
    /// asks on a connection that was accepted.
    var countsFrom: Int64 = .max

    /// What a dispatcher that is up may take to read a request.
    private static let margin: Int64 = 150_000_000

    mutating func dispatcherWent(at now: Int64) {
        blows.append(now)
        if away.last?.to == .max { return }
        away.append((now, .max))
    }

    mutating func dispatcherCame(at now: Int64) {
        guard let last = away.indices.last, away[last].to == .max else { return }
        away[last].to = now
    }

    /// When the newest dispatcher came, if `connected` was made while there was none: then it waited in the backlog.
    func cameAfter(_ connected: Int64) -> Int64? {
        guard let gap = away.last(where: { $0.to != .max }), gap.from <= connected, connected < gap.to else { return nil }
        return gap.to
    }

    private func readBy(_ asked: Int64) -> Int64 {
        var by = asked + Self.margin
        for gap in away where gap.from <= by && gap.to > asked - Self.margin {
            by = gap.to == .max ? .max : max(by, gap.to + Self.margin)
        }
        return by
    }

    /// Tokens grow with each grant, so they say who was granted first, whoever reached a worker first.
    mutating func served(_ session: Int, askedAt: Int64, _ token: Token, at now: Int64) {
        count += 1
        let new = Served(session: session, askedAt: askedAt, readBy: readBy(askedAt), token: token)
        var before = 0
        var first: Served?
        for old in served.suffix(400) {
            if old.token == token { tokensTwice += 1 }
            if old.token < token && new.readBy < old.askedAt && askedAt >= countsFrom {
                before += 1
                if old.askedAt > first?.askedAt ?? 0 { first = old }
            }
        }
        if before > 0, let first {
            let detail =
                "\(session) asked \((first.askedAt - askedAt) / 1_000_000) ms before \(first.session), waited \((now - askedAt) / 1_000_000) ms, "
                + "and got token \(token.epoch).\(token.counter) after \(first.token.epoch).\(first.token.counter); \(before) before it; last absences: "
                + away.suffix(2).map { "\((now - $0.from) / 1_000_000)–\($0.to == .max ? 0 : (now - $0.to) / 1_000_000) ms ago" }.joined(separator: ", ")
            if away.contains(where: { $0.from <= now && $0.to >= askedAt }) {
                overtakenInBlow += 1
            } else {
                overtaken += 1
                details.append(detail)
            }
            let struck = max(1, blows.count { $0 >= askedAt && $0 <= now })
            let perBlow = (before + struck - 1) / struck
            if perBlow > mostPerBlow.count { mostPerBlow = (perBlow, detail) }
        }
        most = max(most, before)
        served.append(new)
        if served.count > 2000 { served.removeFirst(1000) }
        if away.count > 200 { away.removeFirst(100) }
    }
}
