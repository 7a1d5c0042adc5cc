import AssetCore
import Foundation
import GRDB

extension Store {
    /// Throws `noSuchBucket`.
    func bucket(_ name: String, _ db: Database) throws -> BucketRecord {
        guard
            let row = try Row.fetchOne(
                db.cachedStatement(sql: "SELECT \(BucketRecord.columns) FROM bucket WHERE name = ?"), arguments: [name])
        else { throw S3Error(.noSuchBucket) }
        return BucketRecord(row)
    }

    func bucket(_ name: String) throws -> BucketRecord { try index.read { try bucket(name, $0) } }

    /// By name.
    func buckets() throws -> [BucketRecord] {
        try index.read { db in
            try Row.fetchAll(db, sql: "SELECT \(BucketRecord.columns) FROM bucket ORDER BY name").map(BucketRecord.init)
        }
    }

    private static let mostBuckets = 10_000

    func createBucket(_ name: String, region: String, at now: Timestamp) throws {
        try index.write { [self] db, batch in
            guard try Int.fetchOne(db, sql: "SELECT 1 FROM bucket WHERE name = ?", arguments: [name]) == nil else {
                throw S3Error(.bucketAlreadyOwnedByYou)
            }
            guard try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM bucket") ?? 0 < Self.mostBuckets else { throw S3Error(.tooManyBuckets) }
            try db.execute(
                sql: "INSERT INTO bucket(name, created, region, backed) VALUES (?, ?, ?, ?)",
                arguments: [name, now.milliseconds, region, mode == .writeThrough])
            if mode == .writeBack { try markPending(BackedName(bucket: name), isGone: false, db, &batch) }
        }
    }

    /// The store behind has a bucket of that name.
    func learnBucket(_ name: String, at now: Timestamp) throws {
        try index.write { db, _ in
            // Most were created here.
            try db.execute(
                sql: "INSERT OR IGNORE INTO bucket(name, created, region, backed) VALUES (?, ?, 'us-east-1', 1)", arguments: [name, now.milliseconds])
        }
    }

    func deleteBucket(_ name: String) throws {
        try index.write { [self] db, batch in
            let bucket = try bucket(name, db)
            if mode != nil { try dropCopies(of: bucket, db, &batch) }
            for table in ["object", "upload"] {
                let found = try Int.fetchOne(db, sql: "SELECT 1 FROM \(table) WHERE bucket = ? LIMIT 1", arguments: [bucket.id])
                guard found == nil else {
                    throw S3Error(
                        .bucketNotEmpty, table == "upload" ? "The bucket has uploads that are neither completed nor aborted." : nil)
                }
            }
            try db.execute(sql: "DELETE FROM bucket WHERE id = ?", arguments: [bucket.id])
            if mode == .writeBack { try markPending(BackedName(bucket: name), isGone: true, db, &batch) }
        }
    }

    /// The store behind was asked: it has none of them any more.
    private func dropCopies(of bucket: BucketRecord, _ db: Database, _ batch: inout Index.Batch) throws {
        let keys = try Data.fetchAll(db, sql: "SELECT key FROM object WHERE bucket = ? AND backing IS NOT NULL", arguments: [bucket.id])
        for key in keys { try remove(ObjectKey(unchecked: Array(key)), in: bucket, db, &batch) }
    }

    /// Nil removes it.
    func setLifecycle(_ lifecycle: Lifecycle?, of name: String) throws {
        let xml = lifecycle.map { Data($0.xml()) }
        try index.write { [self] db, _ in
            let bucket = try bucket(name, db)
            try db.execute(sql: "UPDATE bucket SET lifecycle = ? WHERE id = ?", arguments: [xml, bucket.id])
        }
    }

    // MARK: Listing

    /// Fills the page.
    func list(_ page: Listing, in name: String) throws -> (page: Listing, objects: [ListedObject]) {
        try index.read { db in
            let bucket = try bucket(name, db)
            let statement = try db.cachedStatement(
                sql: "SELECT key, size, etag, modified FROM object WHERE bucket = ? AND key >= ? ORDER BY key")
            var page = page
            var objects: [ListedObject] = []
            try Self.walk(&page, statement, bucket: bucket.id) { key, row in
                objects.append(ListedObject(key: key, size: row[1], etag: row[2], modified: Timestamp(milliseconds: row[3])))
            }
            return (page, objects)
        }
    }

    /// The same for uploads that are not completed. Several of one key are shown in the order of their ids.
    func listUploads(_ page: Listing, afterUpload: String?, in name: String) throws -> (page: Listing, uploads: [UploadRecord]) {
        try index.read { db in
            let bucket = try bucket(name, db)
            let all = try Row.fetchAll(
                db, sql: "SELECT \(UploadRecord.columns) FROM upload WHERE bucket = ? ORDER BY key, id", arguments: [bucket.id]
            ).map(UploadRecord.init)
            var page = page
            var uploads: [UploadRecord] = []
            for upload in all {
                guard let next = page.next else { break }
                if upload.key.bytes.lexicographicallyPrecedes(next) {
                    // Behind the marker, or another upload of the key that is on the page already.
                    if uploads.last?.key == upload.key { uploads.append(upload) }
                    continue
                }
                if page.take(upload.key) { uploads.append(upload) }
            }
            page.end()
            return (page, uploads)
        }
    }

    private static func walk(_ page: inout Listing, _ statement: Statement, bucket: Int64, _ show: (ObjectKey, Row) -> Void) throws {
        while let start = page.next {
            let rows = try Row.fetchCursor(statement, arguments: [bucket, Data(start)])
            var seeks = false
            while !seeks, let next = page.next {
                guard let row = try rows.next() else {
                    page.end()
                    return
                }
                let key = ObjectKey(unchecked: Array(row[0] as Data))
                // A few keys under a common prefix are passed over faster than sought past.
                if key.bytes.lexicographicallyPrecedes(next) {
                    seeks = true
                    continue
                }
                if page.take(key) { show(key, row) }
            }
        }
    }
}
