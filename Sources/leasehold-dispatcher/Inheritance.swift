import CLinux
import DispatcherCore
import Linux
import Model
import Wire

/// What the pool-keeper hands over of a predecessor, until `adopt end`. What nobody takes is closed with it.
final class Inheritance {
    struct Caller {
        var name: ConnectionID
        var raw: Int32
    }

    struct Worker {
        var escrowed: EscrowedWorker
        var lease: AssertedLease
        var raw: Int32
    }

    var records: Records?
    var pipes: [Pipe] = []
    var callers: [Caller] = []
    var workers: [Worker] = []
    /// The records could not be read: nobody knows where the sessions stand.
    var isUnreadable = false

    var isEmpty: Bool { records == nil && count == 0 }
    var count: Int { pipes.count + callers.count + workers.count }

    /// Whether the records are the very memory that is given: then everything here is a duplicate of what its owner has.
    func isOf(_ own: Records) -> Bool { records?.isSame(as: own) ?? false }

    /// Duplicates that nobody needs: nothing is said to their peers.
    func closeAll() {
        for pipe in pipes {
            _ = lh_close(pipe.read)
            _ = lh_close(pipe.write)
        }
        for caller in callers { _ = lh_close(caller.raw) }
        for worker in workers { _ = lh_close(worker.raw) }
        pipes = []
        callers = []
        workers = []
        records = nil
    }
}
