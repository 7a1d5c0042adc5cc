import AssetCore
import CLinux
import Foundation
import GRDB
import Linux
import ServiceKit
import Systemd

extension Store {
    // MARK: Lifecycle

    /// Removes what the rules of a bucket, or of all buckets, say is over.
    func expire(in name: String? = nil, at now: Timestamp) throws {
        for bucket in try buckets() where name == nil || bucket.name == name {
            guard let lifecycle = bucket.lifecycle else { continue }
            try expireObjects(of: bucket, lifecycle, at: now)
            try expireUploads(of: bucket, lifecycle, at: now)
        }
    }

    /// Keys that are looked at, and removed, in one go.
    private static let stride = 500

    private func expireObjects(of bucket: BucketRecord, _ lifecycle: Lifecycle, at now: Timestamp) throws {
        var after: [UInt8] = []
        while true {
            let start = after
            let rows = try index.read { db in
                try Row.fetchAll(
                    db, sql: "SELECT key, size, modified, info FROM object WHERE bucket = ? AND key > ? ORDER BY key LIMIT ?",
                    arguments: [bucket.id, Data(start), Self.stride])
            }
            guard let last = rows.last else { return }
            after = Array(last[0] as Data)
            let over = rows.filter { row in
                let key = ObjectKey(unchecked: Array(row[0] as Data))
                let expiry = lifecycle.expiry(
                    key: key, size: row[1], tags: ObjectInfo(encoded: row[3]).tagSet, modified: Timestamp(milliseconds: row[2]))
                return expiry.map { $0.time <= now } ?? false
            }.map { (key: ObjectKey(unchecked: Array($0[0] as Data)), modified: $0[2] as Int64) }
            guard !over.isEmpty else { continue }
            try index.write { [self] db, batch in
                for (key, modified) in over {
                    // Somebody may have written it anew meanwhile.
                    guard try existing(key, in: bucket, db)?.modified.milliseconds == modified else { continue }
                    try removeShared(key, in: bucket, isBackedGone: false, db, &batch)
                    batch.afterwards.append { [self] in counters.expired.add() }
                }
            }
        }
    }

    private func expireUploads(of bucket: BucketRecord, _ lifecycle: Lifecycle, at now: Timestamp) throws {
        try index.write { [self] db, batch in
            let rows = try Row.fetchAll(db, sql: "SELECT \(UploadRecord.columns) FROM upload WHERE bucket = ?", arguments: [bucket.id])
            for upload in rows.map(UploadRecord.init) {
                guard let end = lifecycle.uploadExpiry(key: upload.key, initiated: upload.initiated), end <= now else { continue }
                try discard(upload: upload.id, db, &batch)
            }
        }
    }

    // MARK: Scrub

    /// Compares every blob with its SHA-256, and removes files that the index does not know. `goesOn` is asked after each, with the bytes
    /// that were read; it may take its time, and ends the scrub by false.
    ///
    /// A damaged blob is told in the journal and moved to `damaged/`: reads of it then fail, and never show wrong bytes.
    func scrub(goesOn: (Int64) -> Bool) throws {
        for number in 0...255 {
            let directory = blobs.blobDirectory(UInt8(number))
            for name in try Files.names(in: directory) {
                let hex = String(directory.suffix(2)) + name
                guard let bytes = Hex.decode(hex), bytes.count == 32 else { continue }
                guard goesOn(try scrub(BlobHash(bytes: bytes))) else { return }
            }
        }
    }

    /// The bytes that were read.
    private func scrub(_ hash: BlobHash) throws -> Int64 {
        let size = try index.read { db in
            try Int64.fetchOne(db, sql: "SELECT size FROM blob WHERE hash = ?", arguments: [Data(hash.bytes)])
        }
        guard let size else {
            // Unknown now; in the writer's turn it is certain.
            try index.write { [self] db, batch in
                guard try !Index.isKnown(hash, db) else { return }
                batch.condemned.insert(hash)
                batch.afterwards.append { [self] in counters.orphans.add() }
            }
            return 0
        }
        counters.scrubbed.add()
        guard try !isIntact(Segment(hash: hash, size: size)) else { return size }
        // Removed or replaced since: look once more in the writer's turn.
        try index.write { [self] db, _ in
            guard try Index.isKnown(hash, db), try !isIntact(Segment(hash: hash, size: size)) else { return }
            counters.damaged.add()
            logger.error(
                "A blob is damaged and was set aside; objects that have it cannot be read",
                metadata: ["blob": "\(Hex.encode(hash.bytes))", LogKey.messageID: "\(MessageID.blobDamaged)"])
            _ = mkdir("\(blobs.path)/damaged", 0o750)
            _ = lh_rename(blobs.path(of: hash), "\(blobs.path)/damaged/\(Hex.encode(hash.bytes))")
        }
        return size
    }
}
