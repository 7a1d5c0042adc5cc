import AssetCore
import CLinux
import Foundation
import GRDB
import Linux
import ServiceKit
import Systemd

extension Store {
    /// Throws `noSuchBucket` or `noSuchKey`.
    func object(_ key: ObjectKey, in name: String) throws -> (object: ObjectRecord, bucket: BucketRecord) {
        try index.read { db in
            let bucket = try bucket(name, db)
            return (try object(key, in: bucket, db), bucket)
        }
    }

    func object(_ key: ObjectKey, in bucket: BucketRecord, _ db: Database) throws -> ObjectRecord {
        guard let object = try existing(key, in: bucket, db) else { throw S3Error(.noSuchKey) }
        return object
    }

    func existing(_ key: ObjectKey, in bucket: BucketRecord, _ db: Database) throws -> ObjectRecord? {
        try Row.fetchOne(
            db.cachedStatement(sql: "SELECT \(ObjectRecord.columns) FROM object WHERE bucket = ? AND key = ?"),
            arguments: [bucket.id, Data(key.bytes)]
        ).map(ObjectRecord.init)
    }

    /// Stores an object of one blob. The time is taken inside, so that later writes have later times.
    func put(
        _ key: ObjectKey, in name: String, _ blob: StagedBlob, info: ObjectInfo, conditions: Conditions,
        clock: @escaping @Sendable () -> Timestamp
    ) throws -> (object: NewObject, bucket: BucketRecord) {
        try checkRoom(for: blob.segment.size, in: name)
        let result = try index.write { [self] db, batch in
            let bucket = try bucket(name, db)
            if !conditions.isEmpty { try conditions.checkWrite(existing: try existing(key, in: bucket, db)?.etag) }
            // First the new reference, then the old one's end: the same bytes under the same key stay where they are.
            try publish(blob, db, &batch)
            let record = NewObject(
                key: key, size: blob.segment.size, etag: Hex.encode(blob.md5), modified: clock(), info: info,
                segments: blob.segment.size > 0 ? [blob.segment] : [])
            _ = try insert(record, in: bucket, db, &batch)
            return (record, bucket)
        }
        try keepBound()
        return result
    }

    /// Stores another name for the bytes of an object, without reading them.
    func copy(
        from source: (key: ObjectKey, bucket: String), sourceConditions: Conditions, to key: ObjectKey, in name: String,
        conditions: Conditions,
        clock: @escaping @Sendable () -> Timestamp, _ change: @escaping (ObjectRecord) throws -> ObjectInfo
    ) throws -> (record: NewObject, info: ObjectInfo) {
        let result = try index.write { [self] db, batch in
            let from = try object(source.key, in: try bucket(source.bucket, db), db)
            try sourceConditions.checkCopySource(etag: from.etag, modified: from.modified)
            let bucket = try bucket(name, db)
            if !conditions.isEmpty { try conditions.checkWrite(existing: try existing(key, in: bucket, db)?.etag) }
            let record = NewObject(
                key: key, size: from.size, etag: from.etag, modified: clock(), info: try change(from), segments: from.segments)
            for segment in from.segments { try refer(to: segment, db, &batch) }
            _ = try insert(record, in: bucket, db, &batch)
            return (record, record.info)
        }
        try keepBound()
        return result
    }

    /// Whether there was one.
    func delete(_ key: ObjectKey, in name: String, conditions: Conditions) throws -> Bool {
        try index.write { [self] db, batch in
            let bucket = try bucket(name, db)
            if conditions.ifMatch != nil, let object = try existing(key, in: bucket, db) {
                try conditions.checkWrite(existing: object.etag)
            }
            return try remove(key, in: bucket, db, &batch)
        }
    }

    /// In one commit.
    func delete(_ keys: [ObjectKey], in name: String) throws {
        try index.write { [self] db, batch in
            let bucket = try bucket(name, db)
            for key in keys { try remove(key, in: bucket, db, &batch) }
        }
    }

    func setTags(_ tags: Tags, of key: ObjectKey, in name: String) throws {
        try index.write { [self] db, _ in
            var object = try object(key, in: try bucket(name, db), db)
            object.info.set(tags)
            try db.execute(sql: "UPDATE object SET info = ? WHERE id = ?", arguments: [object.info.encoded, object.id])
        }
    }

    // MARK: Bytes

    /// Whether all blobs of the object are there and, if asked, are what they were. Throws `internalError` and says so in the journal.
    func verify(_ object: ObjectRecord) throws {
        for segment in object.segments where try !isIntact(segment) {
            counters.damaged.add()
            logger.error("A blob is damaged and is not served", metadata: [LogKey.messageID: "\(MessageID.blobDamaged)", "blob": "\(Hex.encode(segment.hash.bytes))"])
            throw S3Error(.internalError, "The stored bytes do not match their checksum.")
        }
    }

    func isIntact(_ segment: Segment) throws(SystemError) -> Bool {
        let file: Descriptor
        do throws(SystemError) { file = try blobs.open(segment.hash) } catch {
            if error.isNoSuchFile { return false }
            throw error
        }
        var size: Int64 = 0
        var hash = HashOfBytes()
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { room.deallocate() }
        while true {
            let count = lh_read(file.raw, room.baseAddress, room.count)
            if count == Int(-EINTR) { continue }
            let got = try check(count, "read", "a blob")
            if got == 0 { break }
            size += Int64(got)
            hash.update(UnsafeRawBufferPointer(rebasing: room[..<got]))
        }
        return size == segment.size && hash.value == segment.hash
    }
}
