import Linux
import Model
import TestKit

/// One caller: connects, asks, checks every byte that comes back, and knows how it should end.
final class Session: Party {
    enum Outcome: Equatable {
        case complete
        /// It was cut, refused or answered wrongly.
        case lost(String)
        /// Bytes were lost, doubled or altered within the session.
        case corrupt(Flow.Fault, String)
        /// 503, or a reset, from a dispatcher that had been told to stop.
        case drained
        /// It went of its own accord.
        case left
    }

    /// One request, or the connection's one job, as both ends see it.
    final class Exchange {
        let up: Flow
        let down: Flow
        let round: Int
        /// How many times workers began it.
        var begun = 0
        /// When the worker began to answer.
        var answeredAt: Int64 = 0
        /// The worker's side of it.
        weak var visit: Visit?
        var visitDone = false
        var callerDone = false

        init(_ up: Flow, _ down: Flow, round: Int) {
            self.up = up
            self.down = down
            self.round = round
        }
    }

    let plan: Plan
    let crowd: Population
    private(set) var exchange: Exchange
    private(set) var outcome: Outcome?
    /// When its connection, and when its newest request, was made.
    let connectedAt: Int64
    private(set) var askedAt: Int64 = 0
    /// When the request before that was made.
    private var lastAskedAt: Int64 = 0
    /// A worker has begun its newest request, and since when.
    private(set) var begunAt: Int64 = 0
    private(set) var hasBegunOnce = false
    /// The longest wait for bytes that were on their way, and for a worker, in nanoseconds.
    var longestPause: Int64 = 0
    var longestWait: Int64 = 0
    private var side: Side?
    private var incoming = Incoming()
    private var isAnswered = false
    private var sentAll = false
    private var finSeen = false
    /// The answer said so.
    private var closesAfter = false

    init(_ plan: Plan, in crowd: Population, to address: SocketAddress) throws {
        self.plan = plan
        self.crowd = crowd
        connectedAt = monotonicNow()
        exchange = crowd.exchange(plan, round: 0)
        side = try Side.connect(
            crowd.arena, to: address, party: self, receiveBuffer: plan.receiveBuffer, sendBuffer: plan.sendBuffer)
        watch()
        ask()
    }

    var isWaitingForWorker: Bool { outcome == nil && askedAt != 0 && begunAt == 0 }

    private func watch() {
        for flow in [exchange.up, exchange.down] {
            // A worker goes on with the exchange of a caller that is gone.
            flow.onPause = { [weak self] from, to in
                if let self, outcome == nil { crowd.paused(self, from: from, to: to) }
            }
        }
    }

    private func ask() {
        guard let side else { return }
        side.lookBack()
        askedAt = crowd.arena.now
        begunAt = 0
        isAnswered = false
        sentAll = false
        let target = plan.target(exchange.round)
        let host = plan.kind == .local ? "local" : "chaos"
        let common = "HTTP/1.1\r\nHost: \(host)\r\n"
        switch plan.kind {
        case .tunnel, .slowTunnel, .fullTunnel, .parkedTCP:
            incoming = Incoming(plan.down.total == 0 ? .complete : .exactly(plan.down.total))
            side.reading = exchange.down
            isAnswered = true
            side.send("T \(plan.id)\n", then: exchange.up, chunked: false)
        case .upgrade:
            side.send(
                "GET \(target) \(common)Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        case .downloadLength, .downloadChunked, .downloadToClose, .keepAlive, .leaver, .parked: side.send("GET \(target) \(common)\r\n")
        case .local: side.send("GET /render?ms=20&bytes=\(plan.down.total) \(common)\r\n")
        case .uploadLength, .parkedBody:
            side.send("POST \(target) \(common)Content-Length: \(plan.up.total)\r\n\r\n", then: exchange.up, chunked: false)
        case .uploadChunked:
            side.send("POST \(target) \(common)Transfer-Encoding: chunked\r\n\r\n", then: exchange.up, chunked: true)
        }
    }

    /// A worker has this session's job now.
    func workerBegan(at now: Int64) {
        hasBegunOnce = true
        begunAt = now
        exchange.begun += 1
        if !plan.kind.isParked { crowd.waited(self, from: askedAt, to: now) }
        if plan.kind == .leaver {
            crowd.arena.at(now + plan.leavesAfter) { [weak self] in self?.leave() }
        }
        endStream()
    }

    private func leave() {
        guard outcome == nil else { return }
        if plan.callerEndsFirst { side?.reset() }
        finish(.left)
    }

    // MARK: Party

    func received(_ bytes: UnsafeRawBufferPointer, on side: Side) {
        let now = crowd.arena.now
        let wrong = incoming.feed(bytes, head: { head($0, at: now) }, data: { data($0, at: now) })
        guard outcome == nil else { return }
        if let wrong { return finish(.lost(wrong)) }
        if incoming.phase == .complete { bodyComplete() }
    }

    private func head(_ text: String, at now: Int64) -> Incoming.Phase? {
        let lines = text.split(separator: "\r\n")
        let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        func field(_ name: String) -> String? {
            lines.first { $0.lowercased().hasPrefix(name.lowercased() + ":") }.map { $0.dropFirst(name.count + 1).trimmingSpace }
        }
        let wanted = plan.kind == .upgrade ? 101 : 200
        guard status == wanted else {
            let reason = field("Leasehold-Reason") ?? "?"
            finish(reason == "draining" ? .drained : .lost("answered \(status) \(reason)"))
            return nil
        }
        if plan.kind != .local {
            guard field("X-Exchange") == "\(plan.id)/\(exchange.round)" else {
                finish(.lost("another's answer: \(text.debugDescription)"))
                return nil
            }
        }
        closesAfter = field("Connection")?.lowercased() == "close"
        if closesAfter, plan.rounds > 1, !crowd.hasDrained(since: askedAt) {
            finish(.lost("told to close its connection after this answer, without a reason"))
            return nil
        }
        if exchange.answeredAt != 0 { crowd.paused(self, from: exchange.answeredAt, to: now) }
        isAnswered = true
        side?.reading = exchange.down
        switch plan.kind {
        case .upgrade:
            side?.send("", then: exchange.up, chunked: false)
            return plan.down.total == 0 ? .complete : .exactly(plan.down.total)
        case .downloadToClose, .downloadChunked, .downloadLength, .uploadLength, .uploadChunked, .keepAlive, .leaver, .parked, .parkedBody, .local, .tunnel,
            .slowTunnel, .fullTunnel, .parkedTCP:
            if let length = field("Content-Length").flatMap({ Int($0) }) {
                guard length == plan.down.total || plan.kind == .local else {
                    finish(.lost("Content-Length \(length) instead of \(plan.down.total)"))
                    return nil
                }
                return .exactly(length)
            }
            return field("Transfer-Encoding") == "chunked" ? .chunkSize : .untilEnd
        }
    }

    private func data(_ bytes: UnsafeRawBufferPointer, at now: Int64) -> Bool {
        if plan.kind == .local { return true }
        guard let fault = exchange.down.receive(bytes, at: now) else {
            crowd.tally.verified(bytes.count)
            return true
        }
        finish(.corrupt(fault, "down, byte \(exchange.down.received) of \(plan.down.total), \(stage)"))
        return false
    }

    private func bodyComplete() {
        guard isAnswered else { return }
        if plan.kind != .local, !exchange.down.isReceived {
            return finish(.corrupt(.lost(plan.down.total - exchange.down.received), "down, at its end"))
        }
        if plan.kind.isTunnel || plan.kind == .parkedTCP { return }  // its end is still to come
        exchange.callerDone = true
        settle()
    }

    func ended(_ end: RawStream.End, on side: Side) {
        guard outcome == nil else { return }
        if end == .reset { return finish(lossNow("reset after \(exchange.down.received) of \(plan.down.total) bytes, \(stage)")) }
        finSeen = true
        let isWhole = exchange.down.isReceived && isAnswered
        switch plan.kind {
        case .downloadToClose where isWhole, .parkedTCP where isWhole, .leaver where isWhole:
            exchange.callerDone = true
            settle()
        case .tunnel where isWhole, .slowTunnel where isWhole, .fullTunnel where isWhole, .upgrade where isWhole: endStream()
        case .downloadLength where exchange.callerDone, .downloadChunked where exchange.callerDone: settle()
        case .tunnel, .slowTunnel, .fullTunnel, .upgrade, .downloadLength, .downloadChunked, .downloadToClose, .uploadLength, .uploadChunked,
            .keepAlive, .leaver, .parked, .parkedBody, .parkedTCP, .local:
            finish(lossNow("ended after \(exchange.down.received) of \(plan.down.total) bytes, \(stage)"))
        }
    }

    private var stage: String {
        if askedAt == 0 { return "between two requests" }
        if begunAt == 0 { return hasBegunOnce ? "before its next job" : "before its job" }
        let now = crowd.arena.now
        let worker = exchange.answeredAt == 0 ? "not answered" : "answered \((now - exchange.answeredAt) / 1_000_000) ms ago"
        return "begun \((now - begunAt) / 1_000_000) ms ago, the worker has \(worker)\(exchange.visitDone ? " and is done" : ""), "
            + "sent up \(exchange.up.sent)/\(plan.up.total), head \(isAnswered ? "here" : "not here"), "
            + (plan.callerEndsFirst ? "caller ends first" : "worker ends first") + (finSeen ? ", end seen" : "")
    }

    private func lossNow(_ what: String) -> Outcome {
        guard begunAt == 0 else { return .lost(what) }
        // A dispatcher that drains ends connections after the answer; a slow reader finds that long after the answer, and the drain, were over.
        if exchange.round > 0, crowd.hasDrained(since: lastAskedAt) { return .drained }
        // It resets new TCP callers and ends idle connections; what it had taken on before, it finishes.
        // This thread may hear of that late: what counts is when it asked.
        return askedAt == 0 && crowd.drainingSince != nil || askedAt != 0 && crowd.drained(at: askedAt) ? .drained : .lost(what)
    }

    func sentAll(on side: Side) {
        sentAll = true
        endStream()
    }

    /// In a tunnel: says that it has said everything, when that is due; and sees whether both ways are over.
    private func endStream() {
        guard plan.kind.isTunnel, outcome == nil, isAnswered, exchange.up.isSent, sentAll, begunAt != 0 else { return }
        if plan.callerEndsFirst || finSeen { side?.halfClose() }
        // A worker that has said its end, and whose caller has, counts as done: what it still reads, nobody can see.
        if finSeen { exchange.visit?.bothEnded() }
        guard finSeen else { return }
        exchange.callerDone = true
        settle()
    }

    /// Both ends have seen everything of this exchange: the next one, or the end.
    func settle() {
        guard outcome == nil, exchange.callerDone, exchange.visitDone || plan.kind == .local else { return }
        if exchange.begun > 1 { crowd.tally.doubled(self, exchange.begun) }
        if plan.kind == .leaver { return finish(.left) }
        let isLast = exchange.round + 1 >= plan.rounds || crowd.isWindingDown || finSeen || closesAfter
        guard !isLast else { return finish(.complete) }
        let round = exchange.round + 1
        exchange = crowd.exchange(plan, round: round)
        lastAskedAt = askedAt
        askedAt = 0
        begunAt = 0
        watch()
        incoming.again()
        crowd.arena.at(crowd.arena.hurry ? 0 : crowd.arena.now + plan.idle) { [weak self] in
            guard let self, outcome == nil else { return }
            ask()
        }
    }

    /// The worker saw something wrong, or nothing at all for too long.
    func fail(_ outcome: Outcome) { finish(outcome) }

    private func finish(_ outcome: Outcome) {
        guard self.outcome == nil else { return }
        self.outcome = outcome
        side?.close()
        side = nil
        crowd.finished(self)
    }
}

extension Substring {
    var trimmingSpace: String { String(self.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
}
