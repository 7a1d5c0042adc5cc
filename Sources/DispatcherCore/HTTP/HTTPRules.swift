/// What one HTTP listener allows and shows: made once per configuration, shared by its threads.
public final class HTTPRules: Sendable {
    public let trust: TrustRules
    public let expose: Exposure
    /// Lower-case tokens (`protocol-name["/"protocol-version]`) that may be upgraded to. Never h2c.
    let upgrades: [[UInt8]]
    /// The tenant's field, in lower case; empty where it is `Leasehold-Tenant`.
    let tenantHeader: [UInt8]

    /// `upgrades` in any case; h2c is left out, since a tunnel of it would carry many jobs on one lease. `tenantHeader` is a field name
    /// that means nothing else here; `Leasehold-Tenant` counts only where it is that one.
    public init(
        upgrades: [String] = ["websocket"], trust: TrustRules = TrustRules(), expose: Exposure = .standard,
        tenantHeader: String = "leasehold-tenant"
    ) {
        let header = Array(tenantHeader.lowercased().utf8)
        self.tenantHeader = header == Array("leasehold-tenant".utf8) ? [] : header
        self.upgrades = upgrades.map { $0.lowercased().utf8 }.map(Array.init).filter { $0 != Array("h2c".utf8) && !$0.isEmpty }
        self.trust = trust
        self.expose = expose
    }

    func allowsUpgrade(to token: UnsafeRawBufferPointer) -> Bool {
        for allowed in upgrades where allowed.count == token.count {
            if allowed.withUnsafeBytes({ token.isEqual(ignoringCase: $0) }) { return true }
        }
        return false
    }
}

/// `expose: […]`: what callers see of a lease.
public struct Exposure: OptionSet, Hashable, Sendable, BitwiseCopyable {
    public var rawValue: UInt8
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `Leasehold-Lease`.
    public static let lease = Exposure(rawValue: 1)
    /// `Server-Timing`.
    public static let timing = Exposure(rawValue: 2)
    /// `Leasehold-Endpoint`.
    public static let endpoint = Exposure(rawValue: 4)

    public static let standard: Exposure = [.lease, .timing]
}
