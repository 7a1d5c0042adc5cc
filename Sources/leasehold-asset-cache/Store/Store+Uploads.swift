import AssetCore
import Crypto
import Foundation
import GRDB

extension Store {
    /// Bytes of every part but the last.
    static let leastPart: Int64 = 5 << 20
    static let mostParts = 10_000

    func createUpload(
        _ key: ObjectKey, in name: String, info: ObjectInfo, algorithm: ChecksumAlgorithm?, type: ChecksumType?, at now: Timestamp
    ) throws -> String {
        // Ids sort by time.
        let id =
            Hex.encode((0..<8).map { UInt8(truncatingIfNeeded: now.milliseconds >> (56 - 8 * $0)) })
            + Hex.encode((0..<16).map { _ in UInt8.random(in: 0 ... .max) })
        try index.write { [self] db, _ in
            let bucket = try bucket(name, db)
            try db.execute(
                sql: "INSERT INTO upload(id, bucket, key, initiated, info, algorithm, type) VALUES (?, ?, ?, ?, ?, ?, ?)",
                arguments: [id, bucket.id, Data(key.bytes), now.milliseconds, info.encoded, algorithm?.rawValue, type?.rawValue])
        }
        return id
    }

    /// Throws `noSuchBucket` or `noSuchUpload`.
    func upload(_ id: String, of key: ObjectKey, in name: String) throws -> UploadRecord {
        try index.read { db in try upload(id, of: key, in: try bucket(name, db), db) }
    }

    private func upload(_ id: String, of key: ObjectKey, in bucket: BucketRecord, _ db: Database) throws -> UploadRecord {
        guard
            let row = try Row.fetchOne(
                db, sql: "SELECT \(UploadRecord.columns) FROM upload WHERE id = ? AND bucket = ? AND key = ?",
                arguments: [id, bucket.id, Data(key.bytes)])
        else { throw S3Error(.noSuchUpload) }
        return UploadRecord(row)
    }

    func putPart(_ number: Int, of id: String, key: ObjectKey, in name: String, _ blob: StagedBlob, at now: Timestamp) throws {
        try checkRoom(for: blob.segment.size, in: nil)
        try index.write { [self] db, batch in
            _ = try upload(id, of: key, in: try bucket(name, db), db)
            try publish(blob, db, &batch)
            if let old = try part(number, of: id, db) { try release(old, db, &batch) }
            try db.execute(
                sql:
                    "INSERT OR REPLACE INTO part(upload, number, size, hash, md5, modified, algorithm, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                arguments: [
                    id, number, blob.segment.size, Data(blob.segment.hash.bytes), Data(blob.md5), now.milliseconds,
                    blob.checksum?.algorithm.rawValue, blob.checksum.map { Data($0.bytes) },
                ])
            account(pinned: blob.segment.onDisk, &batch)
        }
        try keepBound()
    }

    private func part(_ number: Int, of id: String, _ db: Database) throws -> PartRecord? {
        try Row.fetchOne(db, sql: "SELECT \(PartRecord.columns) FROM part WHERE upload = ? AND number = ?", arguments: [id, number])
            .map(PartRecord.init)
    }

    private func release(_ part: PartRecord, _ db: Database, _ batch: inout Index.Batch) throws {
        if part.segment.size > 0 { try release(part.segment, db, &batch) }
        account(pinned: -part.segment.onDisk, &batch)
    }

    /// In the order of their numbers, from the first after `marker`; one more than `most` tells that there are more.
    func parts(of id: String, after marker: Int = 0, most: Int = mostParts) throws -> [PartRecord] {
        try index.read { try parts(of: id, after: marker, most: most, $0) }
    }

    private func parts(of id: String, after marker: Int, most: Int, _ db: Database) throws -> [PartRecord] {
        try Row.fetchAll(
            db, sql: "SELECT \(PartRecord.columns) FROM part WHERE upload = ? AND number > ? ORDER BY number LIMIT ?",
            arguments: [id, marker, most]
        ).map(PartRecord.init)
    }

    func abortUpload(_ id: String, of key: ObjectKey, in name: String) throws {
        try index.write { [self] db, batch in
            _ = try upload(id, of: key, in: try bucket(name, db), db)
            try discard(upload: id, db, &batch)
        }
    }

    func discard(upload id: String, _ db: Database, _ batch: inout Index.Batch) throws {
        for part in try parts(of: id, after: 0, most: Self.mostParts, db) { try release(part, db, &batch) }
        try db.execute(sql: "DELETE FROM part WHERE upload = ?", arguments: [id])
        try db.execute(sql: "DELETE FROM upload WHERE id = ?", arguments: [id])
    }

    /// Makes the parts one object: their blobs become its segments, nothing is copied.
    func completeUpload(
        _ id: String, of key: ObjectKey, in name: String, _ request: CompletedParts, conditions: Conditions, backed: Backed? = nil,
        clock: @escaping @Sendable () -> Timestamp
    ) throws -> NewObject {
        let record = try index.write { [self] db, batch in
            let bucket = try bucket(name, db)
            var record = try completed(id, of: key, in: bucket, request, conditions, backed?.modified ?? clock(), db)
            try backed?.check(record.segments)
            record.backing = backed?.etag
            for segment in record.segments { try refer(to: segment, db, &batch) }
            _ = try insert(record, in: bucket, db, &batch)
            try discard(upload: id, db, &batch)
            return record
        }
        try keepBound()
        return record
    }

    /// What completing would make, nothing changed.
    func completed(
        _ id: String, of key: ObjectKey, in name: String, _ request: CompletedParts, conditions: Conditions, at now: Timestamp
    ) throws -> NewObject {
        try index.read { db in try completed(id, of: key, in: try bucket(name, db), request, conditions, now, db) }
    }

    private func completed(
        _ id: String, of key: ObjectKey, in bucket: BucketRecord, _ request: CompletedParts, _ conditions: Conditions, _ now: Timestamp,
        _ db: Database
    ) throws -> NewObject {
        let upload = try upload(id, of: key, in: bucket, db)
        if !conditions.isEmpty { try conditions.checkWrite(existing: try existing(key, in: bucket, db)?.etag) }
        let chosen = try request.choose(from: try parts(of: id, after: 0, most: Self.mostParts, db), least: Self.leastPart)
        var info = upload.info
        info.isMultipart = true
        info.checksum = try request.checksum(of: chosen, upload)
        let segments = chosen.map(\.segment).filter { $0.size > 0 }
        let etag = Hex.encode(Insecure.MD5.hash(data: chosen.flatMap(\.md5))) + "-\(chosen.count)"
        return NewObject(key: key, size: segments.reduce(0) { $0 + $1.size }, etag: etag, modified: now, info: info, segments: segments)
    }
}
