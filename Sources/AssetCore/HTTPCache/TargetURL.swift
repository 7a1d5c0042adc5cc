import Model

/// An absolute `http` or `https` URL, taken apart strictly and written in one way: what is asked of an origin, and the name of what it
/// says.
public struct TargetURL: Hashable, Sendable {
    public enum Scheme: String, Hashable, Sendable {
        case http
        case https
        public var defaultPort: UInt16 { self == .http ? 80 : 443 }
    }

    public var scheme: Scheme
    /// In lower case, without brackets and without a dot at its end.
    public var host: String
    public var port: UInt16
    /// Path and query as they came; begins with a slash.
    public var target: String

    public static let mostBytes = 8_192

    /// Nil for other schemes, user names, spaces and control characters, hosts that are none, and more than 8 KiB. A fragment is dropped.
    public init?(_ text: String) {
        let bytes = text.utf8
        guard bytes.count <= Self.mostBytes, bytes.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else { return nil }
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")), text[colon...].hasPrefix("://"),
            let scheme = Scheme(rawValue: text[..<colon].lowercased())
        else { return nil }
        let rest = text[colon...].dropFirst(3).prefix { $0 != "#" }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        guard let (host, port) = Self.authority(rest[..<end]) else { return nil }
        let path = rest[end...]
        self.init(scheme: scheme, host: host, port: port ?? scheme.defaultPort, target: path.hasPrefix("/") ? String(path) : "/\(path)")
    }

    public init(scheme: Scheme, host: String, port: UInt16, target: String) {
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target
    }

    /// `HOST:PORT` as CONNECT has it.
    public static func connect(_ text: String) -> (host: String, port: UInt16)? {
        guard text.utf8.count <= 512, let (host, port) = authority(text[...]), let port else { return nil }
        return (host, port)
    }

    private static func authority(_ text: Substring) -> (String, UInt16?)? {
        // A user name before the host is what phishers use, and nobody else.
        guard !text.isEmpty, !text.contains("@") else { return nil }
        var host = text
        var port: UInt16?
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<close]
            let tail = text[text.index(after: close)...]
            guard host.contains(":"), SocketAddress(ip: host, port: 0) != nil else { return nil }
            if !tail.isEmpty {
                guard tail.hasPrefix(":"), let given = Self.port(tail.dropFirst()) else { return nil }
                port = given
            }
            return (host.lowercased(), port)
        }
        if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            let digits = text[text.index(after: colon)...]
            if !digits.isEmpty {
                guard let given = Self.port(digits) else { return nil }
                port = given
            }
        }
        if host.hasSuffix(".") { host = host.dropLast() }
        let name = host.lowercased()
        guard (1...253).contains(name.utf8.count), name.utf8.allSatisfy(isHostByte), !name.hasPrefix("."), !name.contains("..") else {
            return nil
        }
        return (name, port)
    }

    private static func port(_ digits: Substring) -> UInt16? {
        guard let number = decimal(digits), (1...65_535).contains(number) else { return nil }
        return UInt16(number)
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x61...0x7a, 0x2d, 0x2e, 0x5f: true
        default: false
        }
    }

    /// With brackets where needed, without a port that its scheme implies: for `Host`.
    public var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == scheme.defaultPort ? name : "\(name):\(port)"
    }

    /// The one way to write it.
    public var text: String { "\(scheme.rawValue)://\(authority)\(target)" }

    /// Where a `Location` leads from here (RFC 3986 §5.2, as far as redirects use it). Nil for what is no URL of ours.
    public func resolving(_ reference: String) -> TargetURL? {
        let reference = trimmed(reference)
        guard reference.utf8.count <= Self.mostBytes else { return nil }
        if reference.contains("://") { return TargetURL(reference) }
        if reference.hasPrefix("//") { return TargetURL("\(scheme.rawValue):\(reference)") }
        let path = target.prefix { $0 != "?" }
        let merged: String
        if reference.hasPrefix("/") {
            merged = reference
        } else if reference.hasPrefix("?") {
            merged = path + reference
        } else if reference.isEmpty || reference.hasPrefix("#") {
            merged = target
        } else {
            // Another scheme (mailto:x) looks like a first segment with a colon.
            if reference.prefix(while: { $0 != "/" && $0 != "?" }).contains(":") { return nil }
            merged = path[...(path.lastIndex(of: "/") ?? path.startIndex)] + reference
        }
        return TargetURL("\(scheme.rawValue)://\(authority)\(Self.withoutDots(merged))")
    }

    private static func withoutDots(_ text: String) -> String {
        let path = text.prefix { $0 != "?" && $0 != "#" }
        let rest = text[path.endIndex...]
        var out: [Substring] = []
        let segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        for (i, segment) in segments.enumerated() {
            let isLast = i == segments.count - 1
            switch segment {
            case ".": if isLast { out.append("") }
            case "..":
                if !out.isEmpty { out.removeLast() }
                if isLast { out.append("") }
            default: out.append(segment)
            }
        }
        return "/" + out.joined(separator: "/") + rest
    }
}
