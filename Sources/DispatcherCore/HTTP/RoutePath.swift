/// The bytes of a path for comparison: escapes of unreserved characters decoded, other escapes in upper case.
struct PathBytes: BitwiseCopyable {
    private let path: UnsafeRawBufferPointer
    private var position = 0
    /// Hexadecimal digits that still have to be given in upper case.
    private var digits = 0

    init(_ path: UnsafeRawBufferPointer) { self.path = path }

    mutating func next() -> UInt8? {
        guard position < path.count else { return nil }
        let byte = path[position]
        position += 1
        if digits > 0 {
            digits -= 1
            return byte &- 0x61 < 6 ? byte & 0xdf : byte
        }
        guard byte == .percent, let escaped = path.escaped(at: position - 1) else { return byte }
        if escaped.isUnreserved {
            position += 2
            return escaped
        }
        digits = 2
        return byte
    }
}

extension UnsafeRawBufferPointer {
    /// The byte that `%HH` at this offset stands for; nil when it is no escape.
    func escaped(at index: Int) -> UInt8? {
        guard index >= 0, index + 2 < count, self[index] == .percent, let high = self[index + 1].hexNibble,
            let low = self[index + 2].hexNibble
        else { return nil }
        return high << 4 | low
    }
}

/// Whether every reader of a path finds the same segments in it: no `.` and `..` segments (escaped too), no
/// empty segment but the last, no backslash, no escaped slash, backslash or NUL, no broken escape.
func isUnambiguous(path: UnsafeRawBufferPointer) -> Bool {
    var length = 0
    var dots = 0
    var i = 0
    while i < path.count {
        var byte = path[i]
        var width = 1
        if byte == .percent {
            guard let escaped = path.escaped(at: i), escaped != .slash, escaped != .backslash, escaped != 0 else { return false }
            byte = escaped
            width = 3
        } else if byte == .slash {
            if i > 0, length == 0 || isDotSegment(length, dots) { return false }
            length = 0
            dots = 0
            i += 1
            continue
        } else if byte == .backslash {
            return false
        }
        length += 1
        if byte == .dot { dots += 1 }
        i += width
    }
    return !isDotSegment(length, dots)
}

private func isDotSegment(_ length: Int, _ dots: Int) -> Bool { length == dots && (length == 1 || length == 2) }

/// A row's host, lower case and without one trailing dot.
struct HostPattern: Hashable {
    enum Kind: Hashable { case exact, wildcard, any }

    var kind: Kind
    /// Without `*.`; empty for any.
    var name: [UInt8]

    init?(_ text: String) {
        if text == "*" {
            (kind, name) = (.any, [])
            return
        }
        let isWildcard = text.hasPrefix("*.")
        kind = isWildcard ? .wildcard : .exact
        var host = Array((isWildcard ? text.dropFirst(2) : text[...]).utf8.map(\.lowercased))
        if host.count > 1, host.last == .dot { host.removeLast() }
        name = host
        let length = host.withUnsafeBytes { Authority($0)?.hostEnd }
        // No port, no empty label, no address behind a wildcard.
        guard length == host.count, host.first != .dot, host.last != .dot, !(isWildcard && host.first == 0x5b) else { return nil }
    }
}
