import AssetCore
import TestKit
import Testing

@Suite struct ChecksumTests {
    private func crc(_ kind: CRC, _ bytes: [UInt8], pieces: [Int] = []) -> UInt64 {
        var state = CRCState(kind)
        var start = 0
        for size in pieces + [bytes.count] {
            let end = min(bytes.count, start + size)
            Array(bytes[start..<end]).withUnsafeBytes { state.update($0) }
            start = end
        }
        return state.value
    }

    /// The check values of the catalogue of parametrised CRC algorithms.
    @Test(arguments: [(CRC.crc32, UInt64(0xcbf4_3926)), (.crc32c, 0xe306_9283), (.crc64nvme, 0xae8b_1486_0a79_9888)])
    func theCheckOfNineDigits(kind: CRC, expected: UInt64) {
        #expect(crc(kind, Array("123456789".utf8)) == expected)
    }

    @Test(arguments: [CRC.crc32, .crc32c, .crc64nvme]) func twoPiecesCombineToTheCheckOfTheWhole(kind: CRC) {
        let seed = UInt64.random(in: 1 ... .max)
        var draw = SeededGenerator(seed: seed)
        for size in [0, 1, 7, 8, 9, 100, 5000] {
            let first = (0..<Int.random(in: 0...300, using: &draw)).map { _ in UInt8.random(in: 0...255, using: &draw) }
            let second = (0..<size).map { _ in UInt8.random(in: 0...255, using: &draw) }
            let whole = crc(kind, first + second)
            #expect(kind.combine(crc(kind, first), crc(kind, second), secondLength: Int64(size)) == whole, "seed \(seed)")
            #expect(crc(kind, first + second, pieces: [3, 8, 1]) == whole, "seed \(seed)")
        }
    }

    @Test(arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]) func base64(
        text: String, encoded: String
    ) {
        #expect(Base64.encode(Array(text.utf8)) == encoded)
        #expect(Base64.decode(encoded) == Array(text.utf8))
    }

    @Test(arguments: ["a", "====", "Zg=a", "Zg", "Z===", "Zg==Zg==", "Zm9 "]) func whatIsNoBase64(text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test func aRequestHasOneChecksum() throws {
        #expect(try Checksum.read(Fields([("x-amz-checksum-crc32", "y/Q5Jg==")]))?.bytes == [0xcb, 0xf4, 0x39, 0x26])
        #expect(try Checksum.read(Fields()) == nil)
        #expect(throws: S3Error.self) {
            try Checksum.read(Fields([("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-crc32c", "y/Q5Jg==")]))
        }
        #expect(throws: S3Error.self) { try Checksum.read(Fields([("x-amz-checksum-sha1", "y/Q5Jg==")])) }
    }
}
