import CLinux

/// One thread's event loop: epoll, one deadline, a wake-up from other threads, and work at the end of each turn.
///
/// Confined to the thread that calls `run()`; only `wakeUp()` may be called from elsewhere. Event data is
/// (kind: 8 bits, payload: 56 bits). A *kind* is a hot table of its owner's (sessions: slot and generation);
/// kind 0 is the loop's own table of closures for everything that is not hot.
public final class Loop {
    public typealias HotHandler = (_ payload: UInt64, _ events: UInt32) -> Void

    private let epoll: Descriptor
    private let wake: Descriptor
    private var handlers: [HotHandler] = []
    private var watches: [Watch] = []
    private var freeWatches: [Int] = []
    private var timers: [LoopTimer] = []
    private var turnEnds: [() -> Void] = []
    private var lastActs: [() -> Void] = []
    private var stopped = false
    private var isDue = false
    private let events: UnsafeMutablePointer<epoll_event>
    private static let eventCount = 512

    /// The monotonic clock at the start of this turn, in nanoseconds.
    public private(set) var now: Int64 = monotonicNow()
    /// Turns since the start: the progress that a watchdog may speak for.
    public private(set) var turns: UInt64 = 0

    private struct Watch {
        var generation: UInt32
        var descriptor: Int32
        var action: ((UInt32) -> Void)?
    }

    public init() throws(SystemError) {
        epoll = Descriptor(owning: Int32(try check(lh_epoll_create(), "epoll_create1")))
        wake = Descriptor(owning: Int32(try check(lh_eventfd(), "eventfd")))
        events = .allocate(capacity: Self.eventCount)
        handlers.append { _, _ in }
        let wakeUp = wake.raw
        try watch(wakeUp, LH_EPOLLIN) { _ in
            var count: UInt64 = 0
            // Only empties the counter; EAGAIN means that somebody did already.
            _ = lh_read(wakeUp, &count, 8)
        }
    }

    deinit { events.deallocate() }

    // MARK: Hot tables

    /// Registers a table; its kind goes into `add`.
    public func addKind(_ handler: @escaping HotHandler) -> UInt8 {
        precondition(handlers.count < 255)
        handlers.append(handler)
        return UInt8(handlers.count - 1)
    }

    @inline(__always)
    public func add(_ descriptor: Int32, _ interest: UInt32, kind: UInt8, payload: UInt64) -> Int {
        lh_epoll_control(epoll.raw, EPOLL_CTL_ADD, descriptor, interest, UInt64(kind) << 56 | payload)
    }

    @inline(__always)
    public func modify(_ descriptor: Int32, _ interest: UInt32, kind: UInt8, payload: UInt64) -> Int {
        lh_epoll_control(epoll.raw, EPOLL_CTL_MOD, descriptor, interest, UInt64(kind) << 56 | payload)
    }

    /// Before every close: an old registration keeps firing while a duplicate of the descriptor lives.
    @inline(__always)
    public func remove(_ descriptor: Int32) {
        // ENOENT only means that it never was registered.
        _ = lh_epoll_control(epoll.raw, EPOLL_CTL_DEL, descriptor, 0, 0)
    }

    // MARK: Closures

    /// A handle of `watch`; stale handles are ignored.
    public struct Token: Hashable, Sendable {
        fileprivate var index: Int
        fileprivate var generation: UInt32
    }

    /// Calls `action` with the ready events until `unwatch`. Level-triggered unless `interest` says EPOLLET.
    @discardableResult
    public func watch(_ descriptor: Int32, _ interest: UInt32, _ action: @escaping (UInt32) -> Void) throws(SystemError) -> Token {
        let index: Int
        if let free = freeWatches.popLast() {
            index = free
        } else {
            index = watches.count
            watches.append(Watch(generation: 0, descriptor: -1, action: nil))
        }
        watches[index].generation &+= 1
        watches[index].descriptor = descriptor
        watches[index].action = action
        let generation = watches[index].generation
        let result = lh_epoll_control(
            epoll.raw, EPOLL_CTL_ADD, descriptor, interest, UInt64(generation & 0xff_ffff) << 32 | UInt64(index))
        if result < 0 {
            watches[index].action = nil
            freeWatches.append(index)
            throw SystemError(Int32(-result), "epoll_ctl", "descriptor \(descriptor)")
        }
        return Token(index: index, generation: generation)
    }

    public func rewatch(_ token: Token, _ interest: UInt32) {
        guard watches[token.index].generation == token.generation else { return }
        _ = lh_epoll_control(
            epoll.raw, EPOLL_CTL_MOD, watches[token.index].descriptor, interest,
            UInt64(token.generation & 0xff_ffff) << 32 | UInt64(token.index))
    }

    public func unwatch(_ token: Token) {
        guard watches[token.index].generation == token.generation, watches[token.index].action != nil else { return }
        remove(watches[token.index].descriptor)
        watches[token.index].action = nil
        watches[token.index].generation &+= 1
        freeWatches.append(token.index)
    }

    /// A timer of this loop; few per loop, each for one owner. Thousands of deadlines belong into a wheel behind one timer.
    public func timer(_ action: @escaping (_ now: Int64) -> Void) -> LoopTimer {
        let timer = LoopTimer(action)
        timers.append(timer)
        return timer
    }

    public func drop(_ timer: LoopTimer) { timers.removeAll { $0 === timer } }

    /// Runs at the end of every turn, in order of registration.
    public func atTurnEnd(_ action: @escaping () -> Void) { turnEnds.append(action) }

    /// Runs after every `atTurnEnd`: the place where batches are sent, with what the turn's ends had to say in them.
    public func asLastAct(_ action: @escaping () -> Void) { lastActs.append(action) }

    // MARK: Running

    /// Makes a waiting loop turn once; safe from any thread and from signal handlers.
    public func wakeUp() {
        var one: UInt64 = 1
        // EAGAIN: the counter is full, so the loop will wake anyhow.
        _ = lh_write(wake.raw, &one, 8)
    }

    public var wakeDescriptor: Int32 { wake.raw }

    /// The next turn only looks what is ready and does not wait: its owner has more to do. Only from the loop's own thread.
    public func turnAgain() { isDue = true }

    public func stop() { stopped = true }

    /// Turns until `stop()`.
    public func run() throws(SystemError) {
        stopped = false
        while !stopped { try turn() }
    }

    /// One turn: wait, dispatch what is ready, fire due timers, run the turn's ends.
    public func turn(maximumWait: Int64 = .max) throws(SystemError) {
        var next = Int64.max
        for timer in timers where timer.deadline < next { next = timer.deadline }
        var wait: Int64 = -1
        if next != .max || maximumWait != .max {
            wait = min(max(0, next == .max ? .max : next &- monotonicNow()), maximumWait)
        }
        if isDue {
            isDue = false
            wait = 0
        }
        let count = lh_epoll_wait(epoll.raw, events, Int32(Self.eventCount), wait)
        now = monotonicNow()
        turns &+= 1
        if count < 0 {
            if count != Int(-EINTR) { throw SystemError(Int32(-count), "epoll_wait") }
        } else {
            for i in 0..<count {
                let data = lh_event_data(events + i)
                let ready = events[i].events
                let kind = Int(data >> 56)
                if kind == 0 {
                    let index = Int(data & 0xffff_ffff)
                    let generation = UInt32(data >> 32 & 0xff_ffff)
                    // A watch that ended earlier in this turn, or whose place was taken again since.
                    guard index < watches.count, watches[index].generation & 0xff_ffff == generation,
                        let action = watches[index].action
                    else { continue }
                    action(ready)
                } else {
                    handlers[kind](data & 0xff_ffff_ffff_ffff, ready)
                }
            }
        }
        if next <= now {
            for timer in timers where timer.deadline <= now {
                timer.deadline = .max
                timer.action(now)
            }
        }
        for end in turnEnds { end() }
        for act in lastActs { act() }
    }
}

/// A deadline of one owner; `.max` is off. Fires once and is off again.
public final class LoopTimer {
    public var deadline: Int64 = .max
    fileprivate let action: (Int64) -> Void
    fileprivate init(_ action: @escaping (Int64) -> Void) { self.action = action }
}
