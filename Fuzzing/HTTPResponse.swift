import DispatcherCore
import Model

nonisolated(unsafe) var parser = ResponseParser()
let timingOnly = HTTPRules(upgrades: ["websocket", "example/2"], expose: .timing)
nonisolated(unsafe) var second = ResponseParser(mostBytes: 64 * 1024, mostFields: 256)

/// A response head of any bytes, as the answer to several requests.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    withExactBytes(UnsafeRawBufferPointer(start: start, count: count)) { bytes in
        for traits in [CallerTraits.keepsAlive, [.keepsAlive, .isHTTP10], [.isHead], [.keepsAlive, .upgrades, .takesTrailers]] {
            let result = parser.parse(bytes, for: traits, under: rules)
            let cut = withExactBytes(part(bytes, 0, count / 2)) { second.parse($0, for: traits, under: rules) }
            switch (cut, result) {
            case (.needMore, _), (.refused, .refused): break
            case (.response(let a), .response(let b)): check(a.length == b.length, "another length for a prefix")
            case (_, _): check(false, "another verdict for a prefix")
            }
            guard case .response(let head) = result else { continue }
            let plan = head.plan(for: traits)
            let facts = LeaseFacts(
                pool: part(bytes, 0, 3), lease: LeaseID(epoch: .max, counter: .max), hold: .seconds(1), dial: .nanoseconds(-1))
            var sink = ByteSink(storage)
            parser.rewrite(head, of: bytes, for: traits, plan: plan, facts: facts, under: timingOnly, into: &sink)
            check(!sink.overflowed, "overflow")
            let output = written(sink)
            guard case .response(let again) = second.parse(output, for: traits, under: rules) else {
                check(false, "the rewritten head is not valid")
                return
            }
            check(again.length == output.count && again.status == head.status, "another head")
            let isOpened = head.framing == .chunked && traits.contains(.isHTTP10)
            check(again.framing == (isOpened ? .untilClose : head.framing), "framed otherwise")
            check(head.isInterim || head.isSwitch || again.keepsAlive == plan.keepsCaller, "kept otherwise")
        }
    }
    return 0
}
