import AssetCore
import Foundation
import GRDB

/// One version of a profile.
struct ProfileVersion: Codable, Hashable, Sendable {
    var tenant: String
    var name: String
    /// Grows by one with every write.
    var version: Int64
    /// The SHA-256 of its bytes, in hexadecimal.
    var etag: String
    var size: Int64
    /// Milliseconds since 1970.
    var written: Int64
    /// The lease that it was written under, or the key where there was none.
    var lease: String?
    var key: String
    var contentType: String
}

/// Profiles in the store: objects of a hidden bucket that is never evicted. Their key is `TENANT / NAME / VERSION`.
extension Store {
    private static func prefix(_ tenant: String, _ name: String?) -> Data {
        let text = name.map { "\(tenant)/\($0)/" } ?? "\(tenant)/"
        return Data(text.utf8)
    }

    static func profileKey(_ tenant: String, _ name: String, _ version: Int64) -> ObjectKey {
        let digits = String(version)
        let padding = String(repeating: "0", count: 19 - min(19, digits.count))
        return ObjectKey(unchecked: Array("\(tenant)/\(name)/\(padding)\(digits)".utf8))
    }

    private static func key(_ version: ProfileVersion) -> ObjectKey { profileKey(version.tenant, version.name, version.version) }

    /// Oldest first; of one profile, of a tenant, or (an empty tenant) of everybody. At most 10,000.
    func profiles(_ tenant: String, _ name: String?) throws -> [ProfileVersion] {
        try index.read { try profiles(tenant, name, $0) }
    }

    private func profiles(_ tenant: String, _ name: String?, _ db: Database) throws -> [ProfileVersion] {
        let from = tenant.isEmpty ? Data() : Self.prefix(tenant, name)
        return try Data.fetchAll(
            db, sql: "SELECT info FROM object WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT 10000",
            arguments: [Self.profileBucket.id, from, from + Data([0xff])]
        ).compactMap { try? JSONDecoder().decode(ProfileVersion.self, from: $0) }
    }

    /// The object of a version.
    func object(of version: ProfileVersion) throws -> ObjectRecord? {
        try index.read { try existing(Self.key(version), in: Self.profileBucket, $0) }
    }

    /// Versions of one profile that the store behind has as they are here, and those that are to be removed there.
    struct SharedVersions: Sendable {
        /// By version: of which object they are, and what the store behind calls it.
        var copies: [Int64: (id: Int64, backing: String)] = [:]
        var removed: Set<Int64> = []
    }

    func sharedVersions(_ tenant: String, _ name: String) throws -> SharedVersions {
        let from = Self.prefix(tenant, name)
        func version(_ key: Data) -> Int64? { Int64(String(decoding: key.dropFirst(from.count), as: UTF8.self)) }
        return try index.read { db in
            var found = SharedVersions()
            let copies = try Row.fetchAll(
                db, sql: "SELECT key, id, backing FROM object WHERE bucket = ? AND key >= ? AND key < ? AND backing IS NOT NULL",
                arguments: [Self.profileBucket.id, from, from + Data([0xff])])
            for row in copies {
                if let version = version(row[0]) { found.copies[version] = (row[1], row[2]) }
            }
            let removed = try Data.fetchAll(
                db, sql: "SELECT key FROM pending WHERE bucket = ? AND key >= ? AND key < ? AND gone",
                arguments: [Self.profileBucket.name, from, from + Data([0xff])])
            found.removed = Set(removed.compactMap(version))
            return found
        }
    }

    /// What a write would make, nothing changed.
    ///
    /// - Parameter behind: versions that the store behind has, also those that are not here.
    func plannedProfile(
        _ new: ProfileVersion, _ blob: StagedBlob, behind: [Int64], _ check: @escaping (ProfileVersion?) throws -> Void
    ) throws -> ProfileVersion {
        try index.read { db in
            let old = try profiles(new.tenant, new.name, db)
            try check(old.last)
            return Self.version(new, blob, after: Set(old.map(\.version) + behind))
        }
    }

    /// Behind all that are known, wherever: a number stands for one version.
    private static func version(_ new: ProfileVersion, _ blob: StagedBlob, after known: Set<Int64>) -> ProfileVersion {
        var version = new
        version.version = (known.max() ?? 0) + 1
        version.etag = Hex.encode(blob.segment.hash.bytes)
        version.size = blob.segment.size
        return version
    }

    /// Stores a new version and forgets those beyond `keeping`. `check` sees what is there, within the same transaction.
    ///
    /// - Parameters:
    ///   - backed: the version that the store behind has already, and what it calls it.
    ///   - behind: versions that the store behind has, also those that are not here.
    func putProfile(
        _ new: ProfileVersion, _ blob: StagedBlob, keeping: Int, backed: (version: Int64, etag: String)? = nil, behind: [Int64] = [],
        _ check: @escaping (ProfileVersion?) throws -> Void
    ) throws -> ProfileVersion {
        try checkRoom(for: blob.segment.size, in: nil)
        let stored = try index.write { [self] db, batch in
            let old = try profiles(new.tenant, new.name, db)
            try check(old.last)
            let known = Set(old.map(\.version) + behind)
            let version = Self.version(new, blob, after: known)
            if let backed, backed.version != version.version { throw S3Error(.operationAborted) }
            try publish(blob, db, &batch)
            var record = NewObject(
                key: Self.key(version), size: blob.segment.size, etag: version.etag, modified: Timestamp(milliseconds: version.written),
                info: try JSONEncoder().encode(version), segments: blob.segment.size > 0 ? [blob.segment] : [])
            record.backing = backed?.etag
            _ = try insert(record, in: Self.profileBucket, db, &batch)
            for gone in known.sorted().dropLast(keeping - 1) {
                try removeShared(Self.profileKey(new.tenant, new.name, gone), in: Self.profileBucket, isBackedGone: false, db, &batch)
            }
            return version
        }
        try keepBound()
        return stored
    }

    /// All versions. Returns how many there were.
    func removeProfile(
        _ tenant: String, _ name: String, behind: [Int64] = [], _ check: @escaping (ProfileVersion?) throws -> Void
    ) throws -> Int {
        try index.write { [self] db, batch in
            let old = try profiles(tenant, name, db)
            try check(old.last)
            let all = Set(old.map(\.version) + behind)
            for version in all { try removeShared(Self.profileKey(tenant, name, version), in: Self.profileBucket, isBackedGone: false, db, &batch) }
            return all.count
        }
    }
}
