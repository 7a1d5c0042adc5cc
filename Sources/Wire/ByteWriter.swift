/// A packet being written: a fixed buffer of ``Bounds/packetBytes``, little-endian fields, no allocation after `init`.
///
/// A field that does not fit sets ``overflowed`` and writes nothing, so a caller writes a whole message and then
/// looks once: on overflow it rewinds to the mark, sends what it has, and writes the message again.
public struct ByteWriter: ~Copyable {
    private let storage: UnsafeMutableRawBufferPointer
    public private(set) var count = 0
    public private(set) var overflowed = false

    public init(capacity: Int = Bounds.packetBytes) {
        storage = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { storage.deallocate() }

    public var isEmpty: Bool { count == 0 }

    /// What has been written so far; valid until the next mutation.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: storage[..<count]) }

    public mutating func removeAll() {
        count = 0
        overflowed = false
    }

    /// Back to an earlier ``count``, as if nothing had been written since.
    public mutating func rewind(to mark: Int) {
        precondition(mark <= count)
        count = mark
        overflowed = false
    }

    @inline(__always)
    public mutating func integer<T: FixedWidthInteger>(_ value: T) {
        let size = MemoryLayout<T>.size
        guard count + size <= storage.count else {
            overflowed = true
            return
        }
        storage.storeBytes(of: value.littleEndian, toByteOffset: count, as: T.self)
        count += size
    }

    public mutating func flag(_ value: Bool) { integer(value ? UInt8(1) : 0) }

    /// A 16-bit length, then UTF-8. Longer text is cut at ``Bounds/stringBytes``: only names travel as text.
    public mutating func string(_ text: String) {
        var text = text
        text.withUTF8 { utf8 in
            let length = min(utf8.count, Bounds.stringBytes)
            guard count + 2 + length <= storage.count else {
                overflowed = true
                return
            }
            integer(UInt16(length))
            if length > 0 {
                UnsafeMutableRawBufferPointer(rebasing: storage[count..<count + length])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(utf8)[..<length]))
                count += length
            }
        }
    }
}
