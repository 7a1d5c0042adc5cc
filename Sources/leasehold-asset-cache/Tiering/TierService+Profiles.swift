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

    /// The versions that the store behind has, and what it calls them. Throws `serviceUnavailable`.
    private func versions(_ tenant: String, _ name: String) async throws -> [Int64: String] {
        counters.lists.add()
        let prefix = client.place.key(of: Self.directory(tenant, name))
        let page = try await asking { try await client.list(prefix: prefix, most: Self.mostVersions) }
        var versions: [Int64: String] = [:]
        for row in page.rows {
            guard let version = Int64(String(decoding: row.key.dropFirst(prefix.count), as: UTF8.self)) else { continue }
            versions[version] = row.etag
        }
        return versions
    }

    /// Brings a version of a profile here, the newest where none is named, and forgets copies of those that are gone behind. Returns the
    /// versions behind, oldest first and without those that are to be removed there; nil while it is away: what is here serves then.
    @discardableResult
    func bringProfile(_ tenant: String, _ name: String, version wanted: Int64? = nil) async throws -> [Int64]? {
        // Looked at before and after: a version that gets there meanwhile is not in the answer, one that is removed there meanwhile is.
        let early = try await blocking { [store] in try store.sharedVersions(tenant, name) }
        let listed: [Int64: String]
        do { listed = try await versions(tenant, name) } catch let error as S3Error where error.code == .serviceUnavailable { return nil }
        for (version, copy) in early.copies where listed[version] != copy.backing {
            let name = Self.name(tenant, name, version)
            _ = try await blocking { [store] in try store.dropCopy(name, id: copy.id) { true } }
        }
        let (here, late) = try await blocking { [store] in
            (try store.profiles(tenant, name).map(\.version), try store.sharedVersions(tenant, name))
        }
        let behind = listed.keys.filter { !early.removed.contains($0) && !late.removed.contains($0) }.sorted()
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
