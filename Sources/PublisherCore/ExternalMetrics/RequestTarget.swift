/// What a request asks for: `/a/b?c=d`, decoded.
struct RequestTarget: Hashable, Sendable {
    /// Without empty ones at the end.
    var path: [String] = []
    var query: [(name: String, value: String)] = []

    /// Nil where percent signs or bytes are not what a URL's are (RFC 3986).
    init?(_ text: String) {
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let path = parts.first, path.first == "/" else { return nil }
        for segment in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard let decoded = Self.decoded(segment, plusIsBlank: false) else { return nil }
            self.path.append(decoded)
        }
        if self.path.last == "" { self.path.removeLast() }
        guard parts.count == 2 else { return }
        for pair in parts[1].split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decoded(sides[0], plusIsBlank: true),
                let value = Self.decoded(sides.count == 2 ? sides[1] : "", plusIsBlank: true)
            else { return nil }
            query.append((name, value))
        }
    }

    subscript(name: String) -> String? { query.first { $0.name == name }?.value }

    static func == (a: RequestTarget, b: RequestTarget) -> Bool { a.path == b.path && a.query.elementsEqual(b.query) { $0 == $1 } }

    func hash(into hasher: inout Hasher) { hasher.combine(path) }

    /// Nil for what is not UTF-8 then, too.
    static func decoded(_ text: Substring, plusIsBlank: Bool) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var rest = text.utf8.makeIterator()
        while let byte = rest.next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.next().flatMap(digit), let low = rest.next().flatMap(digit) else { return nil }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsBlank: bytes.append(0x20)
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }
}
