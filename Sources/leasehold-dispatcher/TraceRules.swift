import DispatcherCore
import Model
import ServiceKit
import Wire

/// A job's place in its trace: an object, because few callers have one.
final class CallerTrace {
    let context: TraceContext
    init(_ context: TraceContext) { self.context = context }
}

/// Which jobs get spans of ours; there while somebody exports them.
struct TraceRules {
    /// Of a million jobs without a trace of their caller's, so many begin one.
    private let sample: Int
    private var random = SystemRandomNumberGenerator()

    init?(_ configuration: PublisherConfiguration?) {
        guard let trace = configuration?.trace else { return nil }
        sample = trace.sample
    }

    /// A caller's trace that is kept goes on through us, with a span of ours before the worker; one that is not kept stays as it is, and is
    /// known here only to be told with a job that fails. A job without one begins one, if the share wants it.
    mutating func begin(_ traceparent: UnsafeRawBufferPointer) -> TraceContext? {
        if !traceparent.isEmpty, var context = TraceContext(traceparent: traceparent) {
            if context.isSampled { context.session = random.next() | 1 }
            return context
        }
        guard sample > 0, Int.random(in: 0..<1_000_000, using: &random) < sample else { return nil }
        return TraceContext(high: random.next(), low: random.next() | 1, session: random.next() | 1, isSampled: true)
    }
}
