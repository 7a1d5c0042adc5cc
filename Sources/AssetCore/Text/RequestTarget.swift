/// A request target in origin form, taken apart once and decoded once.
public struct RequestTarget: Hashable, Sendable {
    /// Before the question mark, as it came.
    public var rawPath: String
    /// Names and values decoded; a plus is a space. A name without `=` has an empty value.
    public var query: [Item]

    public struct Item: Hashable, Sendable {
        public var name: [UInt8]
        public var value: [UInt8]

        public init(name: [UInt8], value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    /// Nil when it does not begin with a slash or an escape is broken.
    public init?(_ target: String) {
        let bytes = target.utf8
        guard bytes.first == UInt8(ascii: "/") else { return nil }
        let cut = bytes.firstIndex(of: UInt8(ascii: "?"))
        rawPath = String(decoding: bytes[..<(cut ?? bytes.endIndex)], as: UTF8.self)
        query = []
        guard let cut else { return }
        for part in bytes[bytes.index(after: cut)...].split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: true) {
            let equals = part.firstIndex(of: UInt8(ascii: "="))
            guard let name = PercentCoding.decode(part[..<(equals ?? part.endIndex)], plusIsSpace: true),
                let value = PercentCoding.decode(equals.map { part[part.index(after: $0)...] } ?? part[part.endIndex...], plusIsSpace: true)
            else { return nil }
            query.append(Item(name: name, value: value))
        }
    }

    /// The first value of that name, nil when the name is not there or the value is not UTF-8.
    public subscript(_ name: String) -> String? {
        let wanted = Array(name.utf8)
        return query.first { $0.name == wanted }.flatMap { String(validating: $0.value, as: UTF8.self) }
    }

    public func has(_ name: String) -> Bool {
        let wanted = Array(name.utf8)
        return query.contains { $0.name == wanted }
    }
}
