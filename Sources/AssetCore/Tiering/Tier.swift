import Model

/// What is asked of the store behind, when, and for whom: the machine between this store and another S3.
///
/// It decides; reading, sending and waiting are the shell's. Rules:
/// - Of one name there is one question at a time, whoever asks (``Need``: whole, or only what it is).
/// - What is newer here than behind is served from here, and nothing that comes from behind takes its place.
/// - A copy is believed for ``Policy/checkAfter``, then asked about; it is served all the same while nobody answers.
/// - Writers of one name go one after the other. An answer that was asked for before a write was durable is not kept after it (`overtaken`).
/// - While the store behind is away, one question goes out for each pause, and everybody else has an answer at once.
public struct Tier: Sendable {
    public enum Mode: Hashable, Sendable {
        /// What is not here is looked for behind; what is written here stays here.
        case readThrough
        /// A write is acknowledged when the store behind has it.
        case writeThrough
        /// A write is acknowledged when it is durable here, and in the queue.
        case writeBack
    }

    public struct Policy: Hashable, Sendable {
        public var mode: Mode
        /// Names in the queue at most, for new ones to be let in.
        public var mostQueued: Int
        /// Names that are sent at the same time.
        public var mostAtOnce: Int
        public var checkAfter: Duration

        public init(mode: Mode, mostQueued: Int, mostAtOnce: Int, checkAfter: Duration) {
            (self.mode, self.mostQueued, self.mostAtOnce, self.checkAfter) = (mode, mostQueued, mostAtOnce, checkAfter)
        }
    }

    /// One who waits: a number that the shell gives.
    public struct Caller: Hashable, Sendable {
        public var number: UInt64
        public init(number: UInt64) { self.number = number }
    }

    public enum Need: Hashable, Sendable {
        case whole
        /// What it is, without its bytes.
        case head
    }

    /// What the index of this store knows of a name.
    public enum Here: Hashable, Sendable {
        case absent
        /// Removed here, and soon behind.
        case removed
        /// The store behind does not have this version, or is never told of it.
        case own
        /// As it was behind when it was last asked for.
        case copy
    }

    /// What came of a question.
    public enum Found: Hashable, Sendable {
        /// The copy that is here is what is behind.
        case holds
        /// It is here now.
        case kept
        /// Only what it is: the shell has it in hand.
        case head
        /// Nobody has it; a copy that was here is gone.
        case nothing
        /// It is there and there is no room for it here.
        case noRoom
        /// Somebody writes that name: look again.
        case overtaken
        /// The store behind cannot be reached, or fails.
        case away
        /// It is there and says no: a wrong key, a wrong bucket.
        case refused
    }

    public enum Answer: Hashable, Sendable {
        /// What the index says now is the answer: also that there is nothing.
        case look
        /// Look into the index once more and come back.
        case again
        case head
        /// Ask the store behind for yourself.
        case relay
        case away
        case refused
        /// Now you may write.
        case turn
        case queueFull
    }

    public enum Input: Hashable, Sendable {
        /// `since` is ``landings`` from before the index was asked what is here.
        case reading(Caller, BackedName, Here, Need, since: UInt64)
        case found(BackedName, Need, Found)
        case writing(Caller, BackedName)
        /// The turn is over. Not done: nobody knows what is behind now.
        case wrote(BackedName, isDone: Bool)
        /// Durable here, and not behind.
        case changed(BackedName, generation: Int64)
        case sent(BackedName, UploadQueue.Outcome)
        /// A question beside those of this machine was answered, or was not.
        case reached(Bool)
        case woke
    }

    public enum Action: Hashable, Sendable {
        /// Ask; a copy is told to the store behind, which may say that it holds.
        case ask(BackedName, Need, hasCopy: Bool)
        case answer(Caller, Answer)
        case send(BackedName, generation: Int64)
        /// It does not answer any more, or again.
        case away
        case back
    }

    private struct Question: Hashable, Sendable {
        var name: BackedName
        var need: Need
    }

    private struct Flight: Sendable {
        var callers: [Caller]
        var hasCopy: Bool
        var isOvertaken = false
    }

    /// Of one name: who writes, and who waits to.
    private struct Turns: Sendable {
        var waiting: [Caller] = []
        var readers: [(caller: Caller, need: Need)] = []
    }

    public let policy: Policy
    public private(set) var queue = UploadQueue()
    public private(set) var health = BackingHealth()
    private var flights: [Question: Flight] = [:]
    private var turns: [BackedName: Turns] = [:]
    /// When copies were last known to hold, and as which landing.
    private var checked: [BackedName: (at: Instant, landing: UInt64)] = [:]
    /// Grows whenever something comes here, or goes behind.
    public private(set) var landings: UInt64 = 0
    /// Names that have a turn and are not in the queue yet.
    private var reserved = 0

    /// Copies of which it is remembered when they were last asked about; beyond it all are asked about once more.
    static let mostChecked = 65_536

    public init(_ policy: Policy) { self.policy = policy }

    /// Questions that are under way.
    public var asking: Int { flights.count }

    /// When the machine has something to do by itself; nil: nothing.
    public var nextWake: Instant? {
        guard policy.mode != .readThrough, queue.count > queue.sending, queue.sending < policy.mostAtOnce else { return nil }
        guard let pause = health.pausedUntil else { return queue.nextRetry }
        return max(pause, queue.count > queue.refused + queue.sending ? pause : queue.nextRetry ?? pause)
    }

    // MARK: The door

    public mutating func handle(_ input: Input, at now: Instant, into actions: inout [Action]) {
        switch input {
        case .reading(let caller, let name, let here, let need, let since): read(caller, name, here, need, since, now, &actions)
        case .found(let name, let need, let found): self.found(Question(name: name, need: need), found, now, &actions)
        case .writing(let caller, let name): write(caller, name, &actions)
        case .wrote(let name, let isDone): wrote(name, isDone, now, &actions)
        case .changed(let name, let generation):
            queue.changed(name, generation: generation, at: now)
            overtake(name)
        case .sent(let name, let outcome): sent(name, outcome, now, &actions)
        case .reached(let isReached): reached(isReached, now, &actions)
        case .woke: break
        }
        send(now, &actions)
    }

    /// Whether an answer to a question that is under way may still be kept. Asked within the transaction that keeps it.
    public func mayKeep(_ name: BackedName, _ need: Need) -> Bool { flights[Question(name: name, need: need)].map { !$0.isOvertaken } ?? false }

    // MARK: Reading

    private mutating func read(
        _ caller: Caller, _ name: BackedName, _ here: Here, _ need: Need, _ since: UInt64, _ now: Instant, _ actions: inout [Action]
    ) {
        let hasCopy: Bool
        switch here {
        case .own, .removed: return actions.append(.answer(caller, .look))
        case .copy:
            // An expected race: it was written between this look into the index and now.
            if queue.contains(name) { return actions.append(.answer(caller, .look)) }
            if let time = checked[name]?.at, now - time < policy.checkAfter { return actions.append(.answer(caller, .look)) }
            hasCopy = true
        case .absent:
            // It came between this look into the index and now.
            if let landing = checked[name]?.landing, landing > since { return actions.append(.answer(caller, .again)) }
            if queue.contains(name) { return actions.append(.answer(caller, .again)) }
            hasCopy = false
        }
        // Whoever writes it has the answer in a moment.
        if policy.mode == .writeThrough, turns[name] != nil {
            turns[name]?.readers.append((caller, need))
            return
        }
        ask(caller, Question(name: name, need: need), hasCopy, now, &actions)
    }

    private mutating func ask(_ caller: Caller, _ question: Question, _ hasCopy: Bool, _ now: Instant, _ actions: inout [Action]) {
        if flights[question] != nil {
            flights[question]?.callers.append(caller)
            return
        }
        guard health.mayAsk(at: now) else { return actions.append(.answer(caller, hasCopy ? .look : .away)) }
        health.probing(at: now)
        flights[question] = Flight(callers: [caller], hasCopy: hasCopy)
        actions.append(.ask(question.name, question.need, hasCopy: hasCopy))
    }

    private mutating func found(_ question: Question, _ found: Found, _ now: Instant, _ actions: inout [Action]) {
        // Our own bug: the shell answers what it was asked, once.
        guard let flight = flights.removeValue(forKey: question) else { preconditionFailure("\(question.name) was not asked about") }
        let answer: Answer
        switch found {
        case .holds, .kept:
            reached(true, now, &actions)
            if !flight.isOvertaken { believe(question.name, now) }
            answer = .look
        case .head:
            reached(true, now, &actions)
            answer = flight.isOvertaken ? .again : .head
        case .nothing:
            reached(true, now, &actions)
            checked[question.name] = nil
            answer = flight.isOvertaken ? .again : .look
        case .noRoom:
            reached(true, now, &actions)
            answer = .relay
        case .overtaken:
            reached(true, now, &actions)
            answer = .again
        case .away:
            reached(false, now, &actions)
            answer = flight.hasCopy ? .look : .away
        case .refused:
            // It answers; what it says helps nobody.
            reached(true, now, &actions)
            answer = flight.hasCopy ? .look : .refused
        }
        for caller in flight.callers { actions.append(.answer(caller, answer)) }
    }

    private mutating func believe(_ name: BackedName, _ now: Instant) {
        if checked.count >= Self.mostChecked, checked[name] == nil { checked.removeAll(keepingCapacity: true) }
        landings += 1
        checked[name] = (now, landings)
    }

    // MARK: Writing

    private mutating func write(_ caller: Caller, _ name: BackedName, _ actions: inout [Action]) {
        switch policy.mode {
        case .readThrough: break
        case .writeBack:
            guard queue.contains(name) || queue.count + reserved < policy.mostQueued else {
                return actions.append(.answer(caller, .queueFull))
            }
            reserved += 1
        case .writeThrough:
            if turns[name] != nil {
                turns[name]?.waiting.append(caller)
                return
            }
            turns[name] = Turns()
        }
        begin(caller, name, &actions)
    }

    private mutating func begin(_ caller: Caller, _ name: BackedName, _ actions: inout [Action]) {
        overtake(name)
        actions.append(.answer(caller, .turn))
    }

    /// What was asked before a write began, and what was asked while it was not durable yet, may be answered with what was before it.
    private mutating func overtake(_ name: BackedName) {
        for need in [Need.whole, .head] { flights[Question(name: name, need: need)]?.isOvertaken = true }
    }

    private mutating func wrote(_ name: BackedName, _ isDone: Bool, _ now: Instant, _ actions: inout [Action]) {
        switch policy.mode {
        case .readThrough: return
        case .writeBack: reserved -= 1
        case .writeThrough:
            if isDone { believe(name, now) } else { checked[name] = nil }
            guard var turns = self.turns[name] else { preconditionFailure("\(name) had no turn") }
            for reader in turns.readers { actions.append(.answer(reader.caller, .again)) }
            turns.readers = []
            if turns.waiting.isEmpty {
                self.turns[name] = nil
            } else {
                let next = turns.waiting.removeFirst()
                self.turns[name] = turns
                begin(next, name, &actions)
            }
        }
    }

    // MARK: The queue

    private mutating func send(_ now: Instant, _ actions: inout [Action]) {
        guard policy.mode != .readThrough else { return }
        while queue.sending < policy.mostAtOnce, health.mayAsk(at: now), let (name, generation) = queue.next(at: now) {
            health.probing(at: now)
            actions.append(.send(name, generation: generation))
        }
    }

    private mutating func sent(_ name: BackedName, _ outcome: UploadQueue.Outcome, _ now: Instant, _ actions: inout [Action]) {
        queue.sent(name, outcome, at: now)
        switch outcome {
        case .done:
            believe(name, now)
            reached(true, now, &actions)
        case .away: reached(false, now, &actions)
        case .refused: reached(true, now, &actions)
        }
    }

    private mutating func reached(_ isReached: Bool, _ now: Instant, _ actions: inout [Action]) {
        if isReached {
            if health.answered() { actions.append(.back) }
        } else if health.failed(at: now) {
            actions.append(.away)
        }
    }

    public func checkInvariants() {
        queue.checkInvariants()
        precondition(reserved >= 0, "more turns ended than began")
        precondition(queue.sending <= policy.mostAtOnce, "more is sent at once than may be")
        for flight in flights.values { precondition(!flight.callers.isEmpty, "nobody waits for a question") }
        for turns in turns.values { precondition(policy.mode == .writeThrough || turns.waiting.isEmpty, "turns are for write-through") }
    }
}
