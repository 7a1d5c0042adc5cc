/// Where the fields of one head lie: a table of fixed size, filled anew for each head and never grown.
struct FieldTable: ~Copyable {
    struct Field: BitwiseCopyable {
        var name: FieldName
        /// Named by a `Connection` field, so it ends here.
        var isNominated: Bool
        var nameCount: UInt16
        var line: UInt32
        var value: ByteRange
    }

    enum Scan {
        case needMore
        case bad
        case tooMany
        /// The head is complete; its last byte is before this offset.
        case end(Int)
    }

    private let fields: UnsafeMutablePointer<Field>
    private let capacity: Int
    private(set) var count = 0
    /// Where the last line ended: where the line after the last field begins.
    private(set) var end = 0

    init(capacity: Int) {
        self.capacity = max(1, capacity)
        fields = .allocate(capacity: self.capacity)
    }

    deinit { fields.deallocate() }

    /// `index` must be less than ``count``.
    subscript(index: Int) -> Field {
        precondition(index >= 0 && index < count, "field \(index) of \(count)")
        return fields[index]
    }

    func name(_ index: Int, of bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let field = self[index]
        return bytes.slice(Int(field.line), Int(field.line) + Int(field.nameCount))
    }

    func value(_ index: Int, of bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer { bytes.slice(self[index].value) }

    /// The offset just after the field's line and its CRLF.
    func lineEnd(_ index: Int) -> Int { index + 1 < count ? Int(self[index + 1].line) : end }

    /// Another meaning for a field, where a listener gives its name one.
    mutating func rename(_ index: Int, _ name: FieldName) {
        guard index >= 0, index < count else { return }
        fields[index].name = name
    }

    mutating func nominate(_ index: Int) {
        guard index >= 0, index < count else { return }
        fields[index].isNominated = true
    }

    /// Reads field lines from `start` up to and with the empty line (RFC 9112 §5), every rule strictly: CRLF
    /// only, no folding, no blank before the colon, no control character.
    mutating func scan(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Scan {
        count = 0
        var i = start
        let limit = bytes.count
        while true {
            guard i < limit else { return .needMore }
            let line = i
            var byte = bytes[i]
            if byte == .cr {
                guard i + 1 < limit else { return .needMore }
                end = i
                return bytes[i + 1] == .lf ? .end(i + 2) : .bad
            }
            while byte.isToken {
                i += 1
                guard i < limit else { return .needMore }
                byte = bytes[i]
            }
            guard byte == .colon, i > line else { return .bad }
            let nameEnd = i
            guard nameEnd - line <= Int(UInt16.max) else { return .tooMany }
            i += 1
            while i < limit, bytes[i].isBlank { i += 1 }
            let valueStart = i
            i = bytes.endOfFieldContent(from: i)
            guard i < limit else { return .needMore }
            guard bytes[i] == .cr else { return .bad }
            guard i + 1 < limit else { return .needMore }
            guard bytes[i + 1] == .lf else { return .bad }
            var valueEnd = i
            while valueEnd > valueStart, bytes[valueEnd - 1].isBlank { valueEnd -= 1 }
            i += 2
            guard count < capacity else { return .tooMany }
            (fields + count).initialize(
                to: Field(
                    name: FieldName(bytes.slice(line, nameEnd)), isNominated: false, nameCount: UInt16(truncatingIfNeeded: nameEnd - line),
                    line: UInt32(truncatingIfNeeded: line), value: ByteRange(valueStart, valueEnd)))
            count += 1
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The offset of the first byte that a field value may not hold, or ``count``; eight bytes at a time.
    func endOfFieldContent(from start: Int) -> Int {
        var i = start
        while i + 8 <= count {
            let word = UInt64(littleEndian: loadUnaligned(fromByteOffset: i, as: UInt64.self))
            // Bytes below 0x20, and bytes equal to 0x7f. A borrow can only raise false flags above a true one.
            let low = (word &- 0x2020_2020_2020_2020) & ~word
            let flipped = word ^ 0x7f7f_7f7f_7f7f_7f7f
            let del = (flipped &- 0x0101_0101_0101_0101) & ~flipped
            let flags = (low | del) & 0x8080_8080_8080_8080
            if flags != 0 {
                i += flags.trailingZeroBitCount >> 3
                break
            }
            i += 8
        }
        while i < count, self[i].isFieldContent { i += 1 }
        return i
    }
}
