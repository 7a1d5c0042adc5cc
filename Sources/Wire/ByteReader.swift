/// A cursor over one received packet. Reads never go past the end; the buffer must outlive the reader.
public struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    public var isAtEnd: Bool { offset == bytes.count }
    public var remaining: Int { bytes.count - offset }

    @inline(__always)
    public mutating func integer<T: FixedWidthInteger>(_: T.Type = T.self) throws(WireError) -> T {
        let size = MemoryLayout<T>.size
        guard bytes.count - offset >= size else { throw .truncated }
        let value = bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
        offset += size
        return T(littleEndian: value)
    }

    public mutating func flag(_ field: StaticString) throws(WireError) -> Bool {
        switch try integer(UInt8.self) {
        case 0: return false
        case 1: return true
        case let other: throw .unknownValue(field: field, value: UInt64(other))
        }
    }

    public mutating func string(_ field: StaticString) throws(WireError) -> String {
        let length = Int(try integer(UInt16.self))
        guard length <= Bounds.stringBytes else { throw .tooLong(field: field, count: length) }
        guard remaining >= length else { throw .truncated }
        if length == 0 { return "" }
        let part = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
        offset += length
        guard let text = String(validating: part, as: UTF8.self) else { throw .notUTF8(field: field) }
        return text
    }

    /// An enumeration sent as one byte.
    public mutating func byte<T: RawRepresentable>(_: T.Type, _ field: StaticString) throws(WireError) -> T where T.RawValue == UInt8 {
        let raw = try integer(UInt8.self)
        guard let value = T(rawValue: raw) else { throw .unknownValue(field: field, value: UInt64(raw)) }
        return value
    }
}
