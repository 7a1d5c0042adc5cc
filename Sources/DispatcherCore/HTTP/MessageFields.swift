/// The connection options that are known by name.
struct ConnectionOptions: OptionSet, BitwiseCopyable {
    var rawValue: UInt8
    static let close = ConnectionOptions(rawValue: 1)
    static let keepAlive = ConnectionOptions(rawValue: 2)
    static let upgrade = ConnectionOptions(rawValue: 4)
    /// Names other fields, which end here.
    static let nominates = ConnectionOptions(rawValue: 8)
}

/// What the fields say about framing and the connection, in requests and responses alike (RFC 9112 §6, §9).
struct MessageFields: BitwiseCopyable {
    let version: HTTPVersion
    var options: ConnectionOptions = []
    var hasUpgrade = false
    private(set) var contentLength: UInt64?
    private(set) var isChunked = false

    init(version: HTTPVersion) { self.version = version }

    /// A second length is refused even when it is the same: RFC 9110 §8.6 allows it, and nobody honest sends it.
    mutating func readContentLength(_ value: UnsafeRawBufferPointer) -> Bool {
        guard contentLength == nil, let length = value.decimal(), length <= HTTPLimits.bodyBytes else { return false }
        contentLength = length
        return true
    }

    /// `chunked`, once and alone, and not in HTTP/1.0 (RFC 9112 §6.1).
    mutating func readTransferEncoding(_ value: UnsafeRawBufferPointer) -> Bool {
        guard !isChunked, version == .v11, value.isEqual(ignoringCase: "chunked") else { return false }
        isChunked = true
        return true
    }

    mutating func readConnection(_ value: UnsafeRawBufferPointer) -> Bool {
        var elements = ListElements(value)
        while let option = elements.next() {
            guard option.allSatisfy(\.isToken) else { return false }
            switch FieldName(option) {
            case .keepAlive: options.insert(.keepAlive)
            case .upgrade: options.insert(.upgrade)
            case .te, .connection, .proxyConnection, .http2Settings: break
            case .host, .contentLength, .transferEncoding, .forwarded, .forwardedFor, .forwardedHost, .forwardedProto, .forwardedOther,
                .tenant, .affinity, .busy, .leasehold:
                return false
            case .other, .expect, .prefer, .priority, .traceparent:
                options.insert(option.isEqual(ignoringCase: "close") ? .close : .nominates)
            }
        }
        return true
    }

    /// Marks the fields that `Connection` names. False when it names too many, or one that it may not.
    func nominate(_ fields: inout FieldTable, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard options.contains(.nominates) else { return true }
        var nominations = 0
        for index in 0..<fields.count where fields[index].name == .connection {
            var elements = ListElements(fields.value(index, of: bytes))
            while let option = elements.next() {
                let name = FieldName(option)
                if name.isHopByHop || option.isEqual(ignoringCase: "close") { continue }
                nominations += 1
                guard nominations <= HTTPLimits.nominations else { return false }
                for other in 0..<fields.count where fields.name(other, of: bytes).isEqual(ignoringCase: option) {
                    // A listener's own name for the tenant is protected as ours is.
                    guard !fields[other].name.isProtected else { return false }
                    fields.nominate(other)
                }
            }
        }
        return true
    }

    var keepsAlive: Bool { !options.contains(.close) && (version == .v11 || options.contains(.keepAlive)) }

    /// Nil when both lengths are there.
    var requestFraming: BodyFraming? {
        if isChunked { return contentLength == nil ? .chunked : nil }
        return contentLength.map { .length($0) } ?? BodyFraming.none
    }

    /// The same for a response that has a body, if its fields say where it ends.
    var responseFraming: BodyFraming? {
        guard let framing = requestFraming else { return nil }
        return framing == .none ? .untilClose : framing
    }
}
