/// Finds a place in JSON text, for messages about it: decoders name fields, people look for lines.
///
/// O(bytes), and without recursion: depth is bounded by memory, not by the stack.
public struct JSONLocator {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var offset = 0

    /// The buffer must outlive the locator.
    public init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// A line and column, both from 1; columns count bytes.
    public struct Position: Hashable, Sendable {
        public var line: Int
        public var column: Int

        public init(line: Int, column: Int) {
            self.line = line
            self.column = column
        }
    }

    /// Where the value at a path begins, or its nearest parent that is there; nil if the text is no JSON before that.
    public static func position(of path: [ManifestError.Step], in bytes: UnsafeBufferPointer<UInt8>) -> Position? {
        var locator = JSONLocator(bytes)
        do throws(Unexpected) {
            locator.skipSpace()
            var found = locator.offset
            for step in path {
                guard try locator.enter(step) else { break }
                locator.skipSpace()
                found = locator.offset
            }
            return locator.position(at: found)
        } catch {
            return nil
        }
    }

    /// The first place at which the text stops being one JSON value, and what is wrong there; nil for JSON.
    public static func firstMistake(in bytes: UnsafeBufferPointer<UInt8>) -> (position: Position, problem: String)? {
        var locator = JSONLocator(bytes)
        do throws(Unexpected) {
            try locator.skipValue()
            locator.skipSpace()
            if locator.offset < bytes.count { throw Unexpected(problem: "something follows the end of the document") }
            return nil
        } catch {
            return (locator.position(at: min(locator.offset, bytes.count)), error.problem)
        }
    }

    private struct Unexpected: Error {
        var problem: String
    }

    private func position(at offset: Int) -> Position {
        var (line, start) = (1, 0)
        for index in 0..<offset where bytes[index] == UInt8(ascii: "\n") {
            line += 1
            start = index + 1
        }
        return Position(line: line, column: offset - start + 1)
    }

    private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { offset += 1 }
    }

    private mutating func expect(_ byte: UInt8) throws(Unexpected) {
        skipSpace()
        guard let found = next else { throw Unexpected(problem: "the file ends where '\(Character(Unicode.Scalar(byte)))' should come") }
        guard found == byte else {
            throw Unexpected(problem: "expected '\(Character(Unicode.Scalar(byte)))', found \(Self.name(found))")
        }
        offset += 1
    }

    private static func name(_ byte: UInt8) -> String {
        (0x21...0x7e).contains(byte) ? "'\(Character(Unicode.Scalar(byte)))'" : "byte 0x\(String(byte, radix: 16))"
    }

    /// From the start of a container to that of one of its members; false, and back at the start, when there is none such.
    private mutating func enter(_ step: ManifestError.Step) throws(Unexpected) -> Bool {
        let start = offset
        switch step {
        case .field(let name):
            guard next == UInt8(ascii: "{") else { return false }
            offset += 1
            skipSpace()
            while next != UInt8(ascii: "}") {
                let key = try string()
                try expect(UInt8(ascii: ":"))
                // Keys of manifests have no escapes; one that has is not found, and its parent's place is given.
                if key.elementsEqual(name.utf8) { return true }
                try skipValue()
                skipSpace()
                if next == UInt8(ascii: ",") { offset += 1 }
                skipSpace()
            }
        case .index(let index):
            guard next == UInt8(ascii: "[") else { return false }
            offset += 1
            skipSpace()
            var count = 0
            while next != UInt8(ascii: "]") {
                if count == index { return true }
                try skipValue()
                count += 1
                skipSpace()
                if next == UInt8(ascii: ",") { offset += 1 }
                skipSpace()
            }
        }
        offset = start
        return false
    }

    /// Past a string; what is between its quotes, escapes and all.
    private mutating func string() throws(Unexpected) -> Slice<UnsafeBufferPointer<UInt8>> {
        try expect(UInt8(ascii: "\""))
        let start = offset
        while let byte = next {
            if byte == UInt8(ascii: "\"") {
                defer { offset += 1 }
                return bytes[start..<offset]
            }
            if byte < 0x20 { throw Unexpected(problem: "a string is not closed on its line") }
            offset += byte == UInt8(ascii: "\\") ? 2 : 1
        }
        throw Unexpected(problem: "the file ends inside a string")
    }

    /// Past a value of any depth.
    private mutating func skipValue() throws(Unexpected) {
        /// The closing brackets that are still to come.
        var closing: [UInt8] = []
        repeat {
            skipSpace()
            guard let byte = next else { throw Unexpected(problem: "the file ends too early") }
            var isValueDone = true
            switch byte {
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                offset += 1
                let end = byte == UInt8(ascii: "{") ? UInt8(ascii: "}") : UInt8(ascii: "]")
                skipSpace()
                if next == end {
                    offset += 1
                } else {
                    closing.append(end)
                    if end == UInt8(ascii: "}") { try key() }
                    isValueDone = false
                }
            case UInt8(ascii: "\""): _ = try string()
            default: try literal()
            }
            // After a value: the ends of what it was in, or a comma and the next one.
            while isValueDone, let end = closing.last {
                skipSpace()
                if next == end {
                    offset += 1
                    closing.removeLast()
                } else if next == UInt8(ascii: ",") {
                    offset += 1
                    if end == UInt8(ascii: "}") { try key() }
                    isValueDone = false
                } else {
                    // Says what is missing.
                    try expect(end)
                }
            }
        } while !closing.isEmpty
    }

    private mutating func key() throws(Unexpected) {
        _ = try string()
        try expect(UInt8(ascii: ":"))
    }

    /// Past a number, true, false or null; only their characters are looked at.
    private mutating func literal() throws(Unexpected) {
        let start = offset
        while let byte = next,
            byte == 0x2b || byte == 0x2d || byte == 0x2e || (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20)
        {
            offset += 1
        }
        let word = String(decoding: bytes[start..<offset], as: UTF8.self)
        if word.isEmpty { throw Unexpected(problem: next.map { "unexpected \(Self.name($0))" } ?? "the file ends too early") }
        guard ["true", "false", "null"].contains(word) || Double(word) != nil else {
            offset = start
            throw Unexpected(problem: "\"\(word.prefix(32))\" is no value; text needs double quotes")
        }
    }
}
