/// Why bytes from a peer were not accepted.
public enum WireError: Error, Hashable, Sendable {
    /// The packet ends inside a field.
    case truncated
    /// A tag or enumeration value that this version does not know.
    case unknownValue(field: StaticString, value: UInt64)
    /// A length beyond ``Bounds``.
    case tooLong(field: StaticString, count: Int)
    /// Text that is not UTF-8.
    case notUTF8(field: StaticString)
    /// A hello that does not fit this link.
    case mismatch(field: StaticString, ours: UInt64, theirs: UInt64)

    public static func == (a: WireError, b: WireError) -> Bool { a.description == b.description }
    public func hash(into hasher: inout Hasher) { hasher.combine(description) }
}

extension WireError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .truncated: "the packet ends inside a field"
        case .unknownValue(let field, let value): "unknown \(field) \(value)"
        case .tooLong(let field, let count): "\(field) of \(count) exceeds its bound"
        case .notUTF8(let field): "\(field) is not UTF-8"
        case .mismatch(let field, let ours, let theirs): "\(field) is \(theirs), expected \(ours)"
        }
    }
}
