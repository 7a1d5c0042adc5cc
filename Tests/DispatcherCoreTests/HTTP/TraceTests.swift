import Model
import Testing
import Wire

@testable import DispatcherCore

private let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

private func rewritten(_ fields: String, trace: TraceContext?) throws -> (head: RequestHead, value: String, text: String) {
    let request = latin1("GET / HTTP/1.1\r\nHost: x\r\n\(fields)A: b\r\n\r\n")
    var parser = RequestParser()
    return try request.withUnsafeBytes { bytes -> (head: RequestHead, value: String, text: String) in
        guard case .request(let head) = parser.parse(bytes, from: stranger, under: rules) else { throw RefusedHere() }
        let written = sunk { parser.rewrite(head, of: bytes, from: stranger, to: .fresh, trace: trace, into: &$0) }.text
        return (head, text(bytes.slice(head.traceparent)), written)
    }
}

private struct RefusedHere: Error {}

struct TraceTests {
    @Test func aTraceThatNobodyKeepsPassesUntouched() throws {
        let (_, value, written) = try rewritten("TraceParent: \(theirs)\r\ntracestate: a=1\r\n", trace: nil)
        #expect(value == theirs)
        #expect(written.contains("TraceParent: \(theirs)\r\ntracestate: a=1\r\nA: b\r\n"))
    }

    @Test func aSpanOfOursTakesTheirsPlace() throws {
        var context = try #require(TraceContext(traceparent: Array(theirs.utf8)))
        context.session = 0xfeed
        let (_, _, written) = try rewritten("traceparent: \(theirs)\r\ntracestate: a=1\r\n", trace: context)
        #expect(!written.contains("b7ad6b7169203331"))
        #expect(written.contains("tracestate: a=1\r\nA: b\r\n"))
        #expect(written.components(separatedBy: "traceparent").count == 2)
        #expect(written.contains("\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-000000000000feed-01\r\n"))
    }

    @Test func aTraceThatBeginsHereIsTold() throws {
        let context = TraceContext(high: 1, low: 2, session: 3, isSampled: true)
        let (head, _, written) = try rewritten("", trace: context)
        #expect(head.traceparent.isEmpty)
        #expect(written.contains("\r\ntraceparent: 00-00000000000000010000000000000002-0000000000000003-01\r\n"))
    }

    @Test func twoTracesAreNone() throws {
        let (head, _, written) = try rewritten("traceparent: \(theirs)\r\ntraceparent: \(theirs)\r\n", trace: nil)
        #expect(head.traceparent.isEmpty)
        #expect(written.components(separatedBy: theirs).count == 3, "they are the worker's to judge")
    }
}
