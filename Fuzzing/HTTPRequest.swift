import DispatcherCore
import Model

nonisolated(unsafe) var parser = RequestParser()
nonisolated(unsafe) var second = RequestParser(mostBytes: 64 * 1024, mostFields: 256)
let routes = try! RouteTable([
    Route(pool: PoolID(rawValue: 1)), Route(host: "*.example.org", path: "/a", pool: PoolID(rawValue: 2)),
    Route(host: "x", path: "/a/b", pool: PoolID(rawValue: 3)),
])

/// A head of any bytes: no trap, no read out of bounds, one verdict however it was cut, and what is written of it
/// reads as the same request.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    withExactBytes(UnsafeRawBufferPointer(start: start, count: count)) { bytes in
        let peer = count & 1 == 0 ? stranger : friend
        let whole = parser.parse(bytes, from: peer, under: rules)
        let cut = withExactBytes(part(bytes, 0, count / 2)) { parser.parse($0, from: peer, under: rules) }
        switch (cut, whole) {
        case (.needMore, _): break
        case (.refused(let a), .refused(let b)): check(a.reason == b.reason, "another reason for a prefix")
        case (.request(let a), .request(let b)): check(a.length == b.length, "another length for a prefix")
        case (_, _): check(false, "another verdict for a prefix")
        }
        guard case .request(let head) = parser.parse(bytes, from: peer, under: rules) else { return }
        _ = routes.match(host: bytes.slice(head.host), path: bytes.slice(head.path))
        var sink = ByteSink(storage)
        parser.rewrite(head, of: bytes, from: peer, to: .fresh, into: &sink)
        finishRequestHead(&sink, pool: bytes.slice(head.methodRange), lease: LeaseID(epoch: .max, counter: .max))
        check(!sink.overflowed, "overflow")
        guard !head.host.isEmpty else { return }
        let output = written(sink)
        guard case .request(let again) = second.parse(output, from: friend, under: rules) else {
            check(false, "the rewritten head is not valid")
            return
        }
        check(again.length == output.count && again.framing == head.framing, "framed otherwise")
        check(
            same(output.slice(again.target), bytes.slice(head.target)) && same(output.slice(again.host), bytes.slice(head.host)),
            "routed otherwise")
        check(same(output.slice(again.tenant), bytes.slice(head.tenant)), "another tenant")
    }
    return 0
}
