import DispatcherCore
import Model
import TestKit
import Testing

/// Where a direction stands, from its record and the kernel's counters.
@Suite struct SettlementTests {
    private func at(_ taken: UInt64, _ life: Standing.Life = .open) -> Standing { Standing(life: life, taken: taken, given: 0) }
    private func given(_ given: UInt64, _ life: Standing.Life = .open) -> Standing { Standing(life: life, taken: 0, given: given) }

    /// A head of 100 bytes at 10 that became 150 at 5, and a body of 1,000 behind it.
    private let record = RelayRecord(sourceAt: 10, sourceLength: 100, sinkAt: 5, sinkLength: 150, follows: .counted, end: 1110)

    @Test func aHeadIsThereWholeOrNotAtAllOrTorn() {
        #expect(record.settle(source: at(10), sink: given(5), inPipe: 0) == .before)
        #expect(record.settle(source: at(10), sink: given(6), inPipe: 0) == .torn)
        #expect(record.settle(source: at(10), sink: given(154), inPipe: 0) == .torn)
        #expect(record.settle(source: at(10), sink: given(155), inPipe: 0) == .at(position: 110, discard: 100, source: .open))
        #expect(record.settle(source: at(110), sink: given(155), inPipe: 0) == .at(position: 110, discard: 0, source: .open))
    }

    @Test func whatTheSinkHasLeavesTheSourceAndWhatIsInThePipeHasLeftIt() {
        // Sent from a peek and not yet taken off.
        #expect(record.settle(source: at(110), sink: given(185), inPipe: 0) == .at(position: 140, discard: 30, source: .open))
        #expect(record.settle(source: at(160), sink: given(185), inPipe: 20) == .at(position: 160, discard: 0, source: .open))
        // Neither can be: bytes in the pipe that have not left the source, or bytes gone that nobody has.
        #expect(record.settle(source: at(150), sink: given(185), inPipe: 20) == .contradiction)
        #expect(record.settle(source: at(141), sink: given(185), inPipe: 0) == .contradiction)
        #expect(record.settle(source: at(110), sink: given(1156), inPipe: 0) == .contradiction, "past the message's end")
        #expect(record.settle(source: at(10), sink: given(4), inPipe: 0) == .contradiction)
    }

    /// Rule 7: a reset that somebody else has read looks like an end; it is one only if a FIN was counted.
    @Test func aClosedSourceEndedOnlyIfItsFINWasCounted() {
        let tunnel = RelayRecord(sourceAt: 0, sinkAt: 0, follows: .open)
        #expect(tunnel.settle(source: at(50, .ended), sink: given(50), inPipe: 0) == .at(position: 50, discard: 0, source: .ended))
        #expect(tunnel.settle(source: at(51, .closed), sink: given(50), inPipe: 0) == .at(position: 50, discard: 0, source: .ended))
        #expect(tunnel.settle(source: at(50, .closed), sink: given(50), inPipe: 0) == .at(position: 50, discard: 0, source: .cut))
        // With bytes to take off nobody has read a reset, which stands behind them: none there means that it was an end.
        #expect(tunnel.settle(source: at(40, .closed), sink: given(49), inPipe: 0) == .at(position: 49, discard: 10, source: .ended))
        let reset = Standing(life: .closed, taken: 40, given: 0, hasError: true)
        #expect(tunnel.settle(source: reset, sink: given(50), inPipe: 0) == .at(position: 50, discard: 10, source: .cut))
        #expect(tunnel.settle(source: at(50), sink: given(20, .closed), inPipe: 0) == .sinkGone)
    }

    @Test(arguments: 0..<50)
    func recordsAreReadAsTheyWereWritten(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var record = RelayRecord(
            sourceAt: .random(in: 0 ... .max, using: &random), sourceLength: .random(in: 0...70_000, using: &random),
            sinkAt: .random(in: 0 ... .max, using: &random), sinkLength: .random(in: 0...70_000, using: &random),
            follows: [.unknown, .head, .open, .counted, .chunked, .nothing].randomElement(using: &random)!,
            end: .random(in: 0 ... .max, using: &random),
            traits: RelayRecord.Traits(rawValue: .random(in: 0...15, using: &random)))
        record.chunks = [.whole, .withoutTrailers, .dataOnly].randomElement(using: &random)!
        let sequence = UInt16.random(in: 0 ... .max, using: &random)
        let words = record.words(sequence: sequence)
        #expect(RelayRecord(words) == record)
        #expect(RelayRecord.sequence(of: words[0]) == sequence)

        var worker = WorkerRecord()
        worker.state = .session
        worker.outcome = .abandoned
        worker.callerSlot = Int32.random(in: -1 ... 100_000, using: &random)
        worker.callerGeneration = .random(in: 0 ... .max, using: &random)
        worker.callerSerial = .random(in: 0 ... .max, using: &random)
        worker.generation = .random(in: 0 ... .max, using: &random)
        worker.listener = .random(in: 0 ... .max, using: &random)
        worker.lease = LeaseID(epoch: .random(in: 0 ... .max, using: &random), counter: .random(in: 0 ... .max, using: &random))
        worker.deadlineKind = .random(in: 0...255, using: &random)
        worker.isReused = .random(using: &random)
        worker.givenBefore = .random(in: 0 ... .max, using: &random)
        #expect(WorkerRecord(worker.words) == worker)

        var caller = CallerRecord()
        caller.state = .answering
        caller.isRequeued = .random(using: &random)
        caller.listener = .random(in: 0 ... .max, using: &random)
        caller.serial = .random(in: 0 ... .max, using: &random)
        caller.generation = .random(in: 0 ... .max, using: &random)
        caller.deadlineKind = .random(in: 0...127, using: &random)
        caller.job = JobID(slot: .random(in: 0 ... .max, using: &random), generation: .random(in: 0 ... .max, using: &random))
        caller.pool = PoolID(rawValue: .random(in: 0 ... .max, using: &random))
        caller.answer.at = .random(in: 0 ... .max, using: &random)
        caller.answer.length = .random(in: 0 ... .max, using: &random)
        caller.answer.headLength = .random(in: 0 ... .max, using: &random)
        caller.answer.retryAfter = .random(in: 0 ... .max, using: &random)
        caller.answer.keepsCaller = .random(using: &random)
        caller.answer.taken = .random(in: 0...AnswerRecord.takenMask, using: &random)
        #expect(CallerRecord(caller.words) == caller)

        caller.answer = AnswerRecord()
        caller.state = [.parked, .begun].randomElement(using: &random) ?? .parked
        caller.tenant = TenantID(rawValue: .random(in: 0 ... .max, using: &random))
        caller.urgency = Urgency(rawValue: .random(in: 0...7, using: &random)) ?? .standard
        #expect(CallerRecord(caller.words) == caller)
    }

    @Test func wordsThatNobodyWritesAreNoRecord() {
        var words = RelayRecord().words(sequence: 1)
        words[0] = 0xff << 16
        #expect(RelayRecord(words) == nil)
        #expect(CallerRecord(SIMD8(repeating: .max)) == nil)
        #expect(WorkerRecord(SIMD16(repeating: .max)) == nil)
    }
}
