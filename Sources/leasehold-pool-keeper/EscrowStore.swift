import CLinux
import KeeperCore
import Linux
import Model
import ServiceKit
import Wire

/// Everything in escrow, by the process that it belongs to.
///
/// The machine says when something is closed, cut or handed over; this owns the descriptors and keeps them within the budget.
final class EscrowStore {
    /// A waiting caller of a dead process has hung up.
    var onHangUp: (InstanceID, TicketID) -> Void = { _, _ in }
    /// Descriptors held, of all processes.
    private(set) var total = 0
    /// Workers that were put into escrow.
    private(set) var escrowed: UInt64 = 0
    /// Callers, workers and pipes that were not kept, for want of descriptors or beyond their bounds.
    private(set) var skipped: UInt64 = 0
    /// Workers that were cut because nobody could say how their jobs ended.
    private(set) var fenced: UInt64 = 0

    private let loop: Loop
    private let budget: Int
    private var seats: [InstanceID: SeatEscrow] = [:]
    private var watchKind: UInt8 = 0
    /// Processes whose callers are watched, by the number that their events carry.
    private var watched: [UInt16: InstanceID] = [:]
    private var nextWatch: UInt16 = 0

    init(loop: Loop, budget: Int) {
        self.loop = loop
        self.budget = budget
        watchKind = loop.addKind { [unowned self] payload, events in ready(payload, events) }
    }

    func seat(_ instance: InstanceID) -> SeatEscrow? { seats[instance] }

    func holds(_ caller: ConnectionID, of instance: InstanceID) -> Bool { seats[instance]?.caller(caller) != nil }

    // MARK: In and out

    /// A process has said hello: what it has here stays until it says what still counts.
    func greeted(_ instance: InstanceID) { seat(of: instance).assertion &+= 1 }

    private func seat(of instance: InstanceID) -> SeatEscrow {
        if let known = seats[instance] { return known }
        let new = SeatEscrow()
        seats[instance] = new
        return new
    }

    /// Everything has been told.
    func asserted(_ instance: InstanceID) { change(instance) { $0.sweep() } }

    /// Carries out one message; false when it was left out. Throws when the packet has too few descriptors.
    func take(
        _ message: Escrow, from instance: InstanceID, _ descriptors: ReceivedDescriptors?, isEnding: (LeaseID) -> Bool
    ) throws(WireError) -> Bool {
        switch message {
        case .callerGone(let caller):
            change(instance) { $0.remove(caller: caller) }
            return true
        case .records:
            let descriptor = try next(descriptors)
            return keep(descriptor, for: instance) { $0.put(records: $1) }
        case .caller(let caller, let finMeansGone):
            let descriptor = try next(descriptors)
            guard caller.slot < Bounds.callers else { return skip() }
            return keep(descriptor, for: instance) { $0.put(caller: caller, $1, finMeansGone: finMeansGone) }
        case .pipes(let index):
            var read = try next(descriptors)
            var write = try next(descriptors)
            guard total + 2 <= budget else { return skip() }
            let ends = (read.release(), write.release())
            change(instance) { $0.put(pipe: index, read: ends.0, write: ends.1) }
            return true
        case .worker(let worker):
            let descriptor = try next(descriptors)
            // Without its caller nobody could go on with it, unless the caller is gone anyhow: it left, or has its whole response.
            guard worker.caller == .none || holds(worker.caller, of: instance) || isEnding(worker.lease) else { return skip() }
            guard keep(descriptor, for: instance, { $0.put(worker, $1) }) else { return false }
            escrowed += 1
            return true
        }
    }

    private func next(_ descriptors: ReceivedDescriptors?) throws(WireError) -> Descriptor {
        guard let descriptor = descriptors?.takeFirst() else { throw .mismatch(field: "descriptors", ours: 1, theirs: 0) }
        return descriptor
    }

    private func keep(_ descriptor: consuming Descriptor, for instance: InstanceID, _ put: (SeatEscrow, Int32) -> Void) -> Bool {
        guard total < budget else { return skip() }
        let raw = descriptor.release()
        change(instance) { put($0, raw) }
        return true
    }

    private func skip() -> Bool {
        skipped += 1
        return false
    }

    @inline(__always)
    private func change(_ instance: InstanceID, _ body: (SeatEscrow) -> Void) {
        guard let seat = seats[instance] else { return }
        let before = seat.count
        body(seat)
        total += seat.count - before
    }

    /// The lease is over, and its dispatcher has ended the connection itself.
    func close(_ lease: LeaseID, of instance: InstanceID) { change(instance) { $0.remove(lease) } }

    /// Cuts the worker's connection: the next write of anybody else who holds it fails with EPIPE.
    func fence(_ lease: LeaseID, of instance: InstanceID) {
        if let worker = seats[instance]?.workers[lease] {
            fenced += 1
            // The end for whoever writes, then the reset. ENOTCONN: it is over already.
            _ = lh_shutdown(worker.descriptor, Int32(SHUT_RDWR))
            cut(worker.descriptor)
        }
        close(lease, of: instance)
    }

    /// A reset, whatever duplicates there are: an end could be taken for a response that is complete.
    private func cut(_ descriptor: Int32) {
        // It fails where nothing is left to cut.
        _ = lh_disconnect(descriptor)
    }

    // MARK: The dead

    /// The successor has it all now; its callers are its own to watch.
    func inherit(from dead: InstanceID, to heir: InstanceID) {
        unwatch(dead)
        guard let seat = seats.removeValue(forKey: dead) else { return }
        seat.allTold()
        seats[heir] = seat
    }

    /// Cuts and closes what nobody has adopted.
    func drop(_ instance: InstanceID) {
        unwatch(instance)
        guard let seat = seats[instance] else { return }
        // A reset and nothing before it: a caller must not take this for the end of what it was being sent.
        for caller in seat.callers where caller.descriptor >= 0 { _ = lh_disconnect(caller.descriptor) }
        for worker in seat.workers.values { cut(worker.descriptor) }
        change(instance) { $0.closeAll() }
        seats[instance] = nil
    }

    /// Watches the callers that wait, for as long as their dispatcher is dead.
    func watch(_ waiting: [(ticket: TicketID, caller: ConnectionID)], of instance: InstanceID) {
        guard let seat = seats[instance] else { return }
        repeat { nextWatch &+= 1 } while watched[nextWatch] != nil
        watched[nextWatch] = instance
        for (ticket, id) in waiting {
            guard let caller = seat.caller(id) else { continue }
            seat.callers[Int(id.slot)].ticket = ticket
            // Where it fails the caller is found gone by its successor, or with the end of its budget.
            _ = loop.add(
                caller.descriptor, LH_EPOLLRDHUP | LH_EPOLLET, kind: watchKind, payload: UInt64(nextWatch) << 32 | UInt64(id.slot))
        }
    }

    private func unwatch(_ instance: InstanceID) {
        guard let number = watched.first(where: { $0.value == instance })?.key else { return }
        watched[number] = nil
        guard let seat = seats[instance] else { return }
        for i in seat.callers.indices where seat.callers[i].ticket != nil && seat.callers[i].descriptor >= 0 {
            loop.remove(seat.callers[i].descriptor)
            seat.callers[i].ticket = nil
        }
    }

    private func ready(_ payload: UInt64, _ events: UInt32) {
        let slot = UInt32(truncatingIfNeeded: payload)
        guard let instance = watched[UInt16(truncatingIfNeeded: payload >> 32)], let seat = seats[instance], slot < seat.callers.count,
            seat.callers[Int(slot)].descriptor >= 0, let ticket = seat.callers[Int(slot)].ticket
        else { return }
        let caller = seat.callers[Int(slot)]
        guard caller.finMeansGone || events & (LH_EPOLLHUP | LH_EPOLLERR) != 0 else { return }
        // It gives its place in line back; its connection stays for a successor, who tells how its job ended.
        loop.remove(caller.descriptor)
        seat.callers[Int(slot)].ticket = nil
        onHangUp(instance, ticket)
    }
}
