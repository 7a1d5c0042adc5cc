import Model

/// What is believed of a caller's own words about itself.
public struct Believed: OptionSet, Hashable, Sendable, BitwiseCopyable {
    public var rawValue: UInt8
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `Leasehold-Tenant`.
    public static let tenant = Believed(rawValue: 1)
    /// `Leasehold-Affinity`.
    public static let affinity = Believed(rawValue: 2)
    /// `Priority` as it stands. Without it only a lower urgency than the standard one counts.
    public static let priority = Believed(rawValue: 4)
    /// `Forwarded` and `X-Forwarded-*` are kept and added to. Without it they are replaced.
    public static let forwarded = Believed(rawValue: 8)

    /// What anybody is believed.
    public static let anybody: Believed = [.affinity]
    public static let everything: Believed = [.tenant, .affinity, .priority, .forwarded]
}

/// `trust: { from: [CIDR], headers: […] }` of one listener.
public struct TrustRules: Sendable {
    /// Peers inside one of these are trusted.
    public var from: [IPNetwork]
    /// Whether peers of a Unix-domain listener, which have no address, are trusted.
    public var trustsUnix: Bool
    /// What trusted peers are believed, in addition to what anybody is.
    public var headers: Believed

    /// Trusts nobody.
    public init() { self.init(from: []) }

    public init(from: [IPNetwork], trustsUnix: Bool = false, headers: Believed = .everything) {
        self.from = from
        self.trustsUnix = trustsUnix
        self.headers = headers
    }

    /// Whether PROXY headers, too, are taken from this peer; nil stands for a Unix-domain peer. Linear in ``from``.
    public func trusts(_ peer: SocketAddress?) -> Bool {
        guard let peer else { return trustsUnix }
        for block in from where block.contains(peer) { return true }
        return false
    }

    /// The peer of a connection with what it is believed: worked out once per connection, and once more for the
    /// source of its PROXY header, because who is trusted to forward connections has not written their heads.
    public func peer(_ address: SocketAddress?) -> Peer {
        Peer(address: address, believed: trusts(address) ? headers.union(.anybody) : .anybody)
    }
}

/// The other end of a caller's connection.
public struct Peer: Hashable, Sendable {
    /// Nil for a Unix-domain socket.
    public var address: SocketAddress?
    public var believed: Believed

    /// An IPv4-mapped IPv6 address is kept as the IPv4 address that it is.
    public init(address: SocketAddress?, believed: Believed) {
        self.address = address?.unmapped
        self.believed = believed
    }
}
