import CLinux
import Foundation
import Linux
import Model
import Synchronization

/// Many callers at once, on one thread: each connects, sends its requests one after the other, and keeps what came back.
///
/// They connect and send in order, so the order in which they arrive is known.
public final class Crowd: @unchecked Sendable {
    // The callers belong to the crowd's thread; what others may see is behind the mutex.

    public struct Answer: Sendable {
        public var caller: Int
        public var round: Int
        public var response: HTTPMessage
    }

    private struct Progress {
        var answers: [Answer] = []
        var troubles: [String] = []
        var done = false
    }

    private let address: SocketAddress
    private let count: Int
    private let rounds: Int
    private let request: @Sendable (_ caller: Int, _ round: Int) -> String
    private let progress = Mutex(Progress())
    private let changes: Int32
    public let sentFirst = Gate()

    /// `request` makes the bytes of each request.
    public init(
        of count: Int, rounds: Int = 1, at address: SocketAddress, request: @escaping @Sendable (_ caller: Int, _ round: Int) -> String
    ) {
        self.address = address
        self.count = count
        self.rounds = rounds
        self.request = request
        changes = Int32(lh_eventfd())
    }

    deinit { _ = lh_close(changes) }

    public var answers: [Answer] { progress.withLock { $0.answers } }
    public var troubles: [String] { progress.withLock { $0.troubles } }

    /// Begins in a thread of its own.
    public func start() {
        Thread.detached("crowd") { [self] in
            do { try run() } catch { note { $0.troubles.append("\(error)") } }
            note { $0.done = true }
        }
    }

    /// Waits until so many answers have come; false when the crowd is done before that.
    @discardableResult
    public func wait(forAnswers wanted: Int) throws -> Bool {
        let deadline = Patience.deadline()
        while true {
            let (count, done) = progress.withLock { ($0.answers.count, $0.done) }
            if count >= wanted { return true }
            if done { return false }
            try waitReady(changes, POLLIN, until: deadline, "answer \(wanted) of a crowd, after \(count)")
            var news: UInt64 = 0
            _ = lh_read(changes, &news, 8)
        }
    }

    /// Waits until all have been answered, and throws what went wrong.
    public func finish() throws {
        try wait(forAnswers: .max)
        if let first = troubles.first { throw TestFailure("\(troubles.count) of the crowd's callers failed: \(first)") }
    }

    private func note(_ change: (inout Progress) -> Void) {
        progress.withLock { change(&$0) }
        var one: UInt64 = 1
        _ = lh_write(changes, &one, 8)
    }

    private func run() throws {
        var callers: [RawCaller?] = []
        var sent = [Int](repeating: 0, count: count)
        for index in 0..<count {
            let caller = try RawCaller(to: address)
            try caller.send(request(index, 0))
            sent[index] = 1
            callers.append(caller)
        }
        sentFirst.open()
        var left = count
        var deadline = Patience.deadline()
        while left > 0 {
            let open = callers.indices.filter { callers[$0] != nil }
            var waits = open.map { pollfd(fd: callers[$0]!.descriptor, events: Int16(POLLIN), revents: 0) }
            let ready = poll(&waits, nfds_t(waits.count), Int32(clamping: max(0, (deadline - monotonicNow()) / 1_000_000)))
            guard ready > 0 || monotonicNow() < deadline else {
                throw TestFailure("\(left) callers were still waiting after \(Patience.seconds) s")
            }
            if ready > 0 { deadline = Patience.deadline() }
            for (i, index) in open.enumerated() where waits[i].revents != 0 {
                let caller = callers[index]!
                do {
                    let response = try caller.readResponse()
                    let round = sent[index] - 1
                    note { $0.answers.append(Answer(caller: index, round: round, response: response)) }
                    if sent[index] < rounds && !response.has("Connection", "close") {
                        try caller.send(request(index, sent[index]))
                        sent[index] += 1
                        continue
                    }
                    if sent[index] < rounds { throw TestFailure("caller \(index): closed after round \(round): \(response)") }
                } catch {
                    note { $0.troubles.append("caller \(index), request \(sent[index]): \(error)") }
                }
                callers[index]?.close()
                callers[index] = nil
                left -= 1
            }
        }
    }
}
