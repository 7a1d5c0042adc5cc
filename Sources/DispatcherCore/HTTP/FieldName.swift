/// The field names that decide something here; everything else is passed on unread.
enum FieldName: UInt8, BitwiseCopyable {
    case other
    case host
    case contentLength
    case transferEncoding
    case connection
    case keepAlive
    case proxyConnection
    case te
    case upgrade
    case http2Settings
    case expect
    case prefer
    case priority
    case forwarded
    case forwardedFor
    case forwardedHost
    case forwardedProto
    /// Another `X-Forwarded-*`.
    case forwardedOther
    case tenant
    case affinity
    /// W3C Trace Context.
    case traceparent
    case busy
    /// Another `Leasehold-*`.
    case leasehold

    /// The name's meaning, in any case. `name` consists of token characters.
    ///
    /// In `Leasehold-*` and `X-Forwarded-*` an underscore counts as a hyphen: CGI and WSGI workers see no
    /// difference, so that leaving `X_Forwarded_For` in place means believing it.
    init(_ name: UnsafeRawBufferPointer) {
        self = Self.classify(name)
    }

    @inline(__always) private static func classify(_ name: UnsafeRawBufferPointer) -> FieldName {
        guard let first = name.first else { return .other }
        switch (first | 0x20, name.count) {
        case (0x63, 10): return name.isEqual(ignoringCase: "connection") ? .connection : .other
        case (0x63, 14): return name.isEqual(ignoringCase: "content-length") ? .contentLength : .other
        case (0x65, 6): return name.isEqual(ignoringCase: "expect") ? .expect : .other
        case (0x66, 9): return name.isEqual(ignoringCase: "forwarded") ? .forwarded : .other
        case (0x68, 4): return name.isEqual(ignoringCase: "host") ? .host : .other
        case (0x68, 14): return name.isEqual(ignoringCase: "http2-settings") ? .http2Settings : .other
        case (0x6b, 10): return name.isEqual(ignoringCase: "keep-alive") ? .keepAlive : .other
        case (0x6c, 10...): return leasehold(name)
        case (0x70, 6): return name.isEqual(ignoringCase: "prefer") ? .prefer : .other
        case (0x70, 8): return name.isEqual(ignoringCase: "priority") ? .priority : .other
        case (0x70, 16): return name.isEqual(ignoringCase: "proxy-connection") ? .proxyConnection : .other
        case (0x74, 2): return name.isEqual(ignoringCase: "te") ? .te : .other
        case (0x74, 11): return name.isEqual(ignoringCase: "traceparent") ? .traceparent : .other
        case (0x74, 17): return name.isEqual(ignoringCase: "transfer-encoding") ? .transferEncoding : .other
        case (0x75, 7): return name.isEqual(ignoringCase: "upgrade") ? .upgrade : .other
        case (0x78, 12...): return forwarded(name)
        case (_, _): return .other
        }
    }

    private static func leasehold(_ name: UnsafeRawBufferPointer) -> FieldName {
        guard folded(name, startsWith: "leasehold-") else { return .other }
        if name.isEqual(ignoringCase: "leasehold-tenant") { return .tenant }
        if name.isEqual(ignoringCase: "leasehold-affinity") { return .affinity }
        return name.isEqual(ignoringCase: "leasehold-busy") ? .busy : .leasehold
    }

    private static func forwarded(_ name: UnsafeRawBufferPointer) -> FieldName {
        guard folded(name, startsWith: "x-forwarded-") else { return .other }
        if name.isEqual(ignoringCase: "x-forwarded-for") { return .forwardedFor }
        if name.isEqual(ignoringCase: "x-forwarded-host") { return .forwardedHost }
        return name.isEqual(ignoringCase: "x-forwarded-proto") ? .forwardedProto : .forwardedOther
    }

    private static func folded(_ name: UnsafeRawBufferPointer, startsWith prefix: StaticString) -> Bool {
        guard name.count >= prefix.utf8CodeUnitCount else { return false }
        for i in 0..<prefix.utf8CodeUnitCount {
            let byte = name[i] == 0x5f ? UInt8.hyphen : name[i].lowercased
            guard byte == prefix.utf8Start[i] else { return false }
        }
        return true
    }
}

extension FieldName {
    /// Whether the field ends at this hop and is written anew (RFC 9110 §7.6.1).
    var isHopByHop: Bool {
        switch self {
        case .connection, .keepAlive, .proxyConnection, .te, .transferEncoding, .upgrade, .http2Settings: true
        case .other, .host, .contentLength, .expect, .prefer, .priority, .forwarded, .forwardedFor, .forwardedHost, .forwardedProto,
            .forwardedOther, .tenant, .affinity, .traceparent, .busy, .leasehold:
            false
        }
    }

    /// Whether a `Connection` field may not name it: removing it would change where a message goes, where it
    /// ends, or what is believed about its caller.
    var isProtected: Bool {
        switch self {
        case .host, .contentLength, .transferEncoding, .forwarded, .forwardedFor, .forwardedHost, .forwardedProto, .forwardedOther,
            .tenant, .affinity, .busy, .leasehold:
            true
        case .other, .connection, .keepAlive, .proxyConnection, .te, .upgrade, .http2Settings, .expect, .prefer, .priority, .traceparent: false
        }
    }

    /// Whether a trailer section may carry a field of this name (RFC 9110 §6.5.1): nothing that frames, routes,
    /// authenticates or describes the content.
    static func isAllowedInTrailers(_ name: UnsafeRawBufferPointer) -> Bool {
        guard FieldName(name) == .other || FieldName(name) == .traceparent, !name.starts(ignoringCase: "proxy-") else { return false }
        switch name.count {
        case 5: return !name.isEqual(ignoringCase: "range")
        case 6: return !name.isEqual(ignoringCase: "cookie")
        case 7: return !name.isEqual(ignoringCase: "trailer")
        case 10: return !name.isEqual(ignoringCase: "set-cookie")
        case 12: return !(name.isEqual(ignoringCase: "content-type") || name.isEqual(ignoringCase: "max-forwards"))
        case 13:
            return
                !(name.isEqual(ignoringCase: "authorization") || name.isEqual(ignoringCase: "content-range")
                || name.isEqual(ignoringCase: "cache-control"))
        case 16: return !(name.isEqual(ignoringCase: "content-encoding") || name.isEqual(ignoringCase: "www-authenticate"))
        default: return true
        }
    }
}
