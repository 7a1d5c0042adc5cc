import CLinux
import Foundation
import HeapModule
import Linux
import Synchronization
import TestKit

/// One thread with an epoll loop and alarms: all callers and all workers of a run live here.
final class Arena: @unchecked Sendable {
    // All but `posts` belongs to the arena's thread from `start` on; others come in through `post`.

    let loop: Loop
    /// What every receive goes into: looked at before the next one.
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 64)
    /// No more pauses by intent: what runs is to end soon.
    var hurry = false
    /// The longest that one turn kept the others waiting, in nanoseconds, and all turns longer than 50 ms.
    private(set) var longestTurn: Int64 = 0
    private(set) var longTurns = 0

    private var sides: [UInt64: Side] = [:]
    private var lastSide: UInt64 = 0
    private var kind: UInt8 = 0
    private var alarms = Heap<Alarm>()
    private var alarmCount: UInt64 = 0
    private var timer: LoopTimer?
    private let posts = Mutex<[@Sendable () -> Void]>([])
    private let done = Gate()

    private struct Alarm: Comparable {
        var at: Int64
        var order: UInt64
        var act: () -> Void
        static func < (a: Alarm, b: Alarm) -> Bool { (a.at, a.order) < (b.at, b.order) }
        static func == (a: Alarm, b: Alarm) -> Bool { a.order == b.order }
    }

    init() throws {
        loop = try Loop()
        kind = loop.addKind { [unowned self] id, events in sides[id]?.ready(events) }
        timer = loop.timer { [unowned self] now in
            while let first = alarms.min, first.at <= now { alarms.removeMin().act() }
        }
        loop.atTurnEnd { [unowned self] in
            for work in posts.withLock({ list in let all = list; list = []; return all }) { work() }
            timer?.deadline = alarms.min?.at ?? .max
            let took = monotonicNow() - loop.now
            longestTurn = max(longestTurn, took)
            if took > 50_000_000 { longTurns += 1 }
        }
    }

    deinit { buffer.deallocate() }

    var now: Int64 { loop.now }

    /// Does `work` in the arena's thread.
    func post(_ work: @escaping @Sendable () -> Void) {
        posts.withLock { $0.append(work) }
        loop.wakeUp()
    }

    /// Does `work` in the arena's thread and waits for what it returns.
    func ask<T: Sendable>(_ work: @escaping @Sendable () -> T) throws -> T {
        let answer = Locked<T?>(nil)
        let gate = Gate()
        post {
            answer.set(work())
            gate.open()
        }
        try gate.wait("the arena's answer")
        return answer.get()!
    }

    /// Calls `act` at `when`, a monotonic instant in nanoseconds.
    func at(_ when: Int64, _ act: @escaping () -> Void) {
        alarmCount += 1
        alarms.insert(Alarm(at: when, order: alarmCount, act: act))
    }

    func start() {
        Thread.inBackground("arena") { [self] in
            do { try loop.run() } catch { fatalError("the arena's loop failed: \(error)") }
            done.open()
        }
    }

    /// Ends the thread and closes every connection.
    func stop() throws {
        post { [self] in
            for side in sides.values { side.close() }
            loop.stop()
        }
        try done.wait("the arena's end")
    }

    // MARK: Sides

    func enrol(_ side: Side) -> UInt64 {
        lastSide += 1
        sides[lastSide] = side
        return lastSide
    }

    func dismiss(_ id: UInt64) { sides[id] = nil }

    /// Sets what epoll reports of a descriptor; nil is nothing at all, not even errors.
    func interest(_ descriptor: Int32, _ id: UInt64, from old: UInt32?, to new: UInt32?) {
        if old == new { return }
        guard let new else { return loop.remove(descriptor) }
        let result = old == nil
            ? loop.add(descriptor, new, kind: kind, payload: id) : loop.modify(descriptor, new, kind: kind, payload: id)
        precondition(result >= 0, "epoll_ctl: errno \(-result)")
    }
}

extension Thread {
    /// A thread that nobody waits for.
    static func inBackground(_ name: String, _ work: @escaping @Sendable () -> Void) {
        let thread = Thread(block: work)
        thread.name = name
        thread.stackSize = 1 << 20
        thread.start()
    }
}
