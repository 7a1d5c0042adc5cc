import Model

/// Reads the values of one JSON text in order, without building a tree: what is not asked for costs a skip.
///
/// It is for what an API server wrote, so it is lenient where that cannot matter (commas), and strict about reading nothing that
/// is not there. Recursion is the caller's, by schema; skipping is none. The buffer must outlive the reader.
struct JSONReader {
    private let bytes: UnsafeBufferPointer<UInt8>
    private(set) var offset = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// A string as written, without its quotes. It lives as long as the buffer.
    struct Text {
        fileprivate let bytes: UnsafeBufferPointer<UInt8>
        fileprivate let hasEscapes: Bool

        var count: Int { bytes.count }

        /// Compares with text that is the same written with escapes or without.
        @inline(__always)
        static func == (a: Text, b: StaticString) -> Bool {
            if a.hasEscapes { return a.unescaped.elementsEqual(UnsafeBufferPointer(start: b.utf8Start, count: b.utf8CodeUnitCount)) }
            return a.bytes.count == b.utf8CodeUnitCount && a.bytes.elementsEqual(UnsafeBufferPointer(start: b.utf8Start, count: b.utf8CodeUnitCount))
        }
    }

    /// The next byte that is no white space; nil at the end.
    private mutating func peek() -> UInt8? {
        while offset < bytes.count {
            switch bytes[offset] {
            case 0x20, 0x0A, 0x0D, 0x09: offset += 1
            case let byte: return byte
            }
        }
        return nil
    }

    private func mistake(_ problem: String) -> DecodingProblem { DecodingProblem("\(problem) at byte \(offset)") }

    /// Takes a `null`, if that is next.
    mutating func takeNull() throws(DecodingProblem) -> Bool {
        guard peek() == UInt8(ascii: "n") else { return false }
        try take("null")
        return true
    }

    private mutating func take(_ word: StaticString) throws(DecodingProblem) {
        let count = word.utf8CodeUnitCount
        guard bytes.count - offset >= count,
            bytes[offset..<offset + count].elementsEqual(UnsafeBufferPointer(start: word.utf8Start, count: count))
        else { throw mistake("no JSON value") }
        offset += count
    }

    /// Begins an object: true, then ``nextKey()`` until it is nil. False for null.
    mutating func enterObject() throws(DecodingProblem) -> Bool {
        if try takeNull() { return false }
        guard peek() == UInt8(ascii: "{") else { throw mistake("expected an object") }
        offset += 1
        return true
    }

    /// The next member's name, whose value has to be taken or skipped; nil at the end of the object.
    mutating func nextKey() throws(DecodingProblem) -> Text? {
        while true {
            switch peek() {
            case UInt8(ascii: ","): offset += 1
            case UInt8(ascii: "}"):
                offset += 1
                return nil
            case UInt8(ascii: "\""):
                let key = try text()
                guard peek() == UInt8(ascii: ":") else { throw mistake("expected a colon") }
                offset += 1
                return key
            case nil: throw mistake("unexpected end")
            case .some: throw mistake("expected a name or the end of an object")
            }
        }
    }

    /// Begins an array: true, then ``hasNextElement()`` before each. False for null.
    mutating func enterArray() throws(DecodingProblem) -> Bool {
        if try takeNull() { return false }
        guard peek() == UInt8(ascii: "[") else { throw mistake("expected an array") }
        offset += 1
        return true
    }

    mutating func hasNextElement() throws(DecodingProblem) -> Bool {
        while true {
            switch peek() {
            case UInt8(ascii: ","): offset += 1
            case UInt8(ascii: "]"):
                offset += 1
                return false
            case nil: throw mistake("unexpected end")
            case .some: return true
            }
        }
    }

    /// A string; nil for null.
    mutating func string() throws(DecodingProblem) -> Text? {
        if try takeNull() { return nil }
        guard peek() == UInt8(ascii: "\"") else { throw mistake("expected a string") }
        return try text()
    }

    private mutating func text() throws(DecodingProblem) -> Text {
        let start = offset + 1
        var index = start
        var hasEscapes = false
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\"") {
                offset = index + 1
                return Text(bytes: UnsafeBufferPointer(rebasing: bytes[start..<index]), hasEscapes: hasEscapes)
            }
            if byte == UInt8(ascii: "\\") {
                hasEscapes = true
                index += 1
            }
            index += 1
        }
        throw mistake("a string without an end")
    }

    /// A truth value; nil for null.
    mutating func bool() throws(DecodingProblem) -> Bool? {
        switch peek() {
        case UInt8(ascii: "t"):
            try take("true")
            return true
        case UInt8(ascii: "f"):
            try take("false")
            return false
        case .some, nil:
            if try takeNull() { return nil }
            throw mistake("expected true or false")
        }
    }

    /// A whole number; nil for null. Fractions, exponents and numbers beyond 18 digits are mistakes.
    mutating func integer() throws(DecodingProblem) -> Int? {
        if try takeNull() { return nil }
        let isNegative = peek() == UInt8(ascii: "-")
        if isNegative { offset += 1 }
        var value = 0
        let start = offset
        while offset < bytes.count, case let digit = bytes[offset] &- 0x30, digit < 10 {
            guard offset - start < 18 else { throw mistake("a number beyond all bounds") }
            value = value * 10 + Int(digit)
            offset += 1
        }
        guard offset > start else { throw mistake("expected a number") }
        if offset < bytes.count {
            switch bytes[offset] {
            case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"): throw mistake("expected a whole number")
            default: break
            }
        }
        return isNegative ? -value : value
    }

    /// Passes over any value. O(bytes), whatever its depth.
    mutating func skipValue() throws(DecodingProblem) {
        guard let first = peek() else { throw mistake("unexpected end") }
        switch first {
        case UInt8(ascii: "\""): _ = try text()
        case UInt8(ascii: "{"), UInt8(ascii: "["): try skipContainer()
        case UInt8(ascii: "}"), UInt8(ascii: "]"), UInt8(ascii: ","), UInt8(ascii: ":"): throw mistake("no JSON value")
        default:
            // A number, true, false or null: nobody asked for it, so what it is does not matter.
            scalar: while offset < bytes.count {
                switch bytes[offset] {
                case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), 0x20, 0x0A, 0x0D, 0x09: break scalar
                default: offset += 1
                }
            }
        }
    }

    private mutating func skipContainer() throws(DecodingProblem) {
        var depth = 0
        while offset < bytes.count {
            switch bytes[offset] {
            case UInt8(ascii: "\""):
                _ = try text()
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 0 {
                    offset += 1
                    return
                }
            default: break
            }
            offset += 1
        }
        throw mistake("unexpected end")
    }

    /// Reads on from another place, which was an ``offset`` before.
    mutating func rewind(to place: Int) { offset = min(max(0, place), bytes.count) }
}

/// Why bytes of the API server could not be read, in a few words.
public struct DecodingProblem: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String

    init(_ description: String) { self.description = description }
}

extension JSONReader.Text {
    /// The text itself, with escapes resolved and what is no UTF-8 repaired.
    func string(_ strings: inout StringTable) -> String {
        if !hasEscapes { return strings.string(bytes) }
        let plain = unescaped
        return plain.withUnsafeBufferPointer { strings.string($0) }
    }

    /// The same without looking it up: for text that hardly repeats.
    var string: String {
        hasEscapes ? String(decoding: unescaped, as: UTF8.self) : String(decoding: bytes, as: UTF8.self)
    }

    /// RFC 8259 section 7. An escape that is none is kept as written; half a surrogate pair becomes U+FFFD.
    fileprivate var unescaped: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            guard byte == UInt8(ascii: "\\"), index + 1 < bytes.count else {
                out.append(byte)
                index += 1
                continue
            }
            index += 2
            switch bytes[index - 1] {
            case UInt8(ascii: "n"): out.append(0x0A)
            case UInt8(ascii: "t"): out.append(0x09)
            case UInt8(ascii: "r"): out.append(0x0D)
            case UInt8(ascii: "b"): out.append(0x08)
            case UInt8(ascii: "f"): out.append(0x0C)
            case UInt8(ascii: "u"):
                guard let unit = codeUnit(at: index) else {
                    out += [UInt8(ascii: "\\"), UInt8(ascii: "u")]
                    continue
                }
                index += 4
                var scalar = UInt32(unit)
                if 0xD800..<0xDC00 ~= unit, index + 1 < bytes.count, bytes[index] == UInt8(ascii: "\\"),
                    bytes[index + 1] == UInt8(ascii: "u"), let low = codeUnit(at: index + 2), 0xDC00..<0xE000 ~= low
                {
                    index += 6
                    scalar = 0x1_0000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(low) - 0xDC00)
                }
                out += String(Unicode.Scalar(scalar) ?? "\u{FFFD}").utf8
            case let other: out.append(other)
            }
        }
        return out
    }

    private func codeUnit(at index: Int) -> UInt16? {
        guard bytes.count - index >= 4 else { return nil }
        var value: UInt16 = 0
        for byte in bytes[index..<index + 4] {
            guard let nibble = byte.hexNibble else { return nil }
            value = value << 4 | UInt16(nibble)
        }
        return value
    }
}
