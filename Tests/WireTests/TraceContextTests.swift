import Testing
import Wire

@Suite struct TraceContextTests {
    @Test func aTraceparentIsContinued() throws {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        var trace = try #require(TraceContext(traceparent: text.utf8))
        #expect(trace.isSampled)
        #expect(trace.parent == 0x00f0_67aa_0ba9_02b7)
        #expect(trace.traceparent == text)
        trace.session = 0xabc
        #expect(trace.traceparent == "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01")
    }

    /// W3C Trace Context, level 1, §3.2.
    @Test(arguments: [
        "", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01", "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
    ])
    func whatIsNoTraceparentBeginsANewTrace(_ text: String) { #expect(TraceContext(traceparent: text.utf8) == nil) }

    @Test func aLaterVersionIsReadAsFarAsItIsKnown() {
        #expect(TraceContext(traceparent: "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-is".utf8)?.isSampled == true)
    }
}
