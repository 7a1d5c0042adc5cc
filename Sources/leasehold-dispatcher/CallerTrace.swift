import DispatcherCore

/// A sampled job's place in its trace: an object, because almost no caller has one.
final class CallerTrace {
    let trace: JobTrace
    init(_ trace: JobTrace) { self.trace = trace }
}

/// Which jobs get spans of ours.
struct TraceRules {
    /// Of jobs without a `traceparent`: a job is taken when a random number is below. Those with one follow its own flag.
    let threshold: UInt64

    /// `share` is 0…1.
    init(share: Double) { threshold = share >= 1 ? .max : UInt64(max(0, share) * 18_446_744_073_709_549_568) }

    /// The span of a job, or nil when nobody records it. What it names is passed on to the worker.
    func begin(_ parent: TraceContext?, _ random: inout SystemRandomNumberGenerator) -> JobTrace? {
        if let parent {
            guard parent.isSampled else { return nil }
            var own = parent
            own.span = random.next() | 1
            return JobTrace(own, parent: parent.span)
        }
        guard threshold > 0, random.next() <= threshold else { return nil }
        let context = TraceContext(traceHigh: random.next(), traceLow: random.next() | 1, span: random.next() | 1, isSampled: true)
        return JobTrace(context, parent: 0)
    }
}
