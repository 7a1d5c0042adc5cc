import AssetCore
import Foundation

/// Profiles that nodes share: each version is an object behind, `.profiles/TENANT/NAME/VERSION`, written once.
extension TierService {
    private static func directory(_ tenant: String, _ name: String) -> BackedName {
        BackedName(bucket: Store.profileBucket.name, key: Array("\(tenant)/\(name)/".utf8))
    }

    static func name(_ tenant: String, _ name: String, _ version: Int64) -> BackedName {
        BackedName(bucket: Store.profileBucket.name, key: Store.profileKey(tenant, name, version).bytes)
    }

    /// Versions at most that are looked at.
    private static let mostVersions = 1_000

    /// The versions that the store behind has, oldest first. Throws `serviceUnavailable`.
    func versions(_ tenant: String, _ name: String) async throws -> [Int64] {
        counters.lists.add()
        let prefix = client.place.key(of: Self.directory(tenant, name))
        let page = try await asking { try await client.list(prefix: prefix, most: Self.mostVersions) }
        return page.rows.compactMap { Int64(String(decoding: $0.key.dropFirst(prefix.count), as: UTF8.self)) }.sorted()
    }

    /// Brings a version of a profile here, the newest where none is named, and forgets copies of those that are gone behind. Returns the
    /// versions behind; nil while it is away: what is here serves then.
    @discardableResult
    func bringProfile(_ tenant: String, _ name: String, version wanted: Int64? = nil) async throws -> [Int64]? {
        let behind: [Int64]
        do { behind = try await versions(tenant, name) } catch let error as S3Error where error.code == .serviceUnavailable { return nil }
        let here = try await blocking { [store] in try store.profiles(tenant, name).map(\.version) }
        for gone in Set(here).subtracting(behind) {
            let name = Self.name(tenant, name, gone)
            _ = try await blocking { [store] in
                // What is only here is on its way there.
                guard case .copy = try store.here(name).here else { return false }
                return try store.dropCopy(name) { true }
            }
        }
        guard let target = wanted ?? behind.last, behind.contains(target), !here.contains(target) else { return behind }
        _ = try await read(Self.name(tenant, name, target), .whole)
        return behind
    }

    /// All versions, as far as they can be known now: of those that are only behind, what is known of them.
    func history(_ tenant: String, _ name: String) async throws -> [ProfileVersion] {
        let behind = try await bringProfile(tenant, name) ?? []
        var all = try await blocking { [store] in try store.profiles(tenant, name) }
        for version in behind where !all.contains(where: { $0.version == version }) {
            let key = client.place.key(of: Self.name(tenant, name, version))
            let found = try await asking { try await client.head(key).flatMap { BackedRecord.profile($0.fields) } }
            if let found { all.append(found) }
        }
        return all.sorted { $0.version < $1.version }
    }

    /// In its turn.
    func turn<T>(_ tenant: String, _ name: String, _ body: () async throws -> T) async throws -> T {
        try await turn(Self.directory(tenant, name), body)
    }

    /// In write-through: the new version, which nobody else may have written meanwhile.
    func put(_ version: ProfileVersion, _ blob: StagedBlob) async throws -> String {
        let name = Self.name(version.tenant, version.name, version.version)
        return try await put(name, BackedRecord.fields(version), BodySource(blob, store, pool), isNew: true)
    }
}
