import Foundation

/// Where an API server is: `https://HOST:PORT/PREFIX`.
public struct ServerAddress: Hashable, Sendable, CustomStringConvertible {
    public var isSecure: Bool
    /// A name or an address; IPv6 without brackets.
    public var host: String
    public var port: Int
    /// What every path begins with; empty, or with a slash at its beginning and none at its end.
    public var prefix: String

    /// Nil for what is no http(s) URL with a host, or carries a user, a query or a fragment.
    public init?(_ text: String) {
        guard let parts = URLComponents(string: text), let scheme = parts.scheme?.lowercased(), scheme == "https" || scheme == "http",
            let host = parts.host, !host.isEmpty, parts.user == nil, parts.password == nil, parts.query == nil, parts.fragment == nil
        else { return nil }
        isSecure = scheme == "https"
        self.host = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        port = parts.port ?? (isSecure ? 443 : 80)
        guard (1...65_535).contains(port) else { return nil }
        var path = parts.percentEncodedPath
        while path.hasSuffix("/") { path.removeLast() }
        prefix = path
    }

    /// `host:port`, with brackets where they belong.
    public var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    public var description: String { "\(isSecure ? "https" : "http")://\(authority)\(prefix)" }
}
