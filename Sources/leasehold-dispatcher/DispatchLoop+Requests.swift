import CLinux
import DispatcherCore
import Linux
import Model

extension DispatchLoop {
    /// Looks for a whole head at the front of an idle caller's socket, and puts its job in line.
    func readRequest(_ slot: Int32) {
        let caller = callers[slot]
        guard caller.pointee.socket.readable, flushOutgoing(slot) else { return }
        var limit = Self.peekBytes
        while true {
            guard let bytes = peek(caller, limit) else { return closeSilently(slot) }
            if bytes.isEmpty {
                if caller.pointee.socket.finned { closeSilently(slot) }
                return
            }
            let listener = rules.listeners[Int(caller.pointee.listener)]
            switch parser.parse(bytes, from: caller.pointee.peer, under: listener.http) {
            case .needMore:
                if bytes.count > listener.configuration.limits.head {
                    return answer(slot, Answer(.problem(.headTooLarge), for: [], closes: true))
                }
                if bytes.count == limit && limit < Self.mostHeadBytes {
                    limit = Self.mostHeadBytes
                    continue
                }
                // A FIN in the middle of a head: it left.
                if caller.pointee.socket.finned { return closeSilently(slot) }
                makeRoom(caller.pointee.descriptor.raw)
                if caller.pointee.deadline != .head { setDeadline(caller: slot, .head, listener.configuration.deadlines.head) }
            case .refused(let refusal):
                answer(slot, Answer(refusal))
            case .request(let head):
                caller.pointee.socket.readable = bytes.count > head.length || bytes.count == limit || caller.pointee.socket.finned
                if head.length > listener.configuration.limits.head {
                    return answer(slot, Answer(.problem(.headTooLarge), for: head.traits, closes: true))
                }
                take(slot, head, bytes, listener)
            }
            return
        }
    }

    /// The largest head that any listener may allow.
    static let mostHeadBytes = 64 * 1024

    /// A valid request: answered by us, or put in line.
    private func take(_ slot: Int32, _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, _ listener: Rules.Listener) {
        let caller = callers[slot]
        caller.pointee.traits = head.traits
        caller.pointee.framing = head.framing
        caller.pointee.headLength = UInt32(head.length)
        let hasBody = head.framing != .none
        if head.form == .asterisk { return answer(slot, Answer(.options, for: head.traits, closes: hasBody)) }
        let path = bytes.slice(head.path)
        if !listener.health.isEmpty, listener.health.withUnsafeBytes({ path.elementsEqual($0) }) {
            return answer(slot, Answer(.health(isReady: !isDraining), for: head.traits, closes: hasBody || isDraining))
        }
        if isDraining { return answer(slot, Answer(.problem(.draining), for: head.traits, closes: true, retryAfter: 1)) }
        // A FIN behind the request means that the caller left, before its job began.
        if caller.pointee.socket.finned { return closeSilently(slot) }
        if let most = listener.configuration.limits.body, case .length(let length) = head.framing, length > UInt64(most) {
            return answer(slot, Answer(.problem(.bodyTooLarge), for: head.traits, closes: true))
        }
        let terms: Rules.Terms
        switch listener.routes.match(host: bytes.slice(head.host), path: path) {
        case .noRoute: return answer(slot, Answer(.problem(.noRoute), for: head.traits, closes: hasBody))
        case .badRequest: return answer(slot, Answer(.problem(.badRequest), for: head.traits, closes: true))
        case .route(let index):
            caller.pointee.pool = listener.routePools[index]
            terms = listener.terms[index]
        }
        caller.pointee.trace = rules.trace?.begin(bytes.slice(head.traceparent)).map(CallerTrace.init)
        guard rewrite(slot, head, bytes) else {
            return answer(slot, Answer(.problem(.headTooLarge), for: head.traits, closes: true))
        }
        park(slot, request(for: head, bytes, under: terms, listener, pool: rules.pools[Int(caller.pointee.pool)]))
    }

    /// What a request's job asks for.
    private func request(
        for head: RequestHead, _ bytes: UnsafeRawBufferPointer, under terms: Rules.Terms, _ listener: Rules.Listener, pool: Rules.Pool
    ) -> JobRequest {
        var names = terms.names
        // Nobody but a believed caller has a tenant here; one that the pool does not know is the default one.
        if pool.asksForTenant, !head.tenant.isEmpty { names = pool.tenants.find(bytes.slice(head.tenant)) }
        if !head.affinity.isEmpty {
            names = JobRequest.Names(
                tenant: names?.tenant ?? "", affinity: String(decoding: bytes.slice(head.affinity), as: UTF8.self))
        }
        return JobRequest(
            pool: pool.id, budget: head.preferWait.map { min(.seconds(Int64($0)), pool.configuration.hold.timeout) },
            urgency: terms.urgency ?? max(head.urgency, terms.mostUrgent), names: names,
            bytes: UInt32(clamping: head.length + waitingBody(head, behind: bytes.count, listener)))
    }

    /// Bytes of a body that can wait in the caller's socket until there is a worker.
    private func waitingBody(_ head: RequestHead, behind seen: Int, _ listener: Rules.Listener) -> Int {
        guard !head.traits.contains(.expectsContinue) else { return 0 }
        switch head.framing {
        case .none, .untilClose: return 0
        case .length(let length): return Int(min(length, UInt64(listener.configuration.receiveBuffer)))
        // Nobody knows how many will come.
        case .chunked: return max(0, seen - head.length)
        }
    }

    /// The request at the front of a parked caller's socket, read once more by a successor.
    func requestAgain(_ slot: Int32, _ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> JobRequest {
        let caller = callers[slot]
        let listener = rules.listeners[Int(caller.pointee.listener)]
        var terms = Rules.Terms(names: nil, urgency: listener.configuration.urgency, mostUrgent: .highest)
        // Where a new configuration sends it elsewhere it stays where it waits, and that route's terms are not its own.
        if case .route(let index) = listener.routes.match(host: bytes.slice(head.host), path: bytes.slice(head.path)),
            listener.routePools[index] == caller.pointee.pool
        {
            terms = listener.terms[index]
        }
        // Nothing of it has reached a worker, or the span that one was told is nobody's now.
        caller.pointee.trace = rules.trace?.begin(bytes.slice(head.traceparent)).map(CallerTrace.init)
        return request(for: head, bytes, under: terms, listener, pool: rules.pools[Int(caller.pointee.pool)])
    }

    /// What a connection of a TCP listener asks for.
    func connectionRequest(_ slot: Int32) -> JobRequest {
        let caller = callers[slot]
        let terms = rules.listeners[Int(caller.pointee.listener)].terms[0]
        return JobRequest(
            pool: rules.pools[Int(caller.pointee.pool)].id, budget: nil, urgency: terms.urgency ?? .standard, names: terms.names, bytes: 0)
    }

    /// Keeps the head as the worker will get it, but for the lease. False when it is too large.
    private func rewrite(_ slot: Int32, _ head: RequestHead, _ bytes: UnsafeRawBufferPointer) -> Bool {
        let caller = callers[slot]
        let keeps = rules.keepsConnections(pool: caller.pointee.pool, listener: caller.pointee.listener)
        var sink = ByteSink(output)
        // A trace that nobody keeps passes as it came.
        let trace = caller.pointee.trace?.context
        parser.rewrite(
            head, of: bytes, from: caller.pointee.peer, to: keeps ? .reused : .fresh, trace: trace?.session == 0 ? nil : trace, into: &sink)
        guard !sink.overflowed else { return false }
        caller.pointee.head?.free()
        caller.pointee.head = Bytes(UnsafeRawBufferPointer(rebasing: output[..<sink.count]))
        return true
    }

    /// A head that was given back while its caller waited long is still at the front of the socket.
    private func rebuildHead(_ slot: Int32) -> Bool {
        let caller = callers[slot]
        let listener = rules.listeners[Int(caller.pointee.listener)]
        let count = lh_recv(caller.pointee.descriptor.raw, scratch.baseAddress, Self.mostHeadBytes, Int32(MSG_PEEK))
        guard count >= Int(caller.pointee.headLength) else { return false }
        let bytes = UnsafeRawBufferPointer(rebasing: scratch[..<count])
        guard case .request(let head) = parser.parse(bytes, from: caller.pointee.peer, under: listener.http) else { return false }
        return rewrite(slot, head, bytes)
    }

    /// The worker is there: its head first.
    func sendRequestHead(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        guard caller.pointee.head != nil || rebuildHead(callerSlot), let head = caller.pointee.head, let job = machine[worker.pointee.job]
        else { return callerLost(slot) }
        defer { head.free() }
        caller.pointee.head = nil
        worker.pointee.traits = caller.pointee.traits
        worker.pointee.exchange = .requestHead
        // A body follows in writes of its own.
        if caller.pointee.framing != .none { setNoDelay(slot) }
        var sink = ByteSink(output)
        sink.append(head.all)
        rules.pools[Int(worker.pointee.pool)].nameBytes.withUnsafeBytes { finishRequestHead(&sink, pool: $0, lease: job.lease) }
        record(requestHead: slot, sinkLength: sink.count)
        let sent = lh_send(worker.pointee.descriptor.raw, output.baseAddress, sink.count, 0)
        if sent < 0 && sent != Int(-EAGAIN) { return workerLost(slot) }
        let taken = max(0, sent)
        worker.pointee.sentBytes = UInt64(taken)
        worker.pointee.socket.given &+= UInt64(taken)
        if taken < sink.count {
            worker.pointee.socket.writable = false
            worker.pointee.outgoing = Bytes(UnsafeRawBufferPointer(rebasing: output[taken..<sink.count]))
            return armExchange(slot)
        }
        headSent(slot)
        pumpExchange(slot)
    }

    /// Before the head is sent: what it replaces, and what follows it.
    private func record(requestHead slot: Int32, sinkLength: Int) {
        let worker = workers[slot]
        let caller = callers[worker.pointee.caller]
        let length = UInt64(caller.pointee.headLength)
        var record = RelayRecord(
            sourceAt: caller.pointee.socket.taken, sourceLength: Int(length), sinkAt: worker.pointee.socket.given, sinkLength: sinkLength,
            follows: .nothing, end: caller.pointee.socket.taken &+ length)
        switch caller.pointee.framing {
        case .none, .untilClose, .length(0): break
        case .length(let count):
            record.follows = .counted
            record.end &+= count
        case .chunked:
            record.follows = .chunked
            record.chunks = worker.pointee.traits.contains(.takesTrailers) ? .whole : .withoutTrailers
        }
        worker.pointee.up.record = record
        worker.pointee.up.commit()
    }

    /// The head leaves the caller's socket: the body is about to move, or the response has begun.
    func takeHead(_ callerSlot: Int32) {
        let caller = callers[callerSlot]
        guard caller.pointee.headLength > 0 else { return }
        takeOff(caller: callerSlot, Int(caller.pointee.headLength))
        caller.pointee.headLength = 0
    }

    /// The worker's socket has the whole head. It stays in the caller's until the body moves or a response comes.
    func headSent(_ slot: Int32) {
        let worker = workers[slot]
        let caller = callers[worker.pointee.caller]
        switch caller.pointee.framing {
        case .none, .untilClose: worker.pointee.up.mode = .done
        case .length(let length):
            worker.pointee.up.mode = length == 0 ? .done : .counted
            worker.pointee.up.left = length
        case .chunked: worker.pointee.up.mode = .chunked
        }
        worker.pointee.exchange = .responseHead
        armExchange(slot)
    }
}
