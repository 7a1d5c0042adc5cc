import CLinux
import KeeperCore
import Linux
import Model
import ServiceKit
import Wire

/// The way of everything in escrow to the next process in a seat: in packets as large as they may be, as fast as the link takes them.
final class HandOver {
    let link: Link
    let heir: InstanceID
    private enum Step {
        case records(Int32)
        case pipes(UInt32, Int32, Int32)
        case worker(EscrowedWorker, Int32)
        case caller(ConnectionID, Int32)

        var descriptors: Int {
            switch self {
            case .pipes: 2
            case .records, .worker, .caller: 1
            }
        }
    }

    private var steps: [Step] = []
    private var next = 0
    private let lease: (LeaseID) -> AssertedLease?

    /// Of what exceeds the heir's own budget nothing is sent: callers without a job are the last.
    init(to link: Link, _ heir: InstanceID, _ seat: SeatEscrow?, parkedCallers: [ConnectionID], lease: @escaping (LeaseID) -> AssertedLease?) {
        self.link = link
        self.heir = heir
        self.lease = lease
        guard let seat else { return }
        if seat.records >= 0 { steps.append(.records(seat.records)) }
        for (i, pipe) in seat.pipes.enumerated() where pipe.read >= 0 { steps.append(.pipes(UInt32(i), pipe.read, pipe.write)) }
        var busy: Set<ConnectionID> = []
        for worker in seat.workers.values {
            steps.append(.worker(worker.names, worker.descriptor))
            busy.insert(worker.names.caller)
        }
        busy.formUnion(parkedCallers)
        var idle: [Step] = []
        for (slot, caller) in seat.callers.enumerated() where caller.descriptor >= 0 {
            let id = ConnectionID(slot: UInt32(slot), generation: caller.generation)
            if busy.contains(id) { steps.append(.caller(id, caller.descriptor)) } else { idle.append(.caller(id, caller.descriptor)) }
        }
        steps += idle
        var left = Int(link.peer?.descriptorBudget ?? 0)
        if let first = steps.firstIndex(where: { step in
            left -= step.descriptors
            return left < 0
        }) {
            steps.removeSubrange(first...)
        }
    }

    /// Sends what the link takes now. True when everything has been sent, the end included, or the link is over.
    func goOn() -> Bool {
        while next < steps.count, link.isUp, link.isDelivered {
            var carried = 0
            while next < steps.count, carried + 2 <= Bounds.packetDescriptors {
                carried += send(steps[next])
                next += 1
            }
            link.flush()
        }
        guard link.isUp else { return true }
        guard next == steps.count, link.isDelivered else { return false }
        link.send(LeasingReply.adopt(.end))
        return true
    }

    private func send(_ step: Step) -> Int {
        switch step {
        case .records(let descriptor): link.send(LeasingReply.adopt(.records), carrying: descriptor)
        case .pipes(let index, let read, let write): link.send(LeasingReply.adopt(.pipes(index: index)), carrying: read, write)
        case .caller(let caller, let descriptor): link.send(LeasingReply.adopt(.caller(caller)), carrying: descriptor)
        case .worker(let worker, let descriptor):
            // One that is over has been closed meanwhile.
            guard let lease = lease(worker.lease) else { return 0 }
            link.send(LeasingReply.adopt(.worker(worker, lease)), carrying: descriptor)
        }
        return step.descriptors
    }
}
