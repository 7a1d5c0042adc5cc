/// A block of IP addresses in CIDR notation (RFC 4632): `10.0.0.0/8`, `2001:db8::/32`; a bare address is a block of one.
public struct IPNetwork: Hashable, Sendable {
    /// The first address of the block; its port is 0 and its host bits are clear.
    public var base: SocketAddress
    /// Leading bits that count: 0…32 for IPv4, 0…128 for IPv6.
    public var prefixLength: UInt8

    /// Nil for anything that is not an address with an optional prefix length, and for set host bits (`10.0.0.1/8`),
    /// which are a slip more often than an intention.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let base = SocketAddress(ip: first, port: 0) else { return nil }
        let most: UInt8 = base.family == .v4 ? 32 : 128
        var length = most
        if parts.count == 2 {
            guard !parts[1].isEmpty, parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let given = UInt8(parts[1]), given <= most
            else { return nil }
            length = given
        }
        self.base = base
        self.prefixLength = length
        guard Self.masked(base, to: length) == base else { return nil }
    }

    /// Whether the address lies in the block, whatever its port. An IPv4-mapped IPv6 address
    /// (`::ffff:10.0.0.1`, RFC 4291 §2.5.5.2), as a dual-stack listener sees IPv4 callers, counts as IPv4.
    public func contains(_ address: SocketAddress) -> Bool {
        var address = base.family == .v4 ? address.unmapped : address
        guard address.family == base.family else { return false }
        address.port = 0
        return Self.masked(address, to: prefixLength) == base
    }

    /// Swift's `<<` on fixed-width integers yields 0 for shifts past the width, which is what a prefix of 0 needs.
    private static func masked(_ address: SocketAddress, to length: UInt8) -> SocketAddress {
        var result = address
        switch address.family {
        case .v4:
            result.low &= (UInt64.max << UInt64(32 - min(length, 32))) & 0xffff_ffff
        case .v6:
            result.high &= length == 0 ? 0 : UInt64.max << UInt64(64 - min(length, 64))
            result.low &= length <= 64 ? 0 : UInt64.max << UInt64(128 - min(length, 128))
        }
        return result
    }
}

extension IPNetwork: CustomStringConvertible {
    public var description: String { "\(base.ip)/\(prefixLength)" }
}

extension SocketAddress {
    /// The IPv4 address inside an IPv4-mapped IPv6 one (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2), which a dual-stack listener sees;
    /// any other address as it is.
    public var unmapped: SocketAddress {
        guard family == .v6, high == 0, low >> 32 == 0xffff else { return self }
        return SocketAddress(v4: UInt32(truncatingIfNeeded: low), port: port)
    }
}
