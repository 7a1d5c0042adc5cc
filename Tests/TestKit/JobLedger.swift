import CLinux
import Linux
import Synchronization

/// What happened at a worker: its jobs, and every job that began while as many ran as may.
public final class JobLedger: Sendable {
    public struct Counts: Sendable {
        /// Connections that were accepted.
        public var connections = 0
        /// Those that are open.
        public var open = 0
        public var jobs = 0
        public var running = 0
        /// Jobs that began while all slots were taken.
        public var violations = 0
        /// The most that ever ran at once.
        public var most = 0
        /// What each job was called when it began, in order.
        public var names: [String] = []
        /// Scripts that failed, one line each.
        public var troubles: [String] = []
    }

    private let slots: Int
    private let state = Mutex(Counts())
    /// Written with every change: `wait` polls it.
    private let changes: Int32

    public init(slots: Int = 1) {
        self.slots = slots
        changes = Int32(lh_eventfd())
    }

    deinit { _ = lh_close(changes) }

    public var counts: Counts { state.withLock { $0 } }

    public func began(_ name: String) {
        changed {
            $0.jobs += 1
            $0.running += 1
            $0.most = max($0.most, $0.running)
            $0.names.append(name)
            if $0.running > slots { $0.violations += 1 }
        }
    }

    public func finished() { changed { $0.running -= 1 } }

    func changed(_ change: (inout Counts) -> Void) {
        state.withLock { change(&$0) }
        var one: UInt64 = 1
        // EAGAIN: there is news enough.
        _ = lh_write(changes, &one, 8)
    }

    /// Waits until the counts are as wanted. One thread at a time.
    public func wait(_ what: String, _ condition: (Counts) -> Bool) throws {
        let deadline = Patience.deadline()
        while true {
            let now = counts
            if condition(now) { return }
            do { try waitReady(changes, POLLIN, until: deadline, what) } catch { throw TestFailure("\(error), at \(now)") }
            var count: UInt64 = 0
            // EAGAIN is the next look.
            _ = lh_read(changes, &count, 8)
        }
    }
}
