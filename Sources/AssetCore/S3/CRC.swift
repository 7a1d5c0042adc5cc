/// A reflected cyclic redundancy check with all-ones start and end.
public struct CRC: Hashable, Sendable {
    /// The polynomial with its bits reversed.
    let polynomial: UInt64
    /// Bits.
    let width: UInt64

    /// IEEE 802.3.
    public static let crc32 = CRC(polynomial: 0xedb8_8320, width: 32)
    /// Castagnoli (RFC 3720 §12.1).
    public static let crc32c = CRC(polynomial: 0x82f6_3b78, width: 32)
    /// NVM Express, "64b CRC".
    public static let crc64nvme = CRC(polynomial: 0x9a6c_9329_ac4b_c9b5, width: 64)

    private var mask: UInt64 { width == 64 ? .max : (1 << width) - 1 }

    /// For `CRCState`: eight tables of 256, so that eight bytes are taken in one step.
    func tables() -> [UInt64] {
        var tables = [UInt64](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var value = UInt64(byte)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ polynomial : value >> 1 }
            tables[byte] = value
        }
        for level in 1..<8 {
            for byte in 0..<256 {
                let before = tables[(level - 1) * 256 + byte]
                tables[level * 256 + byte] = before >> 8 ^ tables[Int(before & 0xff)]
            }
        }
        return tables
    }

    /// The check of two pieces, one after the other, from the check of each (after zlib's crc32_combine). O(log length).
    public func combine(_ first: UInt64, _ second: UInt64, secondLength: Int64) -> UInt64 {
        // Appending n zero bytes multiplies by x^(8n) modulo the polynomial.
        var power = mask ^ (mask >> 1)  // x^0: the highest bit, in reflected order
        var square = power >> 8  // x^8
        var left = max(0, secondLength)
        while left > 0 {
            if left & 1 == 1 { power = multiply(power, square) }
            square = multiply(square, square)
            left >>= 1
        }
        return multiply(power, first) ^ second
    }

    /// The product of two polynomials modulo ours, all in reflected order.
    private func multiply(_ a: UInt64, _ b: UInt64) -> UInt64 {
        var (product, factor) = (UInt64(0), b)
        var bit = UInt64(1) << (width - 1)
        while bit != 0 {
            if a & bit != 0 { product ^= factor }
            factor = factor & 1 == 1 ? factor >> 1 ^ polynomial : factor >> 1
            bit >>= 1
        }
        return product
    }

    /// Big-endian, as S3 writes it.
    public func bytes(_ value: UInt64) -> [UInt8] { stride(from: width, to: 0, by: -8).map { UInt8(value >> ($0 - 8) & 0xff) } }

    public func value(_ bytes: [UInt8]) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
}

/// A check in the making.
public struct CRCState: Sendable {
    private let crc: CRC
    private let tables: [UInt64]
    private var state: UInt64

    public init(_ crc: CRC) {
        self.crc = crc
        tables = crc.tables()
        state = crc.width == 64 ? .max : 0xffff_ffff
    }

    /// O(bytes), eight at a time.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        var value = state
        tables.withUnsafeBufferPointer { t in
            var index = 0
            while bytes.count - index >= 8 {
                let x = value ^ UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
                let low =
                    t[1792 + Int(x & 0xff)] ^ t[1536 + Int(x >> 8 & 0xff)] ^ t[1280 + Int(x >> 16 & 0xff)] ^ t[1024 + Int(x >> 24 & 0xff)]
                let high = t[768 + Int(x >> 32 & 0xff)] ^ t[512 + Int(x >> 40 & 0xff)] ^ t[256 + Int(x >> 48 & 0xff)] ^ t[Int(x >> 56)]
                value = low ^ high
                index += 8
            }
            while index < bytes.count {
                value = value >> 8 ^ t[Int((value ^ UInt64(bytes[index])) & 0xff)]
                index += 1
            }
        }
        state = value
    }

    public var value: UInt64 { crc.width == 64 ? ~state : ~state & 0xffff_ffff }

    public var bytes: [UInt8] { crc.bytes(value) }
}
