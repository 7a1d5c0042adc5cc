import CLinux
import Linux
import Model
import TestKit

/// A worker in the arena: one job at a time, and it notices a second one itself.
final class Workplace {
    let index: Int
    let pool: String
    let address: SocketAddress
    let crowd: Population
    private let listener: Int32
    private var visits: [ObjectIdentifier: Visit] = [:]
    /// Jobs that it works on now: of visits whose connection may be gone already.
    private(set) var running: [Visit] = []
    private(set) var jobs = 0

    /// Listens on an address of its own in 127.0.0.0/8.
    init(_ index: Int, pool: String, in crowd: Population) throws {
        self.index = index
        self.pool = pool
        self.crowd = crowd
        let host = "127.\(pool == "scarce" ? 2 : 1).\(index / 200).\(index % 200 + 1)"
        guard let wanted = SocketAddress(ip: host, port: 0) else { throw TestFailure("not an address: \(host)") }
        var socket = try Sockets.listen(wanted.inKernelForm, backlog: 64)
        listener = socket.release()
        let bound = lh_local_address(listener)
        guard let address = SocketAddress(ip: host, port: bound.port) else { throw TestFailure("no address for a worker") }
        self.address = address
        _ = try crowd.arena.loop.watch(listener, LH_EPOLLIN) { [unowned self] _ in accept() }
    }

    func close() { _ = lh_close(listener) }

    private func accept() {
        while true {
            var peer = lh_address()
            let raw = lh_accept(listener, &peer)
            guard raw >= 0 else { return }  // EAGAIN, or a caller that went again
            let visit = Visit(at: self, owning: Int32(raw))
            visits[ObjectIdentifier(visit)] = visit
        }
    }

    func began(_ visit: Visit) {
        jobs += 1
        running.append(visit)
        if running.count > 1 {
            let all = running.map(\.story).joined(separator: " and ")
            crowd.violation("worker \(index) of \(pool) (\(address)) has \(all)")
        }
    }

    func finished(_ visit: Visit) { running.removeAll { $0 === visit } }

    func over(_ visit: Visit) { visits[ObjectIdentifier(visit)] = nil }
}

/// One connection to a worker.
final class Visit: Party {
    private let workplace: Workplace
    private let crowd: Population
    private var side: Side?
    private var incoming = Incoming()
    private weak var session: Session?
    private var exchange: Session.Exchange?
    private var plan: Plan?
    private var job = ""
    private var isRunning = false
    private var answerSent = false
    private var hasAnswered = false
    private var finSeen = false
    private var token: String?
    private var begunAt: Int64 = 0
    private var finAt: Int64 = 0
    private var brokenAt: Int64 = 0

    /// How long a worker goes on with a job whose connection broke.
    static let linger: Int64 = 300_000_000

    init(at workplace: Workplace, owning descriptor: Int32) {
        self.workplace = workplace
        crowd = workplace.crowd
        _ = lh_set_option(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        _ = lh_set_option(descriptor, SOL_SOCKET, SO_SNDBUF, 128 * 1024)
        side = Side(crowd.arena, owning: descriptor, party: self)
    }

    /// For a report: what is done here, and how far it is.
    var story: String {
        let now = crowd.arena.now
        func ago(_ at: Int64) -> String { at == 0 ? "-" : "\((now - at) / 1_000_000) ms" }
        var out = "\(job) (\(plan?.kind.rawValue ?? "of a caller that was gone"), lease \(token ?? "?"), begun \(ago(begunAt)) ago"
        if let exchange, let plan {
            out += ", up \(exchange.up.received)/\(plan.up.total), down \(exchange.down.sent)/\(plan.down.total)"
        }
        if let plan, plan.kind.isTunnel { out += plan.callerEndsFirst ? ", caller ends first" : ", worker ends first" }
        if finAt != 0 { out += ", its stream ended \(ago(finAt)) ago" }
        if brokenAt != 0 { out += ", broken off \(ago(brokenAt)) ago" }
        if let outcome = session?.outcome { out += ", caller: \(outcome)" } else if plan != nil, session == nil { out += ", caller gone" }
        return out + ")"
    }

    func received(_ bytes: UnsafeRawBufferPointer, on side: Side) {
        let now = crowd.arena.now
        let wrong = incoming.feed(bytes, head: { head($0, at: now) }, data: { data($0, at: now) })
        if let wrong {
            session?.fail(.lost("the worker got \(wrong)"))
            return breakOff()
        }
        if isRunning, !side.isClosed { proceed() }
    }

    private func head(_ text: String, at now: Int64) -> Incoming.Phase? {
        let isTCP = text.hasPrefix("T ")
        let words = text.prefix { $0 != "\r\n" && $0 != "\n" }.split(separator: " ")
        let path = words.count > 1 ? words[1].split(separator: "/") : []
        let id = isTCP ? words.dropFirst().first : path.dropFirst().first
        let round = isTCP ? 0 : path.count > 2 ? Int(path[2]) : nil
        job = isTCP ? "job \(id ?? "?")/0" : "job \(path.dropFirst().joined(separator: "/"))"
        isRunning = true
        begunAt = now
        token = text.split(separator: "\r\n").first { $0.lowercased().hasPrefix("leasehold-lease:") }.map { String($0.dropFirst(17)) }
        guard let id = id.flatMap({ Int($0) }), let session = crowd.sessions[id], session.exchange.round == round else {
            // Its caller is gone: it is worked on all the same.
            workplace.began(self)
            breakOff()
            return nil
        }
        self.session = session
        exchange = session.exchange
        plan = session.plan
        workplace.began(self)
        if session.plan.kind.isParked, let token = Token(inHead: text) {
            crowd.order.served(session.plan.id, askedAt: session.askedAt, token, at: now)
        }
        if session.plan.kind.isParked { crowd.parkedBegan(session) }
        session.exchange.visit = self
        session.workerBegan(at: now)
        let plan = session.plan
        side?.reading = session.exchange.up
        session.exchange.up.reader(isReading: true, at: now)
        switch plan.kind {
        case .tunnel, .slowTunnel, .fullTunnel:
            answer("")
            return .exactly(plan.up.total)
        case .upgrade:
            answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
            return .exactly(plan.up.total)
        case .parkedTCP, .uploadLength, .parkedBody: return .exactly(plan.up.total)
        case .uploadChunked: return .chunkSize
        case .downloadLength, .downloadChunked, .downloadToClose, .keepAlive, .leaver, .parked, .local: return .complete
        }
    }

    private func data(_ bytes: UnsafeRawBufferPointer, at now: Int64) -> Bool {
        guard let exchange else { return false }
        if let fault = exchange.up.receive(bytes, at: now) {
            if session?.exchange === exchange { session?.fail(.corrupt(fault, "up, at \(story)")) }
            breakOff()
            return false
        }
        crowd.tally.verified(bytes.count)
        return true
    }

    /// Answers when the request is whole, and ends when both are.
    private func proceed() {
        guard let plan, let exchange, isRunning, incoming.phase == .complete else { return }
        if !exchange.up.isReceived {
            session?.fail(.corrupt(.lost(plan.up.total - exchange.up.received), "up, at its end"))
            return breakOff()
        }
        if !plan.kind.isTunnel, !hasAnswered {
            hasAnswered = true
            let thinks = crowd.arena.hurry ? 0 : plan.work
            if thinks == 0 { return answer(head(of: plan)) }
            crowd.arena.at(crowd.arena.now + thinks) { [weak self] in
                guard let self, let plan = self.plan else { return }
                answer(head(of: plan))
            }
        }
        endIfDone()
    }

    private func head(of plan: Plan) -> String {
        guard !plan.kind.isTCP else { return "" }
        let framing =
            switch plan.kind {
            case .downloadChunked: "Transfer-Encoding: chunked\r\n"
            case .downloadToClose: ""
            default: "Content-Length: \(plan.down.total)\r\n"
            }
        return "HTTP/1.1 200 OK\r\nConnection: close\r\n\(framing)"
    }

    private func answer(_ head: String) {
        guard let side, let exchange, let plan else { return }
        hasAnswered = true
        exchange.answeredAt = crowd.arena.now
        let own = head.isEmpty ? "" : "\(head)X-Exchange: \(plan.id)/\(exchange.round)\r\n\r\n"
        side.send(own, then: exchange.down, chunked: plan.kind == .downloadChunked)
    }

    func sentAll(on side: Side) {
        guard hasAnswered, let exchange, exchange.down.isSent else { return }
        answerSent = true
        if plan?.kind.isTunnel == true, plan?.callerEndsFirst == false { side.halfClose() }
        endIfDone()
    }

    func ended(_ end: RawStream.End, on side: Side) {
        finSeen = true
        finAt = crowd.arena.now
        if end == .fin, let plan, plan.kind.isTunnel, exchange?.up.isReceived == true {
            return endIfDone()
        }
        guard isRunning else { return close() }
        // A caller that leaves is passed on as its end: the worker goes on.
        if end == .fin, plan?.kind.isTunnel == false, incoming.phase == .complete { return }
        // In the middle of what it said, an end is a loss, or a caller that is gone: then this is of no use any more.
        if session?.outcome != nil || session == nil { return breakOff() }
        if session?.exchange === exchange {
            session?.fail(.lost("the worker's connection \(end == .fin ? "ended" : "was reset"): \(story)"))
        }
        breakOff()
    }

    func bothEnded() { workplace.finished(self) }

    private func endIfDone() {
        guard isRunning, let plan, let exchange, answerSent, exchange.up.isReceived else { return }
        if plan.kind.isTunnel && !finSeen { return }
        // The job is over before its end can be seen.
        isRunning = false
        workplace.finished(self)
        close()
        exchange.visitDone = true
        if session?.exchange === exchange { session?.settle() }
    }

    /// The connection is of no use any more; the job goes on for a while, as a real one's would.
    private func breakOff() {
        close()
        guard isRunning else { return }
        brokenAt = crowd.arena.now
        crowd.arena.at(crowd.arena.now + Self.linger) { [self] in
            isRunning = false
            workplace.finished(self)
        }
    }

    private func close() {
        side?.close()
        side = nil
        workplace.over(self)
    }
}
