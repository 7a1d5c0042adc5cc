import CLinux
import DispatcherCore
import Linux
import Logging
import Model
import ServiceKit
import Systemd
import Wire

/// Duplicates of our descriptors, kept by the pool-keeper for the next process in the seat.
extension DispatchLoop {
    func name(caller slot: Int32) -> ConnectionID { ConnectionID(slot: UInt32(bitPattern: slot), generation: callers[slot].pointee.generation) }
    func name(worker slot: Int32) -> ConnectionID { ConnectionID(slot: UInt32(bitPattern: slot), generation: workers[slot].pointee.generation) }

    /// The link, once the pool-keeper has handed over and wants to hear from us.
    private var open: Link? { isLinkOpen ? keeper?.link : nil }

    /// A caller's socket, once, for the connection's life. Over the pool-keeper's budget the whole connection is left out.
    func escrow(caller slot: Int32) {
        let caller = callers[slot]
        caller.pointee.isEscrowed = false
        guard let link = open else { return }
        guard records.holds(caller: slot), hasRoom(2) else {
            skipEscrow()
            return
        }
        caller.pointee.isEscrowed = true
        escrowed += 1
        let rule = rules.listeners[Int(caller.pointee.listener)]
        let finMeansGone = rule.isHTTP || rule.configuration.parkedFIN == .gone
        link.send(
            LeasingRequest.escrow(.caller(name(caller: slot), finMeansGone: finMeansGone)), carrying: caller.pointee.descriptor.raw)
    }

    /// A worker's socket, with its lease, before the first byte goes there; goes with this turn's batch.
    func escrow(worker slot: Int32, _ lease: LeaseID) {
        let worker = workers[slot]
        let callerSlot = worker.pointee.caller
        worker.pointee.isEscrowed = false
        guard let link = open, callerSlot < 0 || callers[callerSlot].pointee.isEscrowed else { return }
        guard records.holds(worker: slot), hasRoom(1) else {
            skipEscrow()
            return
        }
        worker.pointee.isEscrowed = true
        worker.pointee.escrowTurn = loop.turns
        escrowed += 1
        let caller = callerSlot < 0 ? ConnectionID.none : name(caller: callerSlot)
        link.send(
            LeasingRequest.escrow(.worker(EscrowedWorker(lease: lease, caller: caller, worker: name(worker: slot)))),
            carrying: worker.pointee.descriptor.raw)
    }

    private func skipEscrow() {
        counters.escrowSkipped += 1
        guard !saidSkipped else { return }
        saidSkipped = true
        logger.warning(
            "More connections than the pool-keeper takes into escrow; the others would not outlive this process, continuing",
            metadata: [LogKey.messageID: "\(MessageID.escrowFull)", "escrowed": "\(escrowed)", "budget": "\(keeper?.link?.peer?.descriptorBudget ?? 0)"])
    }

    private func hasRoom(_ wanted: Int) -> Bool {
        escrowed + pipes.open * 2 + 1 + wanted <= Int(keeper?.link?.peer?.descriptorBudget ?? 0)
    }

    /// The connection is over: the duplicate too.
    func forgetEscrow(caller slot: Int32) {
        let caller = callers[slot]
        caller.pointee.isEscrowed = false
        escrowed -= 1
        guard let link = open else {
            // One that was handed over, and ends while everything is adopted: said before all the rest.
            if !isStarted { tell(LeasingRequest.escrow(.callerGone(name(caller: slot)))) }
            return
        }
        link.willClose(caller.pointee.descriptor.raw)
        link.send(LeasingRequest.escrow(.callerGone(name(caller: slot))))
    }

    /// The release takes a worker out of escrow.
    func forgetEscrow(_ raw: Int32) {
        escrowed -= 1
        open?.willClose(raw)
    }

    /// A pipe more; in escrow before anything is in it.
    func makePipe() -> Pipe? {
        guard let pipe = pipes.make() else { return nil }
        if pipe.index < Bounds.pipes, let link = open {
            link.send(LeasingRequest.escrow(.pipes(index: pipe.index)), carrying: pipe.read, pipe.write)
            link.flush()
        }
        return pipe
    }

    /// Everything that was put into escrow in this turn goes, then the sessions begin that waited for it.
    func beginSessions() {
        keeper?.link?.flush()
        // What the link has not taken is not in escrow: it takes it in a later turn, or it ends, and then nothing of this is.
        if keeper?.link?.isBacklogged ?? false { return }
        let due = beginnings
        beginnings.removeAll(keepingCapacity: true)
        for entry in due where workers[entry.slot].pointee.generation == entry.generation && workers[entry.slot].pointee.state == .session {
            begin(entry.slot)
        }
    }

    // MARK: A link that is new

    /// Before anything else is told: records, pipes and callers, but for what the pool-keeper has just handed over.
    func escrowEverything() {
        guard let link = keeper?.link else { return }
        escrowed = 0
        link.send(LeasingRequest.escrow(.records), carrying: records.descriptor)
        for case let pipe? in pipes.all where pipe.index < Bounds.pipes {
            link.send(LeasingRequest.escrow(.pipes(index: pipe.index)), carrying: pipe.read, pipe.write)
        }
        for slot in 0..<callers.capacity where callers[slot].pointee.state != .none { escrow(caller: slot) }
        for slot in 0..<workers.capacity { workers[slot].pointee.isEscrowed = false }
    }

    /// What is in escrow, then leases and tickets, then the end of it.
    func tellEverything(isNew: Bool) {
        isLinkOpen = true
        saidSkipped = false
        if isNew { escrowEverything() }
        for slot in 0..<workers.capacity where workers[slot].pointee.state != .none && !workers[slot].pointee.isEscrowed {
            unescrowed[workers[slot].pointee.job] = slot
        }
        feed(.keeperUp)
        unescrowed.removeAll()
    }

    /// Directly behind the assertion of its lease.
    func escrowAgain(_ id: JobID) {
        guard let job = machine[id], !job.isProbe, let slot = unescrowed[id] else { return }
        switch workers[slot].pointee.state {
        case .dialing, .session, .ending, .grace: escrow(worker: slot, job.lease)
        case .none, .idle, .probe: break
        }
    }
}
