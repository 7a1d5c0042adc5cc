/// The directives of a `Cache-Control` field (RFC 9111 §5.2, RFC 5861, RFC 8246), of a request or a response.
///
/// Unknown directives mean nothing. `private` and `no-cache` with field names are taken as without (§5.2.2.4 and §5.2.2.7 allow it). Of a
/// directive that comes twice the first counts; a number that is none counts as 0, so that what is unclear is stale.
public struct CacheControl: Hashable, Sendable {
    /// Seconds.
    public var maxAge: Int64?
    public var sMaxage: Int64?
    public var minFresh: Int64?
    public var maxStale: MaxStale?
    public var staleWhileRevalidate: Int64?
    public var staleIfError: Int64?
    public var flags: Flags = []

    public enum MaxStale: Hashable, Sendable {
        /// However stale.
        case any
        case seconds(Int64)
    }

    public struct Flags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt16
        public init(rawValue: UInt16) { self.rawValue = rawValue }
        public static let noStore = Flags(rawValue: 1)
        public static let noCache = Flags(rawValue: 2)
        public static let mustRevalidate = Flags(rawValue: 4)
        public static let proxyRevalidate = Flags(rawValue: 8)
        public static let isPublic = Flags(rawValue: 16)
        public static let isPrivate = Flags(rawValue: 32)
        public static let onlyIfCached = Flags(rawValue: 64)
        public static let immutable = Flags(rawValue: 128)
        public static let mustUnderstand = Flags(rawValue: 256)
    }

    /// What is larger is as large as this (§1.2.2).
    public static let mostSeconds: Int64 = 1 << 31

    public init() {}

    /// All `Cache-Control` fields of a message together; of a request without any, `Pragma: no-cache` says the same (§5.4).
    public init(_ fields: Fields, isRequest: Bool = false) {
        for (name, argument) in Self.directives(fields.values("cache-control")) { apply(name, argument) }
        if isRequest, !fields.contains("cache-control"), fields.values("pragma").contains(where: { $0.lowercased().contains("no-cache") }) {
            flags.insert(.noCache)
        }
    }

    private mutating func apply(_ name: String, _ argument: String?) {
        let seconds = argument.flatMap(Self.seconds) ?? 0
        switch name {
        case "max-age": maxAge = maxAge ?? seconds
        case "s-maxage": sMaxage = sMaxage ?? seconds
        case "min-fresh": minFresh = minFresh ?? seconds
        case "max-stale": maxStale = maxStale ?? (argument == nil ? .any : .seconds(seconds))
        case "stale-while-revalidate": staleWhileRevalidate = staleWhileRevalidate ?? seconds
        case "stale-if-error": staleIfError = staleIfError ?? seconds
        case "no-store": flags.insert(.noStore)
        case "no-cache": flags.insert(.noCache)
        case "must-revalidate": flags.insert(.mustRevalidate)
        case "proxy-revalidate": flags.insert(.proxyRevalidate)
        case "public": flags.insert(.isPublic)
        case "private": flags.insert(.isPrivate)
        case "only-if-cached": flags.insert(.onlyIfCached)
        case "immutable": flags.insert(.immutable)
        case "must-understand": flags.insert(.mustUnderstand)
        default: break  // open: any word may be a directive of somebody's
        }
    }

    /// Digits only; nil for anything else.
    static func seconds(_ text: String) -> Int64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return min(Int64(text) ?? mostSeconds, mostSeconds)
    }

    /// Names in lower case with their arguments, unquoted. Commas inside quotes divide nothing.
    static func directives(_ values: [String]) -> [(name: String, argument: String?)] {
        var out: [(String, String?)] = []
        for value in values {
            var (item, isQuoted, isEscaped) = ([UInt8](), false, false)
            for byte in Array(value.utf8) + [UInt8(ascii: ",")] {
                if byte == UInt8(ascii: ","), !isQuoted {
                    if let directive = directive(item) { out.append(directive) }
                    item.removeAll(keepingCapacity: true)
                    continue
                }
                item.append(byte)
                if isEscaped {
                    isEscaped = false
                } else if isQuoted, byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isQuoted.toggle()
                }
            }
            // A quote that nobody closes takes the rest with it.
            if isQuoted, let directive = directive(item) { out.append(directive) }
        }
        return out
    }

    private static func directive(_ bytes: [UInt8]) -> (String, String?)? {
        let text = trimmed(String(decoding: bytes, as: UTF8.self))
        guard !text.isEmpty else { return nil }
        guard let equals = text.firstIndex(of: "=") else { return (text.lowercased(), nil) }
        var argument = trimmed(text[text.index(after: equals)...])
        if argument.utf8.count >= 2, argument.hasPrefix("\""), argument.hasSuffix("\"") {
            argument = String(argument.dropFirst().dropLast())
        }
        return (trimmed(text[..<equals]).lowercased(), argument)
    }
}
