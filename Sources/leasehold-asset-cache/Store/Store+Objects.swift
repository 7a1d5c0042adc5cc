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
        _ key: ObjectKey, in name: String, _ blob: StagedBlob, info: ObjectInfo, conditions: Conditions, backed: Backed? = nil,
        clock: @escaping @Sendable () -> Timestamp
    ) throws -> (object: NewObject, bucket: BucketRecord) {
        try checkRoom(for: blob.segment.size, in: name)
        let result = try index.write { [self] db, batch in
            let bucket = try bucket(name, db)
            if !conditions.isEmpty { try conditions.checkWrite(existing: try existing(key, in: bucket, db)?.etag) }
            // First the new reference, then the old one's end: the same bytes under the same key stay where they are.
            try publish(blob, db, &batch)
            var record = NewObject(
                key: key, size: blob.segment.size, etag: Hex.encode(blob.md5), modified: backed?.modified ?? clock(), info: info,
                segments: blob.segment.size > 0 ? [blob.segment] : [])
            record.backing = backed?.etag
            _ = try insert(record, in: bucket, db, &batch)
            return (record, bucket)
        }
        try keepBound()
        return result
    }

    /// Stores another name for the bytes of an object, without reading them.
    func copy(
        from source: (key: ObjectKey, bucket: String), sourceConditions: Conditions, to key: ObjectKey, in name: String,
        conditions: Conditions, backed: Backed? = nil,
        clock: @escaping @Sendable () -> Timestamp, _ change: @escaping (ObjectRecord) throws -> ObjectInfo
    ) throws -> (record: NewObject, info: ObjectInfo) {
        let result = try index.write { [self] db, batch in
            let from = try object(source.key, in: try bucket(source.bucket, db), db)
            try sourceConditions.checkCopySource(etag: from.etag, modified: from.modified)
            let bucket = try bucket(name, db)
            if !conditions.isEmpty { try conditions.checkWrite(existing: try existing(key, in: bucket, db)?.etag) }
            try backed?.check(from.segments)
            var record = NewObject(
                key: key, size: from.size, etag: from.etag, modified: backed?.modified ?? clock(), info: try change(from),
                segments: from.segments)
            record.backing = backed?.etag
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
            return try removeShared(key, in: bucket, db, &batch)
        }
    }

    /// The same as `remove`, for good: the store behind loses it too.
    @discardableResult
    func removeShared(
        _ key: ObjectKey, in bucket: BucketRecord, isBackedGone: Bool = true, _ db: Database, _ batch: inout Index.Batch
    ) throws -> Bool {
        let isRemoved = try remove(key, in: bucket, db, &batch)
        let name = BackedName(bucket: bucket.name, key: key.bytes)
        switch mode {
        case nil, .readThrough: break
        case .writeThrough where isBackedGone: try clearPending(name, db)
        // Also where it is not here: somebody else may have written it.
        case .writeThrough, .writeBack: try markPending(name, isGone: true, db, &batch)
        }
        return isRemoved
    }

    /// In one commit.
    func delete(_ keys: [ObjectKey], in name: String) throws {
        try index.write { [self] db, batch in
            let bucket = try bucket(name, db)
            for key in keys { try removeShared(key, in: bucket, db, &batch) }
        }
    }

    func setTags(_ tags: Tags, of key: ObjectKey, in name: String, backed: Backed? = nil) throws {
        try index.write { [self] db, batch in
            let bucket = try bucket(name, db)
            var object = try object(key, in: bucket, db)
            object.info.set(tags)
            if mode != nil, mode != .readThrough {
                // Another version, as far as the store behind can tell.
                try backed?.check(object.segments)
                var record = NewObject(
                    key: key, size: object.size, etag: object.etag, modified: object.modified, info: object.info, segments: object.segments)
                record.backing = backed?.etag
                for segment in object.segments { try refer(to: segment, db, &batch) }
                _ = try insert(record, in: bucket, db, &batch)
                return
            }
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
