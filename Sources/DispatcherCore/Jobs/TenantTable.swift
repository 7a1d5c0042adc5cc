import Model

/// The tenants that a pool knows, found by the bytes of a name without a copy of it.
public struct TenantTable: Sendable {
    /// By name.
    private let tenants: [(name: [UInt8], names: JobRequest.Names)]

    /// `default` is no row: a job of it has no name.
    public init(_ names: [String]) {
        tenants = names.filter { $0 != PoolPolicy.Tenant.standard.name }.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
            .map { (Array($0.utf8), JobRequest.Names(tenant: $0)) }
    }

    /// Nil for a tenant that the pool does not know, which is the default one. O(log n).
    public func find(_ name: UnsafeRawBufferPointer) -> JobRequest.Names? {
        var low = 0
        var high = tenants.count
        while low < high {
            let middle = (low + high) / 2
            let row = tenants[middle].name
            if row.elementsEqual(name) { return tenants[middle].names }
            if row.lexicographicallyPrecedes(name) { low = middle + 1 } else { high = middle }
        }
        return nil
    }

    /// The name behind a number; empty for the default tenant, and for one that the pool does not know any more. O(n).
    public func name(of tenant: TenantID) -> String {
        tenants.first { TenantID(name: $0.names.tenant) == tenant }?.names.tenant ?? ""
    }

    public func find(_ name: String) -> JobRequest.Names? {
        var name = name
        return name.withUTF8 { find(UnsafeRawBufferPointer($0)) }
    }
}
