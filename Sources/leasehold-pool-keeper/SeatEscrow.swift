import CLinux
import KeeperCore
import Linux
import Model
import Wire

/// The duplicates that one dispatcher process has in escrow.
///
/// Tables by the dispatcher's own small numbers: taking a descriptor in and out costs no allocation once they have grown.
final class SeatEscrow {
    struct Caller {
        var descriptor: Int32 = -1
        var generation: UInt32 = 0
        /// The assertion that named it last.
        var told: UInt32 = 0
        var finMeansGone = true
        /// The job that it waits with, while its dispatcher is dead and it is watched.
        var ticket: TicketID?
    }

    struct Pipe {
        var read: Int32 = -1
        var write: Int32 = -1
        var told: UInt32 = 0
    }

    struct Worker {
        var descriptor: Int32
        var names: EscrowedWorker
    }

    /// Counts the hellos of its dispatchers: what is not told again after the last one does not hold any more.
    var assertion: UInt32 = 0
    var records: Int32 = -1
    var pipes: ContiguousArray<Pipe> = []
    var callers: ContiguousArray<Caller> = []
    var workers: [LeaseID: Worker] = [:]
    /// Open descriptors in all of these.
    var count = 0

    func caller(_ id: ConnectionID) -> Caller? {
        guard id.slot < callers.count else { return nil }
        let caller = callers[Int(id.slot)]
        return caller.descriptor >= 0 && caller.generation == id.generation ? caller : nil
    }

    func put(caller id: ConnectionID, _ descriptor: Int32, finMeansGone: Bool) {
        while callers.count <= Int(id.slot) { callers.append(Caller()) }
        callers[Int(id.slot)].descriptor = closed(callers[Int(id.slot)].descriptor)
        callers[Int(id.slot)] = Caller(descriptor: descriptor, generation: id.generation, told: assertion, finMeansGone: finMeansGone)
        count += 1
    }

    func put(pipe index: UInt32, read: Int32, write: Int32) {
        while pipes.count <= Int(index) { pipes.append(Pipe()) }
        close(pipe: Int(index))
        pipes[Int(index)] = Pipe(read: read, write: write, told: assertion)
        count += 2
    }

    func put(_ names: EscrowedWorker, _ descriptor: Int32) {
        if let old = workers.updateValue(Worker(descriptor: descriptor, names: names), forKey: names.lease) { _ = closed(old.descriptor) }
        count += 1
    }

    func put(records descriptor: Int32) {
        records = closed(records)
        records = descriptor
        count += 1
    }

    func remove(caller id: ConnectionID) {
        guard caller(id) != nil else { return }
        callers[Int(id.slot)].descriptor = closed(callers[Int(id.slot)].descriptor)
    }

    func remove(_ lease: LeaseID) {
        if let worker = workers.removeValue(forKey: lease) { _ = closed(worker.descriptor) }
    }

    func close(pipe index: Int) {
        pipes[index].read = closed(pipes[index].read)
        pipes[index].write = closed(pipes[index].write)
    }

    /// Closes one of ours; what is in its place from then on.
    private func closed(_ descriptor: Int32) -> Int32 {
        guard descriptor >= 0 else { return -1 }
        // close(2) releases the number even when it reports an error.
        _ = lh_close(descriptor)
        count -= 1
        return -1
    }

    deinit { closeAll() }

    func closeAll() {
        assertion &+= 1
        sweep()
        records = closed(records)
        for worker in workers.values { _ = closed(worker.descriptor) }
        workers = [:]
    }

    /// Takes out what was not named since the last hello, leases apart: those the machine ends.
    func sweep() {
        for i in callers.indices where callers[i].told != assertion { callers[i].descriptor = closed(callers[i].descriptor) }
        for i in pipes.indices where pipes[i].told != assertion { close(pipe: i) }
    }

    /// All of it has been handed to the process that says hello now: that counts as told.
    func allTold() {
        assertion &+= 1
        for i in callers.indices { callers[i].told = assertion }
        for i in pipes.indices { pipes[i].told = assertion }
    }
}
