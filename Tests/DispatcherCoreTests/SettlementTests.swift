import DispatcherCore
import Testing

/// Where a direction stands when its mover was killed: by the kernel's counts at both ends and its record alone.
@Suite struct SettlementTests {
    /// A head of 100 bytes became one of 120; 1,000 more bytes were sent behind it.
    private let record = RelayRecord(sourceAt: 0, sourceLength: 100, sinkAt: 0, sinkLength: 120, follows: .open)
    private let sink = Standing(life: .open, taken: 0, given: 1120)

    struct Case: Sendable, CustomStringConvertible {
        var description: String
        var source: Standing
        var expected: Settlement
    }

    static let cases = [
        Case(
            description: "all was taken off", source: Standing(life: .open, taken: 1100, given: 0),
            expected: .at(position: 1100, discard: 0, source: .open)),
        Case(
            description: "sent from a peek and not taken off", source: Standing(life: .open, taken: 600, given: 0),
            expected: .at(position: 1100, discard: 500, source: .open)),
        Case(
            description: "the same, and then the end came", source: Standing(life: .ended, taken: 600, given: 0),
            expected: .at(position: 1100, discard: 500, source: .ended)),
        Case(
            description: "closed by an end, all taken off", source: Standing(life: .closed, taken: 1101, given: 0),
            expected: .at(position: 1100, discard: 0, source: .ended)),
        Case(
            description: "closed by an end, which is counted as taken, with 500 bytes sent and not taken off",
            source: Standing(life: .closed, taken: 601, given: 0), expected: .at(position: 1100, discard: 500, source: .ended)),
        Case(
            description: "reset, with 500 bytes sent and not taken off", source: Standing(life: .closed, taken: 600, given: 0, hasError: true),
            expected: .at(position: 1100, discard: 500, source: .cut)),
        Case(
            description: "reset, and whoever was killed had read that", source: Standing(life: .closed, taken: 1100, given: 0),
            expected: .at(position: 1100, discard: 0, source: .cut)),
        Case(
            description: "more left the source than the sink has", source: Standing(life: .open, taken: 1101, given: 0),
            expected: .contradiction),
    ]

    @Test(arguments: cases) func aDirectionGoesOnWhereItStood(_ one: Case) {
        #expect(record.settle(source: one.source, sink: sink, inPipe: 0) == one.expected)
    }
}
