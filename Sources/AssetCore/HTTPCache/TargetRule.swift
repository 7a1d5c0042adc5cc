import Model

/// Which origins may be asked: by host, then by every address that the host has.
///
/// The pages that the workers render are hostile, and this process stands in a network that they should not reach.
public struct TargetRule: Hashable, Sendable {
    /// `*`, `example.org`, or `*.example.org` (one label or more); in lower case.
    public var allowHosts: [String]
    /// Addresses with ports that may be reached although they are private.
    public var allowPrivate: Set<SocketAddress>
    /// Where this process listens, wildcards as the addresses that they stand for.
    public var own: Set<SocketAddress>
    /// Ports that CONNECT may lead to.
    public var connectPorts: Set<UInt16>

    public init(allowHosts: [String], allowPrivate: Set<SocketAddress>, own: Set<SocketAddress> = [], connectPorts: Set<UInt16> = [443]) {
        self.allowHosts = allowHosts
        self.allowPrivate = allowPrivate
        self.own = own
        self.connectPorts = connectPorts
    }

    public enum Refusal: String, Hashable, Sendable, CaseIterable {
        /// The name is not on the operator's list.
        case host
        /// One of its addresses is not of the public internet.
        case isPrivate = "private"
        /// It is this process itself.
        case own
        /// CONNECT to a port that is not on the list.
        case port
        /// The name has no address.
        case unresolved
    }

    public func judge(host: String) -> Refusal? {
        for pattern in allowHosts {
            if pattern == "*" || pattern == host { return nil }
            if pattern.hasPrefix("*."), host.hasSuffix(pattern.dropFirst()), host.utf8.count > pattern.utf8.count - 1 { return nil }
        }
        return .host
    }

    /// All of them must pass: one private address among public ones is how a name is rebound.
    public func judge(_ addresses: [SocketAddress]) -> Refusal? {
        guard !addresses.isEmpty else { return .unresolved }
        for address in addresses {
            let inner = address.withoutTranslation
            if own.contains(address) || inner.map({ own.contains($0) }) ?? false { return .own }
            if allowPrivate.contains(address) || inner.map({ allowPrivate.contains($0) }) ?? false { continue }
            guard let inner, inner.isPublic else { return .isPrivate }
        }
        return nil
    }
}

extension SocketAddress {
    /// The IPv4 address inside a mapped (RFC 4291), compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056) one; any other as it is. Nil where what
    /// is inside cannot be told: NAT64 prefixes of a site's own (RFC 8215), Teredo (RFC 4380).
    var withoutTranslation: SocketAddress? {
        guard family == .v6 else { return self }
        func inner(_ bits: UInt64) -> SocketAddress { SocketAddress(v4: UInt32(truncatingIfNeeded: bits), port: port) }
        if high == 0, low >> 32 == 0xffff { return inner(low) }
        if high == 0, low >> 32 == 0, low > 1 { return inner(low) }
        if high == 0x0064_ff9b_0000_0000, low >> 32 == 0 { return inner(low) }
        if high >> 16 == 0x0064_ff9b_0001 { return nil }
        if high >> 48 == 0x2002 { return inner(high >> 16) }
        if high >> 32 == 0x2001_0000 { return nil }
        return self
    }

    /// Of the public internet: not one of the special blocks of RFC 6890 and its registries. Only without translation.
    var isPublic: Bool {
        switch family {
        case .v4: return !Self.special.contains { $0.contains(self) }
        case .v6:
            // What is not 2000::/3 is not given to anybody: loopback, fc00::/7, fe80::/10, multicast and all the rest.
            return high >> 61 == 1 && !Self.special.contains { $0.contains(self) }
        }
    }

    private static let special = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20",
    ].compactMap { IPNetwork($0) }
}
