import Linux

/// One disturbance: what was done to whom, and what it cost.
struct Blow: Sendable {
    var label: String
    var at: Int64
    /// When everything was itself again.
    var over: Int64 = .max
    /// Sessions that had a worker, and callers that waited for one.
    var live = 0
    var parked = 0
    /// By session: the longest wait for bytes that were on their way, and for a worker.
    var pauses: [Int: Int64] = [:]
    var waits: [Int: Int64] = [:]
    var lost: [Kind: Int] = [:]
    var unescrowed = 0

    /// A process was stopped, as opposed to one that ended: the promise tells them apart.
    var isStop: Bool { label.contains("STOP") }
}

/// What happened to all sessions of a run.
struct Tally: Sendable {
    struct Line: Sendable {
        var began = 0
        var complete = 0
        var left = 0
        var drained = 0
        var unescrowed = 0
        var lost = 0
        var corrupt = 0
        var pauses: [Int64] = []
        var waits: [Int64] = []
    }

    var lines: [Kind: Line] = [:]
    var blows: [Blow] = []
    /// What went wrong, one line each.
    var troubles: [String] = []
    var violations: [String] = []
    /// Requests that two workers began.
    var doubledJobs = 0
    var bytes = 0
    var bytesLost = 0
    var bytesDoubled = 0
    var bytesAltered = 0

    mutating func verified(_ count: Int) { bytes += count }

    mutating func doubled(_ session: Session, _ times: Int) {
        doubledJobs += 1
        troubles.append("\(session.plan.kind.rawValue) \(session.plan.id)/\(session.exchange.round): begun \(times) times")
    }

    mutating func fault(_ fault: Flow.Fault) {
        switch fault {
        case .lost(let count): bytesLost += count
        case .doubled(let count): bytesDoubled += count
        case .altered: bytesAltered += 1
        case .extra(let count): bytesDoubled += count
        }
    }

    /// A wait belongs to the blow that it spans most of.
    mutating func pause(_ which: WritableKeyPath<Blow, [Int: Int64]>, of session: Int, from: Int64, to: Int64) {
        guard to - from >= 5_000_000 else { return }
        var best: (blow: Int, time: Int64)?
        for index in blows.indices.reversed() {
            if blows[index].at < from - 30_000_000_000 { break }
            let end = blows[index].over == .max ? to : min(to, blows[index].over + 100_000_000)
            let time = end - max(from, blows[index].at)
            if time > best?.time ?? 0 { best = (index, time) }
        }
        guard let best else { return }
        let old = blows[best.blow][keyPath: which][session] ?? 0
        blows[best.blow][keyPath: which][session] = max(old, to - from)
    }
}
