import CLinux
import DispatcherCore
import Linux
import Model
import ServiceKit

extension DispatchLoop {
    /// Registers a listening socket; shared with other loops, of which one wakes per connection (EPOLLEXCLUSIVE).
    func listen(_ descriptor: Int32, index: UInt16) throws(SystemError) {
        _ = try check(
            loop.add(descriptor, LH_EPOLLIN | LH_EPOLLEXCLUSIVE, kind: listenerKind, payload: UInt64(index)), "epoll_ctl", "listener")
        listenerDescriptors.append(descriptor)
    }

    /// Accepts as many as came together lately. The listener is level-triggered, so what is left is told again; asking once too
    /// often costs a call that fails, asking too seldom costs a turn: the budget doubles when it was used up, and falls to what came.
    func accept(_ index: UInt16) {
        let listener = listenerDescriptors[Int(index)]
        var taken = 0
        while taken < acceptBudget {
            var address = lh_address()
            let raw = lh_accept(listener, &address)
            guard raw >= 0 else {
                acceptBudget = max(1, taken)
                // EAGAIN: all taken, or another loop was faster.
                if raw != Int(-EAGAIN) && raw != Int(-ECONNABORTED) { pauseAccepting(index) }
                return
            }
            taken += 1
            counters.accepted += 1
            adopt(Int32(raw), SocketAddress(system: address), index)
        }
        acceptBudget = min(64, acceptBudget * 2)
    }

    /// EMFILE, ENFILE, ENOMEM: callers wait in the backlog, and looking at them again at once would only turn the loop.
    private func pauseAccepting(_ index: UInt16) {
        counters.refusedConnections += 1
        loop.remove(listenerDescriptors[Int(index)])
        if !pausedListeners.contains(index) { pausedListeners.append(index) }
        acceptTimer?.deadline = loop.now + 100_000_000
    }

    /// The pause is over.
    func resumeAccepting() {
        for index in pausedListeners {
            let descriptor = listenerDescriptors[Int(index)]
            let added = loop.add(descriptor, LH_EPOLLIN | LH_EPOLLEXCLUSIVE, kind: listenerKind, payload: UInt64(index))
            // Not even memory for a registration: later.
            if added < 0 { acceptTimer?.deadline = loop.now + 100_000_000 } else { pausedListeners.removeAll { $0 == index } }
        }
    }

    private func adopt(_ raw: Int32, _ address: SocketAddress?, _ index: UInt16) {
        let slot = callers.take()
        let caller = callers[slot]
        let rule = rules.listeners[Int(index)]
        caller.pointee.descriptor = Descriptor(owning: raw)
        caller.pointee.listener = index
        caller.pointee.socket = SocketFlags()
        caller.pointee.worker = -1
        caller.pointee.peer = rule.http.trust.peer(address)
        caller.pointee.pool = rule.pool
        caller.pointee.headLength = 0
        caller.pointee.serial = 0
        caller.pointee.state = .idle
        let configuration = rule.configuration
        let expectsProxy = configuration.proxyProtocol.accept && rule.http.trust.trusts(address)
        if expectsProxy { caller.pointee.state = .proxyHeader }
        if configuration.proxyProtocol.accept { records.setPeer(nil, caller: slot) }
        note(newCaller: slot)
        escrow(caller: slot)
        let added = loop.add(
            raw, LH_EPOLLIN | LH_EPOLLRDHUP | LH_EPOLLET, kind: callerKind, payload: payload(slot, caller.pointee.generation))
        guard added >= 0 else { return freeCaller(slot) }
        if !rule.isHTTP && configuration.askAfter == .accept && !expectsProxy {
            park(slot, connectionRequest(slot))
        } else {
            setDeadline(caller: slot, rule.isHTTP ? .head : .keepAlive, rule.isHTTP ? configuration.deadlines.head : configuration.deadlines.keepAlive)
        }
    }

    /// A PROXY header (v1 or v2) from a trusted peer, taken off the socket before anything else is read.
    func readProxyHeader(_ slot: Int32) {
        let caller = callers[slot]
        guard let bytes = peek(caller, 4096) else { return closeSilently(slot) }
        switch ProxyHeader.parse(bytes) {
        case .needMore:
            if caller.pointee.socket.finned || caller.pointee.socket.broken { closeSilently(slot) }
        case .refused:
            counters.refusals[Int(Reason.badRequest.rawValue)] += 1
            resetCaller(slot)
        case .header(let header):
            let rule = rules.listeners[Int(caller.pointee.listener)]
            // The caller behind the balancer is believed for what it is itself, not for whom it came through.
            if let source = header.source { caller.pointee.peer = rule.http.trust.peer(source) }
            records.setPeer(caller.pointee.peer, caller: slot)
            takeOff(caller: slot, header.length)
            caller.pointee.state = .idle
            note(caller: slot, .idle)
            caller.pointee.socket.readable = true
            if !rule.isHTTP && rule.configuration.askAfter == .accept {
                park(slot, connectionRequest(slot))
            } else {
                callerIdle(slot)
            }
        }
    }

    /// Nothing runs on this connection: look for the first byte or the next head.
    func callerIdle(_ slot: Int32) {
        let caller = callers[slot]
        if caller.pointee.socket.broken { return closeSilently(slot) }
        if rules.listeners[Int(caller.pointee.listener)].isHTTP { return readRequest(slot) }
        guard caller.pointee.socket.readable else { return }
        if caller.pointee.socket.finned {
            // A FIN with nothing before it is a caller that left; with data before it only `pass-on` serves it.
            let passesOn = rules.listeners[Int(caller.pointee.listener)].configuration.parkedFIN == .passOn
            guard passesOn, let bytes = peek(caller, 1), bytes.count > 0 else { return closeSilently(slot) }
        }
        if isDraining { return resetCaller(slot) }
        park(slot, connectionRequest(slot))
    }

    /// The caller's job gets in line.
    func park(_ slot: Int32, _ request: JobRequest) {
        let caller = callers[slot]
        let id = machine.reserve()
        while owners.count <= Int(id.slot) { owners.append(-1) }
        owners[Int(id.slot)] = slot
        caller.pointee.job = id
        caller.pointee.state = .parked
        note(parked: slot, request)
        counters.jobs += 1
        vitals[caller.pointee.pool].accept()
        feed(.arrived(id, request))
        // It may have been refused at once, and the caller have asked again.
        guard caller.pointee.state == .parked, caller.pointee.job == id else { return }
        if caller.pointee.head != nil, machine.waiting(in: request.pool) <= Self.mostHeads {
            setDeadline(caller: slot, .shrink, .milliseconds(250))
        } else {
            giveHeadBack(slot)
            setHoldDeadline(slot)
        }
    }

    /// How many waiting jobs of a pool keep their heads for a moment; with more of them in line none is near.
    private static var mostHeads: Int { 1024 }

    /// It stays at the front of the socket, and is read again when there is a worker.
    func giveHeadBack(_ slot: Int32) {
        callers[slot].pointee.head?.free()
        callers[slot].pointee.head = nil
    }

    /// The pool-keeper keeps the time of those who wait. While it is away, `hold.timeout` counts, and `grace` if that is longer.
    func setHoldDeadline(_ slot: Int32, grace: Duration = .zero) {
        guard !machine.isKeeperUp else { return clearDeadline(caller: slot) }
        let id = callers[slot].pointee.job
        guard let job = machine[id] else { return }
        setDeadline(caller: slot, .hold, max(.milliseconds(1), grace, job.arrived + machine.budget(of: id) - now))
    }

    /// The pool-keeper has gone. The next one finds everybody who waits, also those to whom it gave longer than `hold.timeout`.
    func keepTheTime() {
        for slot in 0..<callers.capacity where callers[slot].pointee.state == .parked {
            guard [.none, .hold].contains(callers[slot].pointee.deadline), machine[callers[slot].pointee.job]?.phase == .waiting else { continue }
            setHoldDeadline(slot, grace: Self.keepersAbsence)
        }
    }

    /// Longer than systemd takes to start it again.
    static var keepersAbsence: Duration { .seconds(5) }

    /// An event on a parked caller: it may have left.
    func callerParked(_ slot: Int32) {
        let caller = callers[slot]
        let rule = rules.listeners[Int(caller.pointee.listener)]
        guard caller.pointee.socket.broken || (caller.pointee.socket.finned && (rule.isHTTP || rule.configuration.parkedFIN == .gone)) else {
            return
        }
        let id = caller.pointee.job
        jobEnded(id, .gone, worker: caller.pointee.worker)
        feed(.callerLeft(id, reachedWorker: false))
        closeSilently(slot)
    }

    /// The front of a socket's queue, left there. Empty when there is nothing (readable is off then); nil at a reset.
    /// A short answer is all there is, so readable is off as well until the next event.
    func peek(_ caller: UnsafeMutablePointer<Caller>, _ limit: Int) -> UnsafeRawBufferPointer? {
        let count = lh_recv(caller.pointee.descriptor.raw, scratch.baseAddress, limit, Int32(MSG_PEEK))
        if count < 0 {
            caller.pointee.socket.readable = false
            if count == Int(-EAGAIN) { return UnsafeRawBufferPointer(rebasing: scratch[..<0]) }
            caller.pointee.socket.broken = true
            return nil
        }
        if count == 0 { caller.pointee.socket.finned = true }
        if count < limit { caller.pointee.socket.readable = false }
        return UnsafeRawBufferPointer(rebasing: scratch[..<count])
    }

    /// Takes bytes that were looked at off the caller's socket.
    func takeOff(caller slot: Int32, _ count: Int) {
        let caller = callers[slot]
        _ = lh_recv(caller.pointee.descriptor.raw, nil, count, Int32(MSG_TRUNC))
        caller.pointee.socket.taken &+= UInt64(count)
    }

    // MARK: Ends of callers

    /// Closes without a word: the caller left, or there is nothing to say.
    func closeSilently(_ slot: Int32) { freeCaller(slot) }

    /// Cuts: the caller must not mistake this for an end. connect(AF_UNSPEC) resets whatever duplicates exist.
    func resetCaller(_ slot: Int32) {
        counters.cuts += 1
        // ENOTCONN: it was reset already.
        _ = lh_disconnect(callers[slot].pointee.descriptor.raw)
        callers[slot].pointee.socket.isEnded = true
        freeCaller(slot)
    }

    func freeCaller(_ slot: Int32) {
        let caller = callers[slot]
        guard caller.pointee.state != .none else { return }
        end(&caller.pointee.socket, caller.pointee.descriptor.raw)
        note(caller: slot, .none)
        loop.remove(caller.pointee.descriptor.raw)
        if caller.pointee.isEscrowed { forgetEscrow(caller: slot) }
        caller.pointee.descriptor.close()
        clearDeadline(caller: slot)
        caller.pointee.outgoing?.free()
        caller.pointee.outgoing = nil
        giveHeadBack(slot)
        caller.pointee.trace = nil
        caller.pointee.state = .none
        caller.pointee.generation &+= 1
        caller.pointee.worker = -1
        callers.give(slot)
    }
}
