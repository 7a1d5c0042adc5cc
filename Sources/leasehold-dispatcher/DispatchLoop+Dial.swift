import CLinux
import DispatcherCore
import Linux
import Model

extension DispatchLoop {
    /// Connects the job's caller to its worker: over a kept connection of that endpoint, or a new one.
    func dial(_ id: JobID, by: Instant) {
        guard let job = machine[id] else { return }
        // Looked at right before connect: a grant that lay too long is given back, and the job keeps its place.
        guard now <= by else { return feed(.turnedAway(id, .unused)) }
        let callerSlot = owners[Int(id.slot)]
        let caller = callers[callerSlot]
        let pool = rules.pools[Int(caller.pointee.pool)]
        if rules.keepsConnections(pool: caller.pointee.pool, listener: caller.pointee.listener),
            let kept = idle.removeValue(forKey: job.endpoint)
        {
            if workers[kept].pointee.address == job.address || workers[kept].pointee.address == job.alternate {
                counters.reusedConnections += 1
                attach(kept, to: callerSlot, id)
                workers[kept].pointee.isReused = true
                note(worker: kept, .dialing)
                escrow(worker: kept, job.lease)
                return established(kept)
            }
            // It leads to another port of the endpoint (of another pool), or to where it was.
            freeWorker(kept, nil)
        }
        switch connect(to: job.address) {
        case .failure(let error): dialFailed(callerSlot, id, error.failure)
        case .success(let raw):
            let slot = takeWorker(raw, job.endpoint)
            guard slot >= 0 else { return dialFailed(callerSlot, id, .ours) }
            workers[slot].pointee.address = job.address
            workers[slot].pointee.state = .dialing
            attach(slot, to: callerSlot, id)
            note(worker: slot, .dialing)
            setDeadline(worker: slot, .dial, pool.dialTimeout)
            escrow(worker: slot, job.lease)
        }
    }

    private func attach(_ slot: Int32, to callerSlot: Int32, _ id: JobID) {
        let worker = workers[slot]
        let caller = callers[callerSlot]
        worker.pointee.caller = callerSlot
        worker.pointee.job = id
        worker.pointee.pool = caller.pointee.pool
        worker.pointee.listener = caller.pointee.listener
        // What earlier jobs sent was answered, so it was acknowledged: no need to ask the kernel.
        worker.pointee.ackedBefore += worker.pointee.sentBytes
        worker.pointee.sentBytes = 0
        worker.pointee.takenBefore = worker.pointee.socket.taken
        worker.pointee.consumeLater = 0
        worker.pointee.unsent = 0
        worker.pointee.isProxied = false
        worker.pointee.endingOutcome = .abandoned
        if worker.pointee.up.base == nil { bindRelays(slot) }
        worker.pointee.up.restart()
        worker.pointee.down.restart()
        caller.pointee.worker = slot
        clearDeadline(caller: callerSlot)
    }

    /// Where the relays of this slot have their records; the sequence goes on where a predecessor left it.
    func bindRelays(_ slot: Int32) {
        let worker = workers[slot]
        let base = records.worker(slot)
        worker.pointee.up.base = base + RecordLayout.upOffset
        worker.pointee.up.sequence = Records.readRelay(base + RecordLayout.upOffset).sequence
        worker.pointee.down.base = base + RecordLayout.downOffset
        worker.pointee.down.sequence = Records.readRelay(base + RecordLayout.downOffset).sequence
    }

    /// Starts a non-blocking connect. Our own errno is told apart from the endpoint's.
    func connect(to address: SocketAddress) -> Result<Int32, DialError> {
        let domain = address.family == .v6 ? AF_INET6 : AF_INET
        let made = lh_socket(domain, Int32(SOCK_STREAM.rawValue))
        guard made >= 0 else { return .failure(DialError(.ours)) }
        let raw = Int32(made)
        var system = address.system
        let result = lh_connect(raw, &system)
        if result >= 0 || result == Int(-EINPROGRESS) { return .success(raw) }
        _ = lh_close(raw)
        return .failure(DialError(DialFailure(errno: Int32(-result))))
    }

    struct DialError: Error {
        var failure: DialFailure
        init(_ failure: DialFailure) { self.failure = failure }
    }

    private func dialFailed(_ callerSlot: Int32, _ id: JobID, _ failure: DialFailure) {
        callers[callerSlot].pointee.worker = -1
        if failure == .ours {
            // It would fail again at once: hold the lease for a moment instead of spinning through the queue.
            setDeadline(caller: callerSlot, .retry, .milliseconds(50))
            return
        }
        reportDialFailure(callerSlot, id, failure)
    }

    func reportDialFailure(_ callerSlot: Int32, _ id: JobID, _ failure: DialFailure) {
        if let job = machine[id], job.alternate == nil {
            counters.requeues += 1
            setHoldDeadline(callerSlot)
        }
        feed(.dialFailed(id, failure))
    }

    /// A slot for a connecting socket, registered for everything: EPOLLOUT tells that it is connected.
    func takeWorker(_ raw: Int32, _ endpoint: EndpointID) -> Int32 {
        let slot = workers.take()
        let worker = workers[slot]
        worker.pointee.descriptor = Descriptor(owning: raw)
        worker.pointee.socket = SocketFlags(readable: false, writable: false, finned: false, broken: false, watchesWrites: true)
        worker.pointee.endpoint = endpoint
        worker.pointee.caller = -1
        worker.pointee.isReused = false
        worker.pointee.isKeptAlive = false
        worker.pointee.isEscrowed = false
        worker.pointee.hasNoDelay = false
        worker.pointee.sentBytes = 0
        worker.pointee.ackedBefore = 1
        worker.pointee.jobDeadline = .never
        worker.pointee.state = .dialing
        let added = loop.add(
            raw, LH_EPOLLIN | LH_EPOLLOUT | LH_EPOLLRDHUP | LH_EPOLLET, kind: workerKind, payload: payload(slot, worker.pointee.generation))
        if added < 0 {
            freeWorker(slot, nil)
            return -1
        }
        return slot
    }

    /// An event while connecting.
    func dialAdvanced(_ slot: Int32, connected: Bool) {
        let worker = workers[slot]
        if worker.pointee.socket.broken {
            let errno = Int32(-lh_socket_error(worker.pointee.descriptor.raw))
            let failure = DialFailure(errno: errno == 0 ? ECONNRESET : errno)
            return dialEnded(slot, failure)
        }
        if connected { established(slot) }
    }

    /// The dial of this slot is over without a connection.
    func dialEnded(_ slot: Int32, _ failure: DialFailure) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let id = worker.pointee.job
        freeWorker(slot, .unused)
        if callerSlot >= 0 { dialFailed(callerSlot, id, failure) } else { feed(.dialFailed(id, failure)) }
    }

    /// The worker is there: the session begins.
    private func established(_ slot: Int32) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        let caller = callers[callerSlot]
        worker.pointee.state = .session
        caller.pointee.state = .session
        clearDeadline(worker: slot)
        feed(.dialed(worker.pointee.job))
        let listener = rules.listeners[Int(caller.pointee.listener)]
        if let limit = listener.configuration.deadlines.job {
            worker.pointee.jobDeadline = now + limit
        } else {
            worker.pointee.jobDeadline = .never
        }
        note(worker: slot, .session)
        worker.pointee.exchange = .requestHead
        // No byte before sendmsg(escrow) has returned: what was put into escrow in this turn goes when its batch has gone.
        if worker.pointee.isEscrowed, worker.pointee.escrowTurn == loop.turns || keeper?.link?.isBacklogged ?? false {
            beginnings.append((slot, worker.pointee.generation))
        } else {
            begin(slot)
        }
    }

    /// The first bytes go to the worker.
    func begin(_ slot: Int32) {
        let worker = workers[slot]
        let caller = callers[worker.pointee.caller]
        let listener = rules.listeners[Int(caller.pointee.listener)]
        note(begun: worker.pointee.caller)
        if listener.sendsProxyHeader, !worker.pointee.isProxied { sendProxyHeader(slot) }
        if listener.isHTTP { return sendRequestHead(slot) }
        worker.pointee.exchange = .tunnel
        if !listener.sendsProxyHeader { recordTunnel(slot) }
        worker.pointee.up.mode = .open
        worker.pointee.down.mode = .open
        caller.pointee.socket.readable = true
        pump(slot)
    }

    /// From here on both directions pass byte for byte.
    private func recordTunnel(_ slot: Int32, headerLength: Int = 0) {
        let worker = workers[slot]
        let caller = callers[worker.pointee.caller]
        worker.pointee.down.record = RelayRecord(
            sourceAt: worker.pointee.socket.taken, sinkAt: caller.pointee.socket.given, follows: .open)
        worker.pointee.down.commit()
        worker.pointee.up.record = RelayRecord(
            sourceAt: caller.pointee.socket.taken, sinkAt: worker.pointee.socket.given, sinkLength: headerLength, follows: .open)
        worker.pointee.up.commit()
    }

    /// PROXY v2 before anything else: who the caller is, and the lease token as a TLV.
    private func sendProxyHeader(_ slot: Int32) {
        let worker = workers[slot]
        let caller = callers[worker.pointee.caller]
        guard let job = machine[worker.pointee.job] else { return }
        let pool = rules.pools[Int(worker.pointee.pool)]
        let destination = SocketAddress(system: lh_local_address(caller.pointee.descriptor.raw))
        var sink = ByteSink(output)
        pool.nameBytes.withUnsafeBytes {
            sink.appendProxyHeader(source: caller.pointee.peer.address, destination: destination, lease: (pool: $0, id: job.lease))
        }
        if rules.listeners[Int(worker.pointee.listener)].isHTTP {
            worker.pointee.up.record = RelayRecord(
                sourceAt: caller.pointee.socket.taken, sinkAt: worker.pointee.socket.given, sinkLength: sink.count, follows: .head)
            worker.pointee.up.commit()
        } else {
            recordTunnel(slot, headerLength: sink.count)
        }
        worker.pointee.isProxied = true
        // A fresh socket's buffer takes a header of this size whole.
        let sent = lh_send(worker.pointee.descriptor.raw, output.baseAddress, sink.count, 0)
        if sent < 0 { worker.pointee.socket.broken = true }
        worker.pointee.socket.given &+= UInt64(max(0, sent))
        // None of it is the job's: what was acknowledged of it does not keep the job from being told again.
        worker.pointee.ackedBefore += UInt64(max(0, sent))
    }

    /// The machine let go of a dial (its caller left): nothing has reached the worker.
    func abandonDial(_ id: JobID) {
        let callerSlot = owners[Int(id.slot)]
        guard callerSlot >= 0 else { return }
        let slot = callers[callerSlot].pointee.worker
        guard slot >= 0, workers[slot].pointee.job == id else { return }
        callers[callerSlot].pointee.worker = -1
        freeWorker(slot, .unused)
    }

    /// The lease was taken from us.
    func cut(_ id: JobID) {
        let callerSlot = owners[Int(id.slot)]
        for slot in 0..<workers.capacity where workers[slot].pointee.state != .none && workers[slot].pointee.job == id {
            if callerSlot >= 0, callers[callerSlot].pointee.worker == slot {
                jobEnded(id, .cut, outcome: .cut, was: workers[slot].pointee.state == .dialing ? .dialing : .serving, worker: slot)
                resetCaller(callerSlot)
            }
            resetWorker(slot, .cut)
            return
        }
        // Still dialling with nothing connected (a pause after a failure of our own).
        if callerSlot >= 0, callers[callerSlot].pointee.job == id {
            jobEnded(id, .cut, outcome: .cut, was: .dialing)
            resetCaller(callerSlot)
        }
    }

    // MARK: Options of worker connections

    /// Small writes go out at once from here on. One call, made only for connections that write more than once.
    func setNoDelay(_ slot: Int32) {
        let worker = workers[slot]
        guard !worker.pointee.hasNoDelay else { return }
        worker.pointee.hasNoDelay = true
        // Without it bytes are late, not lost.
        _ = lh_set_option(worker.pointee.descriptor.raw, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    }

    /// Every two seconds: connections that have lasted get keep-alive and the user time-out, so that a vanished node ends a silent
    /// session in half a minute. Jobs that are over sooner are spared five system calls. O(worker connections).
    func keepAliveLasting() {
        for slot in 0..<workers.capacity {
            let worker = workers[slot]
            guard worker.pointee.state != .none, worker.pointee.state != .dialing, !worker.pointee.isKeptAlive else { continue }
            worker.pointee.isKeptAlive = true
            worker.pointee.hasNoDelay = true
            // A Unix or dead socket refuses them: its own deadline ends it.
            try? Sockets.setCarried(worker.pointee.descriptor.raw, receiveBuffer: nil)
        }
    }

    // MARK: Ends of workers

    /// Resets the connection: the worker must see a cut, not an end. connect(AF_UNSPEC) does it whatever duplicates exist.
    func resetWorker(_ slot: Int32, _ outcome: Outcome?) {
        _ = lh_disconnect(workers[slot].pointee.descriptor.raw)
        workers[slot].pointee.socket.isEnded = true
        freeWorker(slot, outcome)
    }

    /// `outcome`: how the lease of its job ends, in a release that the owner sends in this turn; nil where there is none.
    func freeWorker(_ slot: Int32, _ outcome: Outcome?) {
        let worker = workers[slot]
        guard worker.pointee.state != .none else { return }
        end(&worker.pointee.socket, worker.pointee.descriptor.raw)
        if let outcome { note(worker: slot, over: outcome) } else { note(worker: slot, .none) }
        loop.remove(worker.pointee.descriptor.raw)
        if worker.pointee.isEscrowed { forgetEscrow(worker.pointee.descriptor.raw) }
        worker.pointee.descriptor.close()
        clearDeadline(worker: slot)
        release(&worker.pointee.up)
        release(&worker.pointee.down)
        worker.pointee.outgoing?.free()
        worker.pointee.outgoing = nil
        worker.pointee.state = .none
        worker.pointee.hasYielded = false
        worker.pointee.generation &+= 1
        worker.pointee.caller = -1
        // Its record says how it ended until the pool-keeper has been told: the slot is free when this turn's packets are gone.
        freed.append(slot)
    }

    /// Before the close of a connection whose peer has not been told: while a duplicate lives the close says nothing. Whether one lives
    /// nobody knows here: a pool-keeper that is away may only be late.
    func end(_ socket: inout SocketFlags, _ raw: Int32) {
        guard !socket.isEnded, !socket.broken else { return }
        socket.isEnded = true
        _ = lh_shutdown(raw, Int32(SHUT_RDWR))
    }

    /// Gives back a relay's pipe.
    func release(_ relay: inout Relay) {
        if let pipe = relay.pipe {
            // Out of the record before another relay may have it.
            if let base = relay.base { lh_store_last(base, 0) }
            pipes.give(pipe, isEmpty: relay.inPipe == 0)
            relay.pipe = nil
            relay.inPipe = 0
        }
    }
}

extension DialFailure {
    /// Whose fault an errno of connect(2) is.
    init(errno: Int32) {
        switch errno {
        case ECONNREFUSED: self = .refused
        case ETIMEDOUT: self = .timedOut
        case EHOSTUNREACH, EHOSTDOWN: self = .unreachable
        case ECONNRESET, EPIPE: self = .reset
        default: self = .ours
        }
    }
}
