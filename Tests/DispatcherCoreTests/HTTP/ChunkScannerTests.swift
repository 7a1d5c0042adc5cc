import Testing

@testable import DispatcherCore

/// What came of a chunked body.
struct ChunkResult: Equatable, Sendable {
    enum End: Equatable { case ended, refused, incomplete }
    var passed: [UInt8] = []
    var end = End.incomplete
    /// Bytes of the body as far as it was accepted.
    var length = 0
}

/// Plays the shell: shows at most `window` bytes, then moves what it is told to.
func scanChunks(_ bytes: [UInt8], as treatment: ChunkTreatment, window: (Int) -> Int = { _ in .max }) -> ChunkResult {
    var scanner = ChunkScanner()
    var result = ChunkResult()
    var steps = 0
    var shown = window(0)
    while true {
        steps += 1
        precondition(steps <= 16 * bytes.count + 64, "no progress")
        let view = Array(bytes[result.length...].prefix(shown))
        switch view.withUnsafeBytes({ scanner.run($0, as: treatment) }) {
        case .pass(let count):
            // Blind bytes may be missing: then the message is cut.
            let available = min(Int(count), bytes.count - result.length)
            result.passed += bytes[result.length..<(result.length + available)]
            result.length += available
            if available < count { return result }
            shown = window(result.length)
        case .drop(let count):
            precondition(count > 0 && count <= view.count, "dropped unseen bytes")
            result.length += Int(count)
            shown = window(result.length)
        case .needMore:
            if view.count == bytes.count - result.length { return result }
            shown += 1
        case .end:
            precondition(scanner.isDone)
            result.end = .ended
            return result
        case .refused:
            result.end = .refused
            return result
        }
    }
}

struct ChunkScannerTests {
    @Test(arguments: chunkCases) func verdict(_ item: ChunkCase) {
        let whole = scanChunks(item.bytes, as: .whole)
        #expect(whole.end == (item.isValid ? .ended : .refused))
        if item.isValid {
            #expect(whole.length == item.bytes.count && whole.passed == item.bytes)
            #expect(scanChunks(item.bytes + latin1("GET / HTTP/1.1\r\n"), as: .whole) == whole)
        }
        #expect(whole.end == referenceChunks(item.bytes).end)
    }

    @Test(arguments: chunkCases, [ChunkTreatment.whole, .withoutTrailers, .dataOnly])
    func verdictDoesNotDependOnHowTheBytesArrive(_ item: ChunkCase, _ treatment: ChunkTreatment) {
        let whole = scanChunks(item.bytes, as: treatment)
        for size in [1, 2, 3, 7, 64] { #expect(scanChunks(item.bytes, as: treatment, window: { _ in size }) == whole, "window \(size)") }
        guard item.bytes.count < 1000 else { return }
        for count in 0..<item.bytes.count {
            let prefix = scanChunks(Array(item.bytes[..<count]), as: treatment)
            #expect(prefix.end == .incomplete || (prefix.end == .refused && !item.isValid), "after \(count) bytes")
            #expect(whole.passed.starts(with: prefix.passed))
        }
    }

    @Test func trailersAreDroppedAndTheRestPassesByteForByte() {
        let body = latin1("5;x=y\r\nhello\r\n0;z\r\nA: b\r\nC: d\r\n\r\n")
        #expect(text(scanChunks(body, as: .withoutTrailers).passed) == "5;x=y\r\nhello\r\n0;z\r\n\r\n")
        #expect(text(scanChunks(body, as: .whole).passed) == text(body))
        #expect(text(scanChunks(body, as: .dataOnly).passed) == "hello")
    }

    @Test func runCoversSmallChunksAndTheUnseenRestOfALargeOne() {
        var scanner = ChunkScanner()
        let body = latin1("5\r\nhello\r\n5\r\nworld\r\n40000000\r\nabc")
        let run = body.withUnsafeBytes { scanner.run($0, as: .whole) }
        #expect(run == .pass(UInt64(body.count - 3) + 0x4000_0000))
        #expect(scanner.phase == .dataEnd)
        #expect(latin1("\r\n0\r\n\r\n").withUnsafeBytes { scanner.run($0, as: .whole) } == .pass(7))
        #expect(scanner.isDone)
        #expect([UInt8]().withUnsafeBytes { scanner.run($0, as: .whole) } == .end)
    }

    @Test func dataIsToldApartFromFraming() {
        var scanner = ChunkScanner()
        let body = latin1("5\r\nhel")
        #expect(body.withUnsafeBytes { scanner.run($0, as: .dataOnly) } == .drop(3))
        #expect(scanner.remaining == 5)
        #expect(Array(body[3...]).withUnsafeBytes { scanner.run($0, as: .dataOnly) } == .pass(5))
    }

    @Test func largestChunksDoNotOverflow() {
        var scanner = ChunkScanner()
        let body = latin1("1\r\na\r\n1000000000000000\r\n")
        #expect(body.withUnsafeBytes { scanner.run($0, as: .whole) } == .pass(UInt64(body.count) + HTTPLimits.bodyBytes))
    }

    @Test func refusalStays() {
        var scanner = ChunkScanner()
        #expect(latin1("0\r\n\r\n").withUnsafeBytes { scanner.run($0, as: .whole) } == .pass(5))
        var other = ChunkScanner()
        #expect(latin1("x").withUnsafeBytes { other.run($0, as: .whole) } == .refused)
        #expect(latin1("0\r\n\r\n").withUnsafeBytes { other.run($0, as: .whole) } == .refused)
    }

    @Test func scannerIsSmall() { #expect(MemoryLayout<ChunkScanner>.stride <= 16) }
}
