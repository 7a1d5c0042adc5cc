import Glibc
import Synchronization

/// What this worker has done, and whether anyone ever gave it a second job while it had one.
///
/// Written on the event loop; read from it too. The lock is there so that the compiler sees it is safe.
final class Ledger: Sendable {
    /// A job in hand. `end` takes it back.
    struct Job: Sendable, Equatable {
        fileprivate let number: Int
    }

    /// The counters as `/stats` and `/` show them.
    struct Counters: Sendable {
        /// Jobs begun since the start.
        var jobs = 0
        /// Jobs in hand now.
        var concurrent = 0
        /// Jobs that began while all slots were taken. Anything but 0 means that somebody broke the rule.
        var concurrentSecondJobs = 0
        /// The most jobs ever in hand at once.
        var maxConcurrent = 0
    }

    private struct State {
        var counters = Counters()
        var running: [Int: String] = [:]
        var draining = false
    }

    private let state = Mutex(State())
    private let slots: Int
    private let violations: String?

    /// - Parameters:
    ///   - slots: how many jobs at once are no violation.
    ///   - violations: a file to which each violation is appended as one line.
    init(slots: Int, violations: String?) {
        self.slots = slots
        self.violations = violations
    }

    var counters: Counters { state.withLock { $0.counters } }
    var isDraining: Bool { state.withLock { $0.draining } }

    /// A job began. `name` says which, for the report of a violation.
    func begin(_ name: String) -> Job {
        let (job, others) = state.withLock { state in
            let others = state.running.values.sorted()
            state.counters.jobs += 1
            state.counters.concurrent += 1
            state.counters.maxConcurrent = max(state.counters.maxConcurrent, state.counters.concurrent)
            let job = Job(number: state.counters.jobs)
            state.running[job.number] = name
            guard state.counters.concurrent > slots else { return (job, [String]()) }
            state.counters.concurrentSecondJobs += 1
            return (job, others)
        }
        if !others.isEmpty { report("pid \(getpid()) was given \(name) while it had \(others.joined(separator: " and "))") }
        return job
    }

    /// The work of a job is done. Ending one twice changes nothing.
    func end(_ job: Job) {
        state.withLock { state in
            guard state.running.removeValue(forKey: job.number) != nil else { return }
            state.counters.concurrent -= 1
        }
    }

    /// From now on the process ends as soon as no job is in hand.
    func drain() {
        state.withLock { $0.draining = true }
        exitIfDrained()
    }

    /// Ends the process if it drains and has nothing in hand. To be called after a job's connection was closed.
    func exitIfDrained() {
        if state.withLock({ $0.draining && $0.counters.concurrent == 0 }) { exit(0) }
    }

    /// One line to stderr and to the file. A single write with O_APPEND keeps lines of several workers whole.
    private func report(_ sentence: String) {
        let line = Array("violation: \(sentence)\n".utf8)
        _ = unsafe write(STDERR_FILENO, line, line.count)  // a closed stderr must not hide the line in the file
        guard let violations else { return }
        let file = unsafe open(violations, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0, unsafe write(file, line, line.count) == line.count else {
            fatalError("cannot append to \(violations): errno \(errno)")  // an unrecorded violation would look like none
        }
        close(file)
    }
}
