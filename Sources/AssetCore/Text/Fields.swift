/// The header fields of a message in their order, found by name whatever its case.
public struct Fields: Sendable {
    /// Names in lower case.
    public private(set) var all: [(name: String, value: String)] = []

    public init() {}

    public init(_ fields: some Sequence<(String, String)>) { for (name, value) in fields { append(name, value) } }

    public mutating func append(_ name: String, _ value: String) { all.append((name.lowercased(), value)) }

    /// All of that name (in lower case).
    public mutating func remove(_ name: String) { all.removeAll { $0.name == name } }

    /// In place of all of that name.
    public mutating func set(_ name: String, _ value: String) {
        remove(name)
        append(name, value)
    }

    /// The first of that name (in lower case), without the spaces around it. O(fields).
    public subscript(_ name: String) -> String? {
        for field in all where field.name == name { return trimmed(field.value) }
        return nil
    }

    public func values(_ name: String) -> [String] { all.filter { $0.name == name }.map { trimmed($0.value) } }

    public func contains(_ name: String) -> Bool { all.contains { $0.name == name } }
}

/// Without spaces and tabs at either end.
func trimmed(_ text: some StringProtocol) -> String {
    let bytes = Substring(text).utf8
    guard let first = bytes.firstIndex(where: { $0 != 0x20 && $0 != 0x09 }),
        let last = bytes.lastIndex(where: { $0 != 0x20 && $0 != 0x09 })
    else { return "" }
    return String(decoding: bytes[first...last], as: UTF8.self)
}

/// Decimal digits only, without sign; nil beyond Int64.
func decimal(_ text: some StringProtocol) -> Int64? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return Int64(text)
}
