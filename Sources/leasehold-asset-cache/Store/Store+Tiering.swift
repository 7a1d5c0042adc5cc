import AssetCore
import Foundation
import GRDB
import ServiceKit
import Synchronization

/// Who is told of what the store behind is still to get, and the numbers of these writes.
final class Pendings: Sendable {
    private let last = Atomic<Int64>(0)
    private let listener = Mutex<(@Sendable (BackedName, Int64) -> Void)?>(nil)

    func begin(after generation: Int64) { last.store(generation, ordering: .relaxed) }

    /// By the index's writer alone.
    func next() -> Int64 { last.add(1, ordering: .relaxed).newValue }

    func listen(_ new: @escaping @Sendable (BackedName, Int64) -> Void) { listener.withLock { $0 = new } }

    func tell(_ name: BackedName, _ generation: Int64) { listener.withLock { $0 }?(name, generation) }
}

/// What the store behind got before the index is told of it.
struct Backed: Sendable {
    /// As it calls it.
    var etag: String
    var modified: Timestamp
    /// The bytes that it got.
    var segments: [Segment]

    /// The index may have something else by now.
    func check(_ now: [Segment]) throws(S3Error) {
        guard now == segments else { throw S3Error(.operationAborted) }
    }
}

/// The store behind, as the index knows it: what it has (`object.backing`), and what it is still to get (`pending`).
extension Store {
    // MARK: The queue on disk

    /// In write-back the queue has everything that the store behind does not: also what was written before there was one.
    func restorePending() throws {
        try index.write { [self] db, _ in
            let last = try Int64.fetchOne(db, sql: "SELECT MAX(generation) FROM pending") ?? 0
            pendings.begin(after: last)
            guard mode == .writeBack else { return }
            try db.execute(
                sql: """
                    INSERT OR IGNORE INTO pending(bucket, key, generation, gone)
                        SELECT name, X'', 0, 0 FROM bucket WHERE backed = 0;
                    INSERT OR IGNORE INTO pending(bucket, key, generation, gone)
                        SELECT bucket.name, object.key, 0, 0 FROM object JOIN bucket ON bucket.id = object.bucket WHERE object.backing IS NULL;
                    INSERT OR IGNORE INTO pending(bucket, key, generation, gone)
                        SELECT '\(Self.profileBucket.name)', key, 0, 0 FROM object WHERE bucket = \(Self.profileBucket.id) AND backing IS NULL;
                    """)
        }
    }

    /// Oldest first.
    func pending() throws -> [(name: BackedName, generation: Int64)] {
        try index.read { db in
            try Row.fetchAll(db, sql: "SELECT bucket, key, generation FROM pending ORDER BY generation").map {
                (BackedName(bucket: $0[0], key: Array($0[1] as Data)), $0[2])
            }
        }
    }

    /// Within the transaction that makes it so: the store behind is to get, or to lose, that name.
    func markPending(_ name: BackedName, isGone: Bool, _ db: Database, _ batch: inout Index.Batch) throws {
        let generation = pendings.next()
        try db.cachedStatement(sql: "INSERT OR REPLACE INTO pending(bucket, key, generation, gone) VALUES (?, ?, ?, ?)").execute(
            arguments: [name.bucket, Data(name.key), generation, isGone])
        batch.afterwards.append { [self] in pendings.tell(name, generation) }
    }

    /// The store behind was told already, before the index.
    func clearPending(_ name: BackedName, _ db: Database) throws {
        try db.cachedStatement(sql: "DELETE FROM pending WHERE bucket = ? AND key = ?").execute(arguments: [name.bucket, Data(name.key)])
    }

    /// What is to be sent.
    enum Sending: Sendable {
        /// With the fields of the request.
        case put(ObjectRecord, [(String, String)])
        case bucket
        case delete
    }

    /// Nil: there is nothing to send any more.
    func sending(_ name: BackedName) throws -> (generation: Int64, what: Sending)? {
        try index.write { [self] db, _ -> (generation: Int64, what: Sending)? in
            guard
                let row = try Row.fetchOne(
                    db, sql: "SELECT generation, gone FROM pending WHERE bucket = ? AND key = ?", arguments: [name.bucket, Data(name.key)])
            else { return nil }
            if row[1] as Bool { return (row[0], .delete) }
            if name.key.isEmpty { return (row[0], .bucket) }
            if let bucket = try? shared(name.bucket, db), let object = try existing(ObjectKey(unchecked: name.key), in: bucket, db) {
                return (row[0], .put(object, try fields(of: object, in: bucket, db)))
            }
            // Gone without a word: nothing that can be sent, and nothing that was asked to be removed.
            try db.execute(sql: "DELETE FROM pending WHERE bucket = ? AND key = ?", arguments: [name.bucket, Data(name.key)])
            return nil
        }
    }

    private func fields(of object: ObjectRecord, in bucket: BucketRecord, _ db: Database) throws -> [(String, String)] {
        guard bucket.id == Self.profileBucket.id else { return BackedRecord.fields(object.info, etag: object.etag, modified: object.modified) }
        let info = try Data.fetchOne(db, sql: "SELECT info FROM object WHERE id = ?", arguments: [object.id]) ?? Data()
        return BackedRecord.fields(try JSONDecoder().decode(ProfileVersion.self, from: info))
    }

    /// False also for one that is about to be removed behind. Throws `noSuchBucket` for that.
    func isBucketHere(_ name: String) throws -> Bool {
        try index.read { db in
            if try Int.fetchOne(db, sql: "SELECT 1 FROM bucket WHERE name = ?", arguments: [name]) != nil { return true }
            let isGone = try Bool.fetchOne(db, sql: "SELECT gone FROM pending WHERE bucket = ? AND key = X''", arguments: [name])
            if isGone ?? false { throw S3Error(.noSuchBucket) }
            return false
        }
    }

    /// The store behind has that generation: version `id`, under that entity tag, or nothing. A newer generation stays in the queue.
    func settle(_ name: BackedName, generation: Int64, _ sent: (id: Int64, size: Int64, backing: String)?) throws {
        try index.write { [self] db, batch in
            try db.cachedStatement(sql: "DELETE FROM pending WHERE bucket = ? AND key = ? AND generation = ?").execute(
                arguments: [name.bucket, Data(name.key), generation])
            if name.key.isEmpty, db.changesCount > 0 { try db.execute(sql: "UPDATE bucket SET backed = 1 WHERE name = ?", arguments: [name.bucket]) }
            guard let sent, db.changesCount > 0, let bucket = try? shared(name.bucket, db) else { return }
            try db.cachedStatement(sql: "UPDATE object SET backing = ? WHERE id = ? AND backing IS NULL").execute(
                arguments: [sent.backing, sent.id])
            guard db.changesCount > 0 else { return }
            accountSent(sent.id, Self.hashedName(bucket: bucket.id, key: Data(name.key)), size: sent.size, in: name.bucket, &batch)
        }
        try keepBound()
    }

    /// A bucket of a client, or the hidden one of profiles.
    func shared(_ name: String, _ db: Database) throws -> BucketRecord {
        name == Self.profileBucket.name ? Self.profileBucket : try bucket(name, db)
    }

    // MARK: What is here

    /// What the index knows of a name.
    func here(_ name: BackedName) throws -> (here: Tier.Here, object: ObjectRecord?) {
        try index.read { db in
            let bucket = try shared(name.bucket, db)
            let isGone = try Bool.fetchOne(
                db.cachedStatement(sql: "SELECT gone FROM pending WHERE bucket = ? AND key = ?"), arguments: [name.bucket, Data(name.key)])
            if isGone ?? false { return (.removed, nil) }
            guard let object = try existing(ObjectKey(unchecked: name.key), in: bucket, db) else { return (.absent, nil) }
            return (isGone == nil && object.backing != nil ? .copy : .own, object)
        }
    }

    /// Stores what came from behind, unless something newer is here by now. False: there is.
    ///
    /// - Parameter mayKeep: asked within the transaction.
    func keepCopy(_ record: NewObject, in name: BackedName, _ blob: StagedBlob, _ mayKeep: @escaping () -> Bool) throws -> Bool {
        let isKept = try index.write { [self] db, batch in
            let bucket = try shared(name.bucket, db)
            guard mayKeep(), try isReplaceable(name, in: bucket, db) else { return false }
            try publish(blob, db, &batch)
            _ = try insert(record, in: bucket, db, &batch)
            return true
        }
        try keepBound()
        return isKept
    }

    /// Forgets a copy, because the store behind has it no more, or has another. False: something newer is here by now.
    ///
    /// - Parameter id: of the copy that is meant; nil: whichever is here.
    func dropCopy(_ name: BackedName, id: Int64? = nil, _ mayDrop: @escaping () -> Bool) throws -> Bool {
        try index.write { [self] db, batch in
            let bucket = try shared(name.bucket, db)
            guard mayDrop(), try isReplaceable(name, in: bucket, db) else { return false }
            if let id, try existing(ObjectKey(unchecked: name.key), in: bucket, db)?.id != id { return false }
            try remove(ObjectKey(unchecked: name.key), in: bucket, db, &batch)
            return true
        }
    }

    private func isReplaceable(_ name: BackedName, in bucket: BucketRecord, _ db: Database) throws -> Bool {
        let isPending = try Int.fetchOne(
            db.cachedStatement(sql: "SELECT 1 FROM pending WHERE bucket = ? AND key = ?"), arguments: [name.bucket, Data(name.key)])
        guard isPending == nil else { return false }
        guard let object = try existing(ObjectKey(unchecked: name.key), in: bucket, db) else { return true }
        return object.backing != nil
    }

    // MARK: Listing

    /// What a listing of the store behind lacks, between two keys: written here and not there, or to be removed there.
    func overlay(_ bucket: String, from: [UInt8], to: [UInt8]?) throws -> (written: [ListedObject], removed: Set<[UInt8]>) {
        try index.read { db in
            let record = try self.bucket(bucket, db)
            var (written, removed): ([ListedObject], Set<[UInt8]>) = ([], [])
            let end = to.map { Data($0) }
            // Where writes stay here they are in no queue.
            let own = mode == .readThrough ? "SELECT key, 0 FROM object WHERE bucket = :id AND backing IS NULL UNION " : ""
            var arguments: StatementArguments = ["name": bucket, "from": Data(from)]
            if let end { arguments += ["to": end] }
            if !own.isEmpty { arguments += ["id": record.id] }
            let rows = try Row.fetchAll(
                db, sql: "SELECT * FROM (\(own)SELECT key, gone FROM pending WHERE bucket = :name) WHERE key > X'' AND key >= :from "
                    + (end == nil ? "" : "AND key <= :to ") + "ORDER BY key", arguments: arguments)
            for row in rows {
                let key = Array(row[0] as Data)
                if row[1] as Bool {
                    removed.insert(key)
                } else if let object = try existing(ObjectKey(unchecked: key), in: record, db) {
                    written.append(ListedObject(key: ObjectKey(unchecked: key), size: object.size, etag: object.etag, modified: object.modified))
                }
            }
            return (written, removed)
        }
    }

    /// What copies here are called by their clients, by what the store behind calls them.
    func etags(of keys: [(key: [UInt8], backing: String)], in bucket: String) throws -> [[UInt8]: (etag: String, modified: Timestamp)] {
        try index.read { db in
            let record = try self.bucket(bucket, db)
            let statement = try db.cachedStatement(sql: "SELECT etag, modified FROM object WHERE bucket = ? AND key = ? AND backing = ?")
            var out: [[UInt8]: (String, Timestamp)] = [:]
            for item in keys {
                guard let row = try Row.fetchOne(statement, arguments: [record.id, Data(item.key), item.backing]) else { continue }
                out[item.key] = (row[0], Timestamp(milliseconds: row[1]))
            }
            return out
        }
    }
}
