import Model

/// What a PROXY header (haproxy.org, proxy-protocol.txt, versions 1 and 2) says about a connection.
public struct ProxyHeader: Hashable, Sendable {
    /// Bytes of the header: consume as many.
    public var length: Int
    /// Nil for LOCAL, UNKNOWN, UNSPEC and Unix-domain peers: the connection's own addresses hold.
    public var source: SocketAddress?
    public var destination: SocketAddress?

    public init(length: Int, source: SocketAddress?, destination: SocketAddress?) {
        self.length = length
        self.source = source
        self.destination = destination
    }
}

/// What the bytes at the front of a connection from a PROXY-speaking peer are.
public enum ProxyParse: Hashable, Sendable {
    case needMore
    /// No PROXY header: cut.
    case refused
    case header(ProxyHeader)
}

extension ProxyHeader {
    /// Reads the header at the front of `bytes`, which must be able to hold ``HTTPLimits/proxyHeaderBytes``.
    public static func parse(_ bytes: UnsafeRawBufferPointer) -> ProxyParse {
        guard let first = bytes.first else { return .needMore }
        return first == 0x0d ? parseBinary(bytes) : parseText(bytes)
    }

    /// `PROXY TCP4 SOURCE DESTINATION PORT PORT CRLF`, at most 107 bytes.
    private static func parseText(_ bytes: UnsafeRawBufferPointer) -> ProxyParse {
        let word: StaticString = "PROXY "
        for i in 0..<min(bytes.count, word.utf8CodeUnitCount) where bytes[i] != word.utf8Start[i] { return .refused }
        guard bytes.count > word.utf8CodeUnitCount else { return .needMore }
        let view = bytes.slice(0, min(bytes.count, 107))
        let cr = view.firstIndex(of: .cr) ?? view.count
        guard cr + 2 <= 107, view.slice(0, cr).allSatisfy(\.isLineText) else { return .refused }
        guard cr + 1 < view.count else { return .needMore }
        guard view[cr + 1] == .lf else { return .refused }
        let line = view.slice(word.utf8CodeUnitCount, cr)
        if line.isExactly("UNKNOWN") || line.slice(0, 8).isExactly("UNKNOWN ") {
            return .header(ProxyHeader(length: cr + 2, source: nil, destination: nil))
        }
        let family = line.slice(0, 5)
        let expected: SocketAddress.Family? = family.isExactly("TCP4 ") ? .v4 : family.isExactly("TCP6 ") ? .v6 : nil
        var rest = line.slice(5, line.count)
        guard let expected, let source = takeWord(&rest), let destination = takeWord(&rest), let sourcePort = takeWord(&rest),
            let from = port(sourcePort), let to = port(rest),
            let source = SocketAddress(ip: source, port: from), let destination = SocketAddress(ip: destination, port: to),
            source.family == expected, destination.family == expected
        else { return .refused }
        return .header(ProxyHeader(length: cr + 2, source: source, destination: destination))
    }

    private static func takeWord(_ rest: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard let space = rest.firstIndex(of: .space) else { return nil }
        let word = rest.slice(0, space)
        rest = rest.slice(space + 1, rest.count)
        return word
    }

    private static func port(_ text: UnsafeRawBufferPointer) -> UInt16? {
        guard text.count <= 5, text.count == 1 || text.first != 0x30, let value = text.decimal() else { return nil }
        return UInt16(exactly: value)
    }

    private static func parseBinary(_ bytes: UnsafeRawBufferPointer) -> ProxyParse {
        for i in 0..<min(bytes.count, 12) where bytes[i] != signature.utf8Start[i] { return .refused }
        guard bytes.count >= 16 else {
            if bytes.count > 12, bytes[12] != 0x20, bytes[12] != 0x21 { return .refused }
            return .needMore
        }
        let isLocal = bytes[12] == 0x20
        guard isLocal || bytes[12] == 0x21 else { return .refused }
        let family = bytes[13] >> 4
        let transport = bytes[13] & 15
        let length = 16 + Int(bytes[14]) << 8 + Int(bytes[15])
        guard family < 4, transport < 3, length <= HTTPLimits.proxyHeaderBytes else { return .refused }
        let least = family == 1 ? 12 : family == 2 ? 36 : family == 3 ? 216 : 0
        guard isLocal || length >= 16 + least else { return .refused }
        guard bytes.count >= length else { return .needMore }
        var header = ProxyHeader(length: length, source: nil, destination: nil)
        if !isLocal, transport == 1, family == 1 {
            header.source = SocketAddress(v4: bytes.number(at: 16), port: bytes.number(at: 24))
            header.destination = SocketAddress(v4: bytes.number(at: 20), port: bytes.number(at: 26))
        } else if !isLocal, transport == 1, family == 2 {
            header.source = SocketAddress(family: .v6, high: bytes.number(at: 16), low: bytes.number(at: 24), port: bytes.number(at: 48))
            header.destination = SocketAddress(
                family: .v6, high: bytes.number(at: 32), low: bytes.number(at: 40), port: bytes.number(at: 50))
        }
        return .header(header)
    }

    fileprivate static let signature: StaticString = "\r\n\r\n\0\r\nQUIT\n"
}

/// The type of the TLV that carries a lease's token: the first of the range for custom use (PP2_TYPE_MIN_CUSTOM).
public let proxyLeaseType: UInt8 = 0xe0

extension ByteSink {
    /// A version 2 header. Without a source (a Unix-domain caller) it is one of family UNSPEC.
    ///
    /// - Parameter lease: adds `<pool>/<epoch>.<counter>` as a TLV of type ``proxyLeaseType``.
    public mutating func appendProxyHeader(
        source: SocketAddress?, destination: SocketAddress?, lease: (pool: UnsafeRawBufferPointer, id: LeaseID)? = nil
    ) {
        var value = ByteSink.measuring
        if let lease { value.appendToken(lease) }
        let tlvBytes = lease == nil ? 0 : 3 + value.count
        append(ProxyHeader.signature)
        append(byte: 0x21)
        let source = source?.unmapped
        let destination = destination?.unmapped
        if let source, let destination, source.family == .v4, destination.family == .v4 {
            append(byte: 0x11)
            append(big: UInt16(clamping: 12 + tlvBytes))
            append(big: UInt32(truncatingIfNeeded: source.low))
            append(big: UInt32(truncatingIfNeeded: destination.low))
            append(big: source.port)
            append(big: destination.port)
        } else if let source, let destination {
            append(byte: 0x21)
            append(big: UInt16(clamping: 36 + tlvBytes))
            append(big: source.mapped.high)
            append(big: source.mapped.low)
            append(big: destination.mapped.high)
            append(big: destination.mapped.low)
            append(big: source.port)
            append(big: destination.port)
        } else {
            append(byte: 0x00)
            append(big: UInt16(clamping: tlvBytes))
        }
        if let lease {
            append(byte: proxyLeaseType)
            append(big: UInt16(clamping: value.count))
            appendToken(lease)
        }
    }

    private mutating func appendToken(_ lease: (pool: UnsafeRawBufferPointer, id: LeaseID)) {
        append(lease.pool)
        append(byte: .slash)
        append(lease.id)
    }

    private mutating func append(big value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { append($0) }
    }
}

extension SocketAddress {
    /// As an IPv6 address, IPv4-mapped where needed.
    fileprivate var mapped: SocketAddress {
        family == .v6 ? self : SocketAddress(family: .v6, high: 0, low: 0xffff_0000_0000 | low, port: port)
    }
}

extension UInt8 {
    fileprivate var isLineText: Bool { self &- 0x20 < 0x5f }
}

extension UnsafeRawBufferPointer {
    /// A big-endian number that lies inside the buffer; zero otherwise.
    fileprivate func number<T: FixedWidthInteger>(at offset: Int) -> T {
        guard offset >= 0, offset + MemoryLayout<T>.size <= count else { return 0 }
        var value: T = 0
        for i in 0..<MemoryLayout<T>.size { value = value << 8 | T(truncatingIfNeeded: self[offset + i]) }
        return value
    }
}
