import Model

/// Bytes written one after the other into a caller's buffer, never past its end.
///
/// After the first append that does not fit it takes nothing more and says so in ``overflowed``.
public struct ByteSink {
    private let base: UnsafeMutableRawPointer?
    private let capacity: Int
    public private(set) var count = 0
    public private(set) var overflowed = false

    public init(_ buffer: UnsafeMutableRawBufferPointer) {
        base = buffer.baseAddress
        capacity = buffer.count
    }

    private init(base: UnsafeMutableRawPointer?, capacity: Int) {
        self.base = base
        self.capacity = capacity
    }

    /// One that only counts.
    static var measuring: ByteSink { ByteSink(base: nil, capacity: .max) }

    @inline(__always) public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        append(source, bytes.count)
    }

    @inline(__always) public mutating func append(_ text: StaticString) {
        append(UnsafeRawPointer(text.utf8Start), text.utf8CodeUnitCount)
    }

    private mutating func append(_ source: UnsafeRawPointer, _ length: Int) {
        guard !overflowed, length <= capacity - count else {
            overflowed = true
            return
        }
        if let base { (base + count).copyMemory(from: source, byteCount: length) }
        count += length
    }

    public mutating func append(byte: UInt8) {
        withUnsafeBytes(of: byte) { append($0) }
    }

    /// For the constant words of answers, not for the hot path.
    mutating func append(string: String) {
        var string = string
        string.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    public mutating func append(decimal value: UInt64) {
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        withUnsafeMutableBytes(of: &digits) { buffer in
            var i = buffer.count
            var rest = value
            repeat {
                i -= 1
                buffer[i] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            append(UnsafeRawBufferPointer(buffer).slice(i, buffer.count))
        }
    }

    /// `<epoch>.<counter>`, the text of ``LeaseID``.
    mutating func append(_ lease: LeaseID) {
        append(decimal: lease.epoch)
        append(byte: .dot)
        append(decimal: lease.counter)
    }

    /// Milliseconds with up to three decimals; what is negative counts as zero.
    mutating func append(milliseconds duration: Duration) {
        let microseconds = UInt64(max(0, duration.microseconds))
        append(decimal: microseconds / 1000)
        var fraction = microseconds % 1000
        guard fraction > 0 else { return }
        append(byte: .dot)
        var unit: UInt64 = 100
        while fraction > 0 {
            append(byte: 0x30 + UInt8(truncatingIfNeeded: fraction / unit))
            fraction %= unit
            unit /= 10
        }
    }
}
