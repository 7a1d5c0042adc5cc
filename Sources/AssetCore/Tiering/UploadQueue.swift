import Model

/// What is here and not yet in the store behind, in the order in which it came: the memory of the queue on disk.
///
/// A name is in it once: what is sent is what is here when its turn comes, so a later write of the same name takes the place of the earlier
/// one, and never overtakes it. One request for each name at a time.
public struct UploadQueue: Sendable {
    struct Entry: Hashable, Sendable {
        /// Of the newest write.
        var generation: Int64
        var since: Instant
        var state: State
        /// In a row.
        var refusals = 0
    }

    enum State: Hashable, Sendable {
        /// In the line. Leaves to sending.
        case waiting
        /// That generation is on its way. Leaves to nothing, waiting or resting.
        case sending(Int64)
        /// The store behind refused it. Leaves to waiting.
        case resting(Instant)
    }

    private var entries: [BackedName: Entry] = [:]
    private var line: [BackedName] = []
    private var head = 0
    private var resting: [BackedName: Instant] = [:]
    public private(set) var sending = 0

    static let firstRest = Duration.seconds(1)
    static let longestRest = Duration.seconds(300)

    public init() {}

    public var count: Int { entries.count }
    /// Those that the store behind refused, and that wait before they are tried again.
    public var refused: Int { resting.count }

    public func contains(_ name: BackedName) -> Bool { entries[name] != nil }

    /// Since when the oldest waits. O(entries).
    public var oldest: Instant? { entries.values.map(\.since).min() }

    /// A write that is durable here. Older generations than the one that is known are late and change nothing.
    public mutating func changed(_ name: BackedName, generation: Int64, at now: Instant) {
        guard var entry = entries[name] else {
            entries[name] = Entry(generation: generation, since: now, state: .waiting)
            line.append(name)
            return
        }
        guard generation > entry.generation else { return }
        entry.generation = generation
        entries[name] = entry
    }

    /// The next that may go, which is then on its way; nil: none.
    public mutating func next(at now: Instant) -> (name: BackedName, generation: Int64)? {
        for (name, until) in resting where until <= now {
            resting[name] = nil
            entries[name]?.state = .waiting
            line.append(name)
        }
        guard head < line.count else { return nil }
        let name = line[head]
        head += 1
        if head > 1_024, head * 2 > line.count {
            line.removeFirst(head)
            head = 0
        }
        guard var entry = entries[name] else { return next(at: now) }
        entry.state = .sending(entry.generation)
        entries[name] = entry
        sending += 1
        return (name, entry.generation)
    }

    /// When `next` may have one that rests now.
    public var nextRetry: Instant? { resting.values.min() }

    public enum Outcome: Hashable, Sendable {
        /// The store behind has that generation.
        case done
        /// It could not be asked, or failed itself: the name is the first in the line again.
        case away
        /// It does not want it: the name rests, and others go on.
        case refused
    }

    public mutating func sent(_ name: BackedName, _ outcome: Outcome, at now: Instant) {
        guard var entry = entries[name], case .sending(let generation) = entry.state else { return }
        sending -= 1
        switch outcome {
        case .done:
            guard entry.generation > generation else {
                entries[name] = nil
                return
            }
            // Written anew meanwhile: behind all others.
            entry.state = .waiting
            entry.since = now
            entry.refusals = 0
            line.append(name)
        case .away:
            entry.state = .waiting
            if head > 0 {
                head -= 1
                line[head] = name
            } else {
                line.insert(name, at: 0)
            }
        case .refused:
            entry.refusals = min(entry.refusals + 1, 16)
            let until = now + min(Self.firstRest * (1 << min(entry.refusals - 1, 10)), Self.longestRest)
            entry.state = .resting(until)
            resting[name] = until
        }
        entries[name] = entry
    }

    public func checkInvariants() {
        let waiting = line[head...].filter { entries[$0] != nil }
        precondition(Set(waiting).count == waiting.count, "a name is in the line twice")
        var (inLine, onTheirWay, atRest) = (0, 0, 0)
        for (name, entry) in entries {
            switch entry.state {
            case .waiting:
                inLine += 1
                precondition(waiting.contains(name), "\(name) waits and is not in the line")
            case .sending(let generation):
                onTheirWay += 1
                precondition(generation <= entry.generation, "a generation is sent that is not here yet")
            case .resting(let until):
                atRest += 1
                precondition(resting[name] == until, "\(name) rests and nobody wakes it")
            }
        }
        precondition(inLine == waiting.count && onTheirWay == sending && atRest == resting.count, "the counts differ")
    }
}
