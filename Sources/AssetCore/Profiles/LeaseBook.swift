import Model

/// Which leases are live, and whose, as the pool-keeper last said. A lease's token is a name, not a right: what is asked for in its name is
/// asked here.
public struct LeaseBook: Sendable {
    public struct Lease: Hashable, Sendable {
        public var pool: PoolID
        /// Empty is the default tenant.
        public var tenant: String

        public init(pool: PoolID, tenant: String) {
            self.pool = pool
            self.tenant = tenant
        }
    }

    private var live: [LeaseID: Lease] = [:]
    /// A snapshot that is not complete yet.
    private var coming: [LeaseID: Lease]?
    /// One was, and the link is up: what is not here is not live.
    public private(set) var isCurrent = false

    public init() {}

    public mutating func snapshotBegan() { coming = [:] }

    public mutating func snapshotEnded() {
        guard let whole = coming else { return }
        (live, coming, isCurrent) = (whole, nil, true)
    }

    public mutating func began(_ id: LeaseID, _ lease: Lease) {
        if coming != nil { coming?[id] = lease } else { live[id] = lease }
    }

    public mutating func ended(_ id: LeaseID) {
        coming?[id] = nil
        live[id] = nil
    }

    /// Nobody tells any more: what was live may have ended.
    public mutating func linkLost() { (isCurrent, coming) = (false, nil) }

    public subscript(_ id: LeaseID) -> Lease? { live[id] }
    public var count: Int { live.count }
}

/// A lease as a worker is told it: `POOL/EPOCH.COUNTER`.
public struct LeaseName: Hashable, Sendable {
    public var pool: String
    public var id: LeaseID

    public init?(_ text: String) {
        guard let slash = text.lastIndex(of: "/"), let id = LeaseID(String(text[text.index(after: slash)...])) else { return nil }
        pool = String(text[..<slash])
        guard !pool.isEmpty, pool.utf8.count <= 128 else { return nil }
        self.id = id
    }

    public var text: String { "\(pool)/\(id)" }
}

/// Whether a profile may be written (or removed) in the name of a lease.
public enum ProfileRule {
    public enum Answer: Hashable, Sendable {
        case accepted
        /// 403: no such lease is live for that tenant.
        case notLive
        /// 409: a newer lease has written since.
        case older
        /// 503: nobody knows now which leases are live.
        case unknown
    }

    /// The name that stands for the default tenant in paths.
    public static let defaultTenant = "default"

    /// - Parameter last: the lease that wrote last. Tokens compare within one pool only.
    public static func judge(_ name: LeaseName, tenant: String, last: LeaseName?, book: LeaseBook) -> Answer {
        if let last, last.pool == name.pool, name.id < last.id { return .older }
        guard book.isCurrent else { return .unknown }
        guard let live = book[name.id], live.pool == PoolID(name: name.pool),
            live.tenant == tenant || (live.tenant.isEmpty && tenant == defaultTenant)
        else { return .notLive }
        return .accepted
    }

    /// 1 to 128 bytes of printable ASCII without what means something in paths.
    public static func isName(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && text != "." && text != ".."
            && text.utf8.allSatisfy { (0x21...0x7e).contains($0) && !"/%?#\\\"".utf8.contains($0) }
    }
}
