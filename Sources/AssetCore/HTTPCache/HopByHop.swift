extension Fields {
    /// Fields that end at this hop (RFC 9110 §7.6.1), or belong to a proxy's own conversation (RFC 9111 §3.1).
    private static let hopByHop: Set<String> = [
        "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "te",
        "trailer", "transfer-encoding", "upgrade", "http2-settings",
    ]

    /// What goes on to the next hop: neither the fields above nor those that `Connection` names.
    ///
    /// Whether a response may be stored is judged before, on all that came: `Connection: cache-control` must not make it public.
    public var endToEnd: Fields {
        let named = Set(values("connection").flatMap { $0.split(separator: ",") }.map { trimmed($0).lowercased() })
        return Fields(
            all.filter { field in
                !Self.hopByHop.contains(field.name) && (!named.contains(field.name) || Self.neverNamed.contains(field.name))
            }.map { ($0.name, $0.value) })
    }

    private static let neverNamed: Set<String> = ["host", "content-length", "cache-control", "set-cookie", "vary", "etag", "age"]
}

/// Who has seen a request already (RFC 9110 §7.6.3, RFC 8586).
public enum Loops {
    /// Whether a request has been here before, or in too many places.
    public static func isLoop(_ request: Fields, pseudonym: String) -> Bool {
        let loop = request.values("cdn-loop").flatMap { $0.split(separator: ",") }.map { trimmed($0.prefix { $0 != ";" }).lowercased() }
        let via = request.values("via").flatMap { $0.split(separator: ",") }.map { trimmed($0) }
        let received = via.compactMap { $0.split(separator: " ", omittingEmptySubsequences: true).dropFirst().first?.lowercased() }
        return loop.contains(pseudonym) || received.contains(pseudonym) || via.count > mostHops || loop.count > mostHops
    }

    /// Proxies that a request may have passed through.
    static let mostHops = 20

    /// Adds this hop to a request.
    public static func mark(_ request: inout Fields, pseudonym: String) {
        request.append("via", "1.1 \(pseudonym)")
        request.append("cdn-loop", pseudonym)
    }
}
