/// One range of bytes out of a `Range` field (RFC 9110 §14.1.2).
public enum ByteRange: Hashable, Sendable {
    /// Everything: no range, several ranges, another unit, or something that is no range at all.
    case whole
    /// Non-empty, within the object.
    case part(Range<Int64>)
    /// 416.
    case unsatisfiable

    public init(_ field: String?, size: Int64) {
        self = .whole
        guard let field, let equals = field.firstIndex(of: "="), trimmed(field[..<equals]).lowercased() == "bytes" else { return }
        let text = trimmed(field[field.index(after: equals)...])
        guard !text.contains(","), let dash = text.firstIndex(of: "-") else { return }
        let (first, last) = (trimmed(text[..<dash]), trimmed(text[text.index(after: dash)...]))
        if first.isEmpty {
            // The last bytes; more of them than there are is all of them.
            guard let count = Self.clamped(last) else { return }
            self = count == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - count)..<size)
            return
        }
        guard let start = Self.clamped(first) else { return }
        var end = Int64.max
        if !last.isEmpty {
            guard let given = Self.clamped(last), given >= start else { return }
            end = given
        }
        self = start >= size ? .unsatisfiable : .part(start..<(min(end, size - 1) + 1))
    }

    /// Digits of any number: one that is too large for Int64 is past every end.
    private static func clamped(_ digits: String) -> Int64? {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int64(digits) ?? .max
    }
}

/// `x-amz-copy-source-range`: exactly `bytes=FIRST-LAST`, within the source.
public func copySourceRange(_ field: String, size: Int64) throws(S3Error) -> Range<Int64> {
    guard field.hasPrefix("bytes="), let dash = field.firstIndex(of: "-"),
        let first = decimal(field.dropFirst(6).prefix { $0 != "-" }), let last = decimal(field[field.index(after: dash)...]), first <= last
    else { throw S3Error(.invalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last.") }
    guard last < size else { throw S3Error(.invalidRange, "The range is not within the source, which has \(size) bytes.") }
    return first..<(last + 1)
}
