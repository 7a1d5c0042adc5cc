import AssetCore
import TestKit
import Testing

@Suite struct ChunkedPayloadTests {
    private static let signature = String(repeating: "a", count: 64)
    private static let signed = Array(
        "5;chunk-signature=\(signature)\r\nhello\r\n3;chunk-signature=\(signature)\r\n\r\n!\r\n0;chunk-signature=\(signature)\r\n\r\n".utf8)
    private static let trailed = Array("5\r\nhello\r\n0\r\nx-amz-checksum-crc32: NhCmhg==\r\n\r\n".utf8)

    /// The data, the ends of chunks and the trailer, fed in pieces of that size.
    private func decode(
        _ bytes: [UInt8], size: Int, isSigned: Bool, hasTrailer: Bool, declared: Int64
    ) throws(S3Error) -> (data: [UInt8], ends: Int, trailer: [ChunkedPayload.Event.Pair]?) {
        var payload = ChunkedPayload(isSigned: isSigned, hasTrailer: hasTrailer, declared: declared)
        var events: [ChunkedPayload.Event] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            try payload.feed(Array(bytes[start..<min(start + size, bytes.count)]), &events)
        }
        try payload.finish(&events)
        var result: (data: [UInt8], ends: Int, trailer: [ChunkedPayload.Event.Pair]?) = ([], 0, nil)
        for event in events {
            switch event {
            case .data(let piece): result.data += piece
            case .chunkEnded: result.ends += 1
            case .trailer(let fields, _): result.trailer = fields
            }
        }
        return result
    }

    @Test(arguments: 1...Self.signed.count) func piecesOfAnySizeSayTheSame(size: Int) throws {
        let result = try decode(Self.signed, size: size, isSigned: true, hasTrailer: false, declared: 8)
        #expect(result.data == Array("hello\r\n!".utf8) && result.ends == 3)
        let trailed = try decode(Self.trailed, size: size, isSigned: false, hasTrailer: true, declared: 5)
        #expect(trailed.data == Array("hello".utf8) && trailed.ends == 2)
        #expect(trailed.trailer == [.init(name: "x-amz-checksum-crc32", value: "NhCmhg==")])
    }

    @Test func aBodyThatIsCutAnywhereIsIncomplete() {
        // The last line break may be missing.
        for count in 0..<(Self.signed.count - 2) {
            #expect(throws: S3Error.self) {
                try decode(Array(Self.signed[..<count]), size: 7, isSigned: true, hasTrailer: false, declared: 8)
            }
        }
    }

    @Test(arguments: [
        "", "x\r\n", "-1\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "ffffffffffffffff\r\n",
        "5\r\nhello\r\n0\r\n: x\r\n\r\n",
        "5\r\nhello\r\n0\r\nnocolon\r\n\r\n", "4\r\nhell\r\n0\r\n\r\n", "6\r\nhello!\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\nmore",
    ]) func whatIsMalformedIsRefused(text: String) {
        #expect(throws: S3Error.self) { try decode(Array(text.utf8), size: 100, isSigned: false, hasTrailer: true, declared: 5) }
    }

    @Test func aLineWithoutEndIsRefusedBeforeItIsLong() {
        #expect(throws: S3Error.self) {
            try decode([UInt8](repeating: 0x30, count: 1 << 20), size: 1 << 20, isSigned: false, hasTrailer: true, declared: 5)
        }
    }

    @Test func mutatedBytesNeverTrap() {
        let seed = UInt64.random(in: 1 ... .max)
        var draw = SeededGenerator(seed: seed)
        for _ in 0..<4000 {
            var bytes = Bool.random(using: &draw) ? Self.signed : Self.trailed
            for _ in 0..<Int.random(in: 1...4, using: &draw) {
                bytes[Int.random(in: bytes.indices, using: &draw)] = UInt8.random(in: 0...255, using: &draw)
            }
            // Whether it is refused is another test's affair.
            _ = try? decode(
                bytes, size: Int.random(in: 1...40, using: &draw), isSigned: Bool.random(using: &draw),
                hasTrailer: Bool.random(using: &draw), declared: 8)
        }
    }
}
