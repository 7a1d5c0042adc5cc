import Model
import Synchronization
import Wire

/// Job ends on their way to the publisher. Safe from any thread; what finds it full is counted and forgotten.
///
/// A process asks ``wants(_:_:)`` first: while nobody listens that costs one load.
public final class JobEndQueue: Sendable {
    /// Most that wait for the next turn to be told.
    static let most = 1024

    /// 0 while nobody listens; else 1 + how many of a million served jobs are told.
    private let sample = Atomic<UInt32>(0)
    private let drawn = Atomic<UInt64>(0)
    private let state = Mutex(State())

    private struct State {
        var jobs: [(job: JobEnd, at: Int64)] = []
        var dropped: UInt64 = 0
    }

    init() {}

    /// How many of a million served jobs are told; nil while nobody listens.
    func listen(_ millionths: UInt32?) {
        sample.store(millionths.map { $0 + 1 } ?? 0, ordering: .relaxed)
        if millionths == nil { state.withLock { $0.jobs = [] } }
    }

    /// Whether this job's end is worth telling: every one that was not served, those whose caller keeps its trace, and a sample.
    @inline(__always)
    public func wants(_ result: JobEnd.Result, _ trace: TraceContext?) -> Bool {
        let sample = sample.load(ordering: .relaxed)
        if sample == 0 { return false }
        return decide(result, trace, sample - 1)
    }

    private func decide(_ result: JobEnd.Result, _ trace: TraceContext?, _ millionths: UInt32) -> Bool {
        switch result {
        case .refused, .gone, .cut: return true
        case .served: break
        }
        // A sample of nothing takes nothing from what callers keep. Where nobody exports spans, no job has a trace.
        if let trace, trace.isSampled { return true }
        if millionths == 0 { return false }
        // Weyl's sequence: as even as a sample can be, and no state but a count.
        let (_, n) = drawn.wrappingAdd(1, ordering: .relaxed)
        return (n &* 0x9e37_79b9_7f4a_7c15) >> 32 < UInt64(millionths) << 32 / 1_000_000
    }

    /// Takes a job's end; `at` is when it ended, on the monotonic clock.
    public func add(_ job: JobEnd, at now: Int64) {
        state.withLock { state in
            if state.jobs.count < Self.most { state.jobs.append((job, now)) } else { state.dropped += 1 }
        }
    }

    var dropped: UInt64 { state.withLock { $0.dropped } }

    /// What waits, with ages.
    func take(at now: Int64) -> [JobEnd] {
        let jobs = state.withLock { state in
            defer { state.jobs.removeAll(keepingCapacity: true) }
            return state.jobs
        }
        return jobs.map { entry in
            var job = entry.job
            job.age = .nanoseconds(max(0, now - entry.at))
            return job
        }
    }
}
