import Model

/// A CIDR block (RFC 4632, RFC 4291 §2.3).
public struct AddressBlock: Hashable, Sendable {
    private let family: SocketAddress.Family
    private let high: UInt64
    private let low: UInt64
    private let highMask: UInt64
    private let lowMask: UInt64

    /// Nil when `prefix` is longer than the family's addresses or the address has bits behind the prefix.
    public init?(_ address: SocketAddress, prefix: Int) {
        family = address.family
        switch address.family {
        case .v4:
            guard (0...32).contains(prefix) else { return nil }
            (highMask, lowMask) = (0, UInt64(UInt32.max << UInt32(32 - prefix)))
        case .v6:
            guard (0...128).contains(prefix) else { return nil }
            highMask = prefix == 0 ? 0 : UInt64.max << UInt64(max(0, 64 - prefix))
            lowMask = prefix <= 64 ? 0 : UInt64.max << UInt64(128 - prefix)
        }
        (high, low) = (address.high & highMask, address.low & lowMask)
        guard high == address.high, low == address.low else { return nil }
    }

    /// An IPv4-mapped IPv6 address counts as the IPv4 address that it is.
    public func contains(_ address: SocketAddress) -> Bool {
        let address = address.unmapped
        return address.family == family && address.high & highMask == high && address.low & lowMask == low
    }
}

extension AddressBlock {
    /// `10.0.0.0/8`, `2001:db8::/32`, or a single address; nil for anything else, also when bits behind the
    /// prefix are set.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let ip = parts.first, let address = SocketAddress(ip: ip, port: 0) else { return nil }
        let most = address.family == .v4 ? 32 : 128
        guard parts.count == 2 else {
            self.init(address, prefix: most)
            return
        }
        guard parts[1].utf8.allSatisfy(\.isDigit), let prefix = Int(parts[1]) else { return nil }
        self.init(address, prefix: prefix)
    }
}

extension SocketAddress {
    /// The IPv4 address inside an IPv4-mapped IPv6 one (`::ffff:a.b.c.d`), which a dual-stack listener sees.
    var unmapped: SocketAddress {
        guard family == .v6, high == 0, low >> 32 == 0xffff else { return self }
        return SocketAddress(v4: UInt32(truncatingIfNeeded: low), port: port)
    }
}
