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

    var isEmpty: Bool { records == nil && pipes.isEmpty && callers.isEmpty && workers.isEmpty }
}
