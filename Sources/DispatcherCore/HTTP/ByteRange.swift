/// A half-open run of bytes in the buffer that a head was parsed from.
public struct ByteRange: Hashable, Sendable, BitwiseCopyable {
    public var start: UInt32
    public var end: UInt32

    /// `start` must not be past `end`, and both must fit 32 bits: heads are bounded far below that.
    @inlinable init(_ start: Int, _ end: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.end = UInt32(truncatingIfNeeded: end)
    }

    /// No bytes: what a head does not have.
    public static let none = ByteRange(0, 0)

    @inlinable public var isEmpty: Bool { end <= start }
    @inlinable public var count: Int { end <= start ? 0 : Int(end - start) }
}

extension UnsafeRawBufferPointer {
    /// The bytes of a range; empty when the range does not lie in this buffer.
    @inlinable public func slice(_ range: ByteRange) -> UnsafeRawBufferPointer {
        slice(Int(range.start), Int(range.end))
    }

    @inlinable func slice(_ start: Int, _ end: Int) -> UnsafeRawBufferPointer {
        guard start >= 0, start < end, end <= count, let baseAddress else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: baseAddress + start, count: end - start)
    }

    /// Whether the bytes are this text in any case. `lowercase` is lower-case ASCII without control characters.
    @inline(__always) func isEqual(ignoringCase lowercase: StaticString) -> Bool {
        count == lowercase.utf8CodeUnitCount && starts(ignoringCase: lowercase)
    }

    @inline(__always) func starts(ignoringCase lowercase: StaticString) -> Bool {
        guard count >= lowercase.utf8CodeUnitCount else { return false }
        let other = lowercase.utf8Start
        for i in 0..<lowercase.utf8CodeUnitCount where self[i].lowercased != other[i] { return false }
        return true
    }

    /// Whether both are the same text in any case.
    func isEqual(ignoringCase other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        for i in 0..<count where self[i].lowercased != other[i].lowercased { return false }
        return true
    }

    func firstIndex(of byte: UInt8, from start: Int = 0) -> Int? {
        var i = start
        while i < count {
            if self[i] == byte { return i }
            i += 1
        }
        return nil
    }

    /// Without spaces and tabs at both ends (OWS, RFC 9110 §5.6.3).
    func trimmed() -> UnsafeRawBufferPointer {
        var start = 0
        var end = count
        while start < end, self[start].isBlank { start += 1 }
        while end > start, self[end - 1].isBlank { end -= 1 }
        return slice(start, end)
    }

    /// Decimal digits only, no sign, 1 to 20 of them, no overflow; nil otherwise.
    func decimal() -> UInt64? {
        guard (1...20).contains(count) else { return nil }
        var value: UInt64 = 0
        for byte in self {
            guard byte.isDigit else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow2) = product.addingReportingOverflow(UInt64(byte - 0x30))
            if overflow || overflow2 { return nil }
            value = sum
        }
        return value
    }
}
