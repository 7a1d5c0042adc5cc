/// An IP address with a port: plain bits, no heap, comparable and printable.
public struct SocketAddress: Hashable, Sendable, Comparable {
    public enum Family: UInt8, Sendable { case v4 = 4, v6 = 6 }

    // The widest first: 24 bytes in an array, and no more where it is optional.
    /// Network order read as numbers; an IPv4 address sits in the low 32 bits of `low`.
    public var high: UInt64
    public var low: UInt64
    public var port: UInt16
    public var family: Family

    @inlinable public init(family: Family, high: UInt64, low: UInt64, port: UInt16) {
        self.family = family
        self.high = high
        self.low = low
        self.port = port
    }

    @inlinable public init(v4: UInt32, port: UInt16) { self.init(family: .v4, high: 0, low: UInt64(v4), port: port) }

    public static func loopback(port: UInt16) -> SocketAddress { SocketAddress(v4: 0x7f00_0001, port: port) }

    /// Whether both are ports of one IP address.
    public func isOnHost(of other: SocketAddress) -> Bool { family == other.family && high == other.high && low == other.low }

    public static func < (a: SocketAddress, b: SocketAddress) -> Bool {
        (a.family.rawValue, a.high, a.low, a.port) < (b.family.rawValue, b.high, b.low, b.port)
    }
}

extension SocketAddress {
    /// A literal IPv4 or IPv6 address (RFC 4291 §2.2, no zone); nil for anything else, names included.
    public init?(ip text: some StringProtocol, port: UInt16) {
        let bytes = Array(text.utf8)
        if bytes.contains(UInt8(ascii: ":")) {
            guard let (high, low) = Self.parseV6(bytes) else { return nil }
            self.init(family: .v6, high: high, low: low, port: port)
        } else {
            guard let v4 = Self.parseV4(bytes[...]) else { return nil }
            self.init(v4: v4, port: port)
        }
    }

    /// `1.2.3.4:80` or `[::1]:80`.
    public init?(_ text: some StringProtocol) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
        var host = text[..<colon]
        if host.first == "[" {
            guard host.last == "]" else { return nil }
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        self.init(ip: host, port: port)
    }

    private static func parseV4(_ bytes: ArraySlice<UInt8>) -> UInt32? {
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0") else { return nil }
            var octet: UInt32 = 0
            for byte in part {
                guard (0x30...0x39).contains(byte) else { return nil }
                octet = octet * 10 + UInt32(byte - 0x30)
            }
            guard octet < 256 else { return nil }
            value = value << 8 | octet
        }
        return value
    }

    private static func parseV6(_ bytes: [UInt8]) -> (UInt64, UInt64)? {
        var groups: [UInt16] = []
        var gap: Int?
        var i = 0
        if bytes.starts(with: [0x3a, 0x3a]) {
            gap = 0
            i = 2
        }
        while i < bytes.count {
            let end = bytes[i...].firstIndex(of: 0x3a) ?? bytes.count
            let part = bytes[i..<end]
            if part.contains(UInt8(ascii: ".")) {
                guard end == bytes.count, let v4 = parseV4(part) else { return nil }
                groups += [UInt16(v4 >> 16), UInt16(v4 & 0xffff)]
                i = end
                break
            }
            guard (1...4).contains(part.count) else { return nil }
            var group: UInt16 = 0
            for byte in part {
                guard let nibble = byte.hexNibble else { return nil }
                group = group << 4 | UInt16(nibble)
            }
            groups.append(group)
            i = end
            if i == bytes.count { break }
            i += 1
            if i < bytes.count, bytes[i] == 0x3a {
                guard gap == nil else { return nil }
                gap = groups.count
                i += 1
            } else if i == bytes.count {
                return nil
            }
        }
        if let gap {
            guard groups.count < 8 else { return nil }
            groups.insert(contentsOf: [UInt16](repeating: 0, count: 8 - groups.count), at: gap)
        }
        guard groups.count == 8 else { return nil }
        let high = groups[..<4].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
        let low = groups[4...].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
        return (high, low)
    }
}

extension SocketAddress: CustomStringConvertible {
    /// `10.0.0.1:8080` or `[2001:db8::1]:8080` (RFC 5952).
    public var description: String { family == .v4 ? "\(ip):\(port)" : "[\(ip)]:\(port)" }

    /// The address without the port.
    public var ip: String {
        switch family {
        case .v4:
            return "\(low >> 24 & 255).\(low >> 16 & 255).\(low >> 8 & 255).\(low & 255)"
        case .v6:
            let groups: [UInt16] = (0..<8).map { (i: Int) -> UInt16 in
                let word: UInt64 = i < 4 ? high : low
                return UInt16(truncatingIfNeeded: word >> UInt64(48 - (i & 3) * 16))
            }
            var best = 0..<0
            var start = 0
            while start < 8 {
                var end = start
                while end < 8, groups[end] == 0 { end += 1 }
                if end - start > best.count { best = start..<end }
                start = max(end, start) + 1
            }
            func hex(_ part: ArraySlice<UInt16>) -> String { part.map { String($0, radix: 16) }.joined(separator: ":") }
            return best.count < 2 ? hex(groups[...]) : hex(groups[..<best.lowerBound]) + "::" + hex(groups[best.upperBound...])
        }
    }

    /// 127.0.0.0/8 or ::1.
    public var isLoopback: Bool {
        switch family {
        case .v4: low >> 24 == 127
        case .v6: high == 0 && low == 1
        }
    }
}
