import NIOCore

/// The bytes of every response: byte i is i mod 251, so that a reader sees a lost, doubled or shifted byte.
struct Content {
    private static let period = 251
    private static let pattern = ByteBuffer(bytes: (0..<(period * 1044)).map { UInt8($0 % period) })

    private(set) var left: Int
    private var offset = 0

    init(bytes: Int) { left = bytes }

    /// The next piece, at most `most` bytes and never a copy; nil at the end.
    mutating func next(most: Int = .max) -> ByteBuffer? {
        let start = offset % Self.period
        let count = min(left, most, Self.pattern.readableBytes - start)
        guard count > 0 else { return nil }
        left -= count
        offset += count
        return Self.pattern.getSlice(at: start, length: count)
    }
}

/// Adler-32 (RFC 1950, section 8.2) of a request's body, which callers compare with what they sent.
struct Checksum {
    private var low: UInt32 = 1
    private var high: UInt32 = 0
    private(set) var bytes = 0

    var value: UInt32 { high << 16 | low }

    mutating func add(_ buffer: ByteBuffer) {
        bytes += buffer.readableBytes
        for byte in buffer.readableBytesView {
            low = (low + UInt32(byte)) % 65521
            high = (high + low) % 65521
        }
    }
}
