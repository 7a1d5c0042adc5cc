import AssetCore
import CLinux
import Foundation
import GRDB
import Linux
import Logging
import Model
import ServiceKit
import Synchronization
import Systemd

/// Buckets, objects and uploads on disk, within a bound of bytes. Every method blocks; never on an event loop.
///
/// A write is acknowledged by returning: blob, its name and the index are on disk then. What a crash can leave is files that nothing
/// refers to, in `tmp` (removed at the next start) or among the blobs (removed by the next scrub).
final class Store: Sendable {
    let index: Index
    let blobs: BlobDirectory
    let logger: Logger
    let counters = StoreCounters()
    /// Bytes.
    let bound: Int64
    /// Nil: there is nothing behind.
    let mode: BackingConfiguration.Mode?
    private let pinnedNames: Set<String>
    let pendings = Pendings()
    private let accounts = Mutex(Accounts())

    /// What is remembered of the disk, to decide without asking it.
    struct Accounts {
        var policy = S3FIFO()
        /// Bytes of all blobs, in blocks of 4 KiB.
        var used: Int64 = 0
        /// Bytes that no eviction frees: objects of pinned buckets, parts, and what the store behind is still to get.
        var pinned: Int64 = 0
        /// Of these, what leaves them when it was sent.
        var unsent: Int64 = 0
        var objects: Int64 = 0
        /// What was there at the start is in the figures above.
        var isRestored = false
    }

    init(_ configuration: AssetCacheConfiguration, logger: Logger) throws {
        self.logger = logger
        bound = Int64(configuration.size)
        mode = configuration.backing?.mode
        pinnedNames = Set(configuration.pinned + [Self.profileBucket.name])
        blobs = try BlobDirectory(path: configuration.directory)
        index = try Index(path: configuration.directory + "/index.sqlite", blobs: blobs)
        if mode != nil { try restorePending() }
        try restore()
    }

    /// Everything that is there goes into the eviction's main queue, in the order it was written.
    ///
    /// On a thread of its own: with a million objects it takes seconds, and reads need none of it. Nothing is evicted until it is done. A
    /// small store is done before this returns.
    private func restore() throws {
        let snapshot = try index.snapshot()
        let done = DispatchSemaphore(value: 0)
        let thread = Thread { [self] in
            do {
                try restore(snapshot)
                done.signal()
                try keepBound()
            } catch {
                // Without its accounts the store knows no bound: the manager's next start tries again.
                logger.critical(
                    "The index cannot be read", metadata: [LogKey.messageID: "\(MessageID.upkeepFailed)", "problem": "\(error)"])
                exit(71)
            }
        }
        thread.name = "restore"
        thread.start()
        _ = done.wait(timeout: .now() + .milliseconds(Self.restorePatience))
    }

    /// Milliseconds.
    private static let restorePatience = 500
    /// Entries that go into the queues at once, while hits wait.
    private static let restoredAtOnce = 1_024

    /// What was there when the snapshot was taken; what has changed since is accounted for already.
    private func restore(_ snapshot: DatabaseSnapshot) throws {
        try snapshot.read { db in
            let used = try Int64.fetchOne(db, sql: "SELECT SUM((size + 4095) / 4096 * 4096) FROM blob") ?? 0
            let parts = try Int64.fetchOne(db, sql: "SELECT SUM((size + 4095) / 4096 * 4096) FROM part") ?? 0
            var pinned = Set(
                try Row.fetchAll(db, sql: "SELECT id, name FROM bucket").filter { pinnedNames.contains($0[1]) }.map { $0[0] as Int64 })
            pinned.insert(Self.profileBucket.id)
            var (objects, pinnedBytes) = (Int64(0), parts)
            var unsent: Int64 = 0
            var entries: [(id: Int64, size: Int64)] = []
            let rows = try Row.fetchCursor(db, sql: "SELECT id, bucket, size, backing IS NULL FROM object ORDER BY id")
            while let row = try rows.next() {
                objects += 1
                let size = Self.onDisk(row[2])
                if pinned.contains(row[1]) {
                    pinnedBytes += size
                    continue
                }
                if isHeld(row[1] as Int64, isUnsent: row[3]) {
                    unsent += size
                    continue
                }
                entries.append((row[0], size))
                if entries.count == Self.restoredAtOnce { restore(&entries) }
            }
            restore(&entries)
            accounts.withLock { accounts in
                accounts.used += used
                accounts.pinned += pinnedBytes + unsent
                accounts.unsent += unsent
                accounts.objects += objects
                accounts.isRestored = true
            }
        }
    }

    /// One that was removed meanwhile is found out when its turn to leave comes.
    private func restore(_ entries: inout [(id: Int64, size: Int64)]) {
        accounts.withLock { accounts in for entry in entries { accounts.policy.restore(entry.id, size: entry.size) } }
        entries.removeAll(keepingCapacity: true)
    }

    /// Responses of origins: evicted like objects.
    static let cacheBucket = BucketRecord(hidden: -1, name: ".http")
    /// Versions of profiles: never evicted.
    static let profileBucket = BucketRecord(hidden: -2, name: ".profiles")

    private static func onDisk(_ size: Int64) -> Int64 { (size + 4095) & ~4095 }

    func isPinned(_ bucket: String) -> Bool { pinnedNames.contains(bucket) }

    /// Whether what is written there is told to the store behind. Responses of origins are this node's own.
    func isShared(_ bucket: Int64) -> Bool { bucket != Self.cacheBucket.id }

    /// Whether eviction must wait until the store behind has it.
    private func isHeld(_ bucket: Int64, isUnsent: Bool) -> Bool { mode == .writeBack && isUnsent && isShared(bucket) }

    /// For reports.
    var figures: (used: Int64, pinned: Int64, objects: Int64, unsent: Int64) {
        accounts.withLock { ($0.used, $0.pinned, $0.objects, $0.unsent) }
    }

    // MARK: Room

    /// Before a body is taken in: whether it can find a place at all.
    func checkRoom(for size: Int64, in bucket: String?) throws(S3Error) {
        guard size <= bound else {
            throw S3Error(.entityTooLarge, "The object has \(size) bytes, and the store is bounded to \(bound).")
        }
        let (pinned, unsent) = accounts.withLock { ($0.pinned, $0.unsent) }
        guard pinned + Self.onDisk(size) <= bound else {
            if pinned - unsent + Self.onDisk(size) <= bound {
                throw S3Error(.slowDown, "What the store behind is still to get fills this one. Please try again later.")
            }
            throw S3Error(
                .insufficientStorage, "There is no room left: pinned buckets and unfinished uploads fill the store's \(bound) bytes.")
        }
    }

    func startBlob(checksum: ChecksumAlgorithm?) throws(SystemError) -> BlobWriter {
        try BlobWriter(path: blobs.temporaryPath(), checksum: checksum)
    }

    func touched(_ id: Int64) { accounts.withLock { $0.policy.touch(id) } }

    /// Removes what eviction chooses until the bound is kept. After a commit, on the thread of whoever wrote.
    ///
    /// Should the commit fail, what was chosen is out of the queues until the next start: the disk is broken then.
    func keepBound() throws {
        guard accounts.withLock({ $0.isRestored && $0.used > bound }) else { return }
        try index.write { [self] db, batch in
            var freed: Int64 = 0
            var taken: [(id: Int64, size: Int64)] = []
            while true {
                // A name that cannot be read is not remembered: its object begins anew if it comes back.
                let victim = accounts.withLock { accounts in
                    accounts.used - freed > bound ? accounts.policy.evict { try? Self.name($0, db) } : nil
                }
                guard let victim else { break }
                guard
                    let row = try Row.fetchOne(
                        db.cachedStatement(sql: "SELECT size, segments FROM object WHERE id = ?"), arguments: [victim])
                else { continue }
                taken.append((victim, Self.onDisk(row[0])))
                for segment in Segment.decode(row[1] as Data) { freed += try Index.release(segment, db, &batch) }
                try db.cachedStatement(sql: "DELETE FROM object WHERE id = ?").execute(arguments: [victim])
            }
            let (bytes, count) = (freed, taken.count)
            batch.afterwards.append { [self] in
                accounts.withLock { accounts in
                    accounts.used -= bytes
                    accounts.objects -= Int64(count)
                }
                counters.evictions.add(count)
                counters.evictedBytes.add(Int(bytes))
            }
        }
    }

    private static func name(_ id: Int64, _ db: Database) throws -> UInt64? {
        let row = try Row.fetchOne(db.cachedStatement(sql: "SELECT bucket, key FROM object WHERE id = ?"), arguments: [id])
        return row.map { hashedName(bucket: $0[0], key: $0[1]) }
    }

    static func hashedName(bucket: Int64, key: Data) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(bucket)
        hasher.combine(key)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    // MARK: Objects in the index, from within a write

    /// Puts an object in the place of what has its key. The segments' references are the caller's affair.
    func insert(
        _ record: NewObject, in bucket: BucketRecord, _ db: Database, _ batch: inout Index.Batch
    ) throws -> Int64 {
        try remove(record.key, in: bucket, db, &batch)
        try db.cachedStatement(
            sql: "INSERT INTO object(bucket, key, size, etag, modified, info, segments, backing) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        ).execute(arguments: [
            bucket.id, Data(record.key.bytes), record.size, record.etag, record.modified.milliseconds, record.encodedInfo,
            Data(Segment.encode(record.segments)), record.backing,
        ])
        let id = db.lastInsertedRowID
        let size = Self.onDisk(record.size)
        let isPinned = isPinned(bucket.name)
        let isHeld = isHeld(bucket.id, isUnsent: record.backing == nil)
        if isHeld {
            try markPending(BackedName(bucket: bucket.name, key: record.key.bytes), isGone: false, db, &batch)
        } else if record.backing != nil {
            try clearPending(BackedName(bucket: bucket.name, key: record.key.bytes), db)
        }
        let name = Self.hashedName(bucket: bucket.id, key: Data(record.key.bytes))
        batch.afterwards.append { [self] in
            accounts.withLock { accounts in
                accounts.objects += 1
                if isPinned {
                    accounts.pinned += size
                } else if isHeld {
                    accounts.pinned += size
                    accounts.unsent += size
                } else {
                    accounts.policy.insert(id, name: name, size: size)
                }
            }
        }
        return id
    }

    /// Removes an object and its references. False: there was none.
    @discardableResult
    func remove(_ key: ObjectKey, in bucket: BucketRecord, _ db: Database, _ batch: inout Index.Batch) throws -> Bool {
        guard
            let row = try Row.fetchOne(
                db.cachedStatement(sql: "SELECT id, size, segments, backing IS NULL FROM object WHERE bucket = ? AND key = ?"),
                arguments: [bucket.id, Data(key.bytes)])
        else { return false }
        let id: Int64 = row[0]
        let size = Self.onDisk(row[1])
        var freed: Int64 = 0
        for segment in Segment.decode(row[2] as Data) { freed += try Index.release(segment, db, &batch) }
        try db.cachedStatement(sql: "DELETE FROM object WHERE id = ?").execute(arguments: [id])
        let isPinned = isPinned(bucket.name)
        let isHeld = isHeld(bucket.id, isUnsent: row[3])
        batch.afterwards.append { [self, freed] in
            accounts.withLock { accounts in
                accounts.objects -= 1
                accounts.used -= freed
                if isPinned {
                    accounts.pinned -= size
                } else if isHeld {
                    accounts.pinned -= size
                    accounts.unsent -= size
                } else {
                    accounts.policy.remove(id)
                }
            }
        }
        return true
    }

    /// Names a staged blob and refers to it.
    func publish(_ blob: StagedBlob, _ db: Database, _ batch: inout Index.Batch) throws {
        guard blob.segment.size > 0 else { return }
        try blob.publish(as: blobs.path(of: blob.segment.hash))
        batch.touched.insert(blob.segment.hash.directory)
        try refer(to: blob.segment, db, &batch)
    }

    func refer(to segment: Segment, _ db: Database, _ batch: inout Index.Batch) throws {
        let added = try Index.refer(to: segment, db, &batch)
        batch.afterwards.append { [self] in accounts.withLock { $0.used += added } }
    }

    func release(_ segment: Segment, _ db: Database, _ batch: inout Index.Batch) throws {
        let freed = try Index.release(segment, db, &batch)
        batch.afterwards.append { [self] in accounts.withLock { $0.used -= freed } }
    }

    /// The store behind has that version: from now on it can be evicted.
    func accountSent(_ id: Int64, _ name: UInt64, size: Int64, in bucket: String, _ batch: inout Index.Batch) {
        guard mode == .writeBack, !isPinned(bucket) else { return }
        let size = Self.onDisk(size)
        batch.afterwards.append { [self] in
            accounts.withLock { accounts in
                accounts.pinned -= size
                accounts.unsent -= size
                accounts.policy.insert(id, name: name, size: size)
            }
        }
    }

    /// Parts are bytes that no eviction frees.
    func account(pinned change: Int64, _ batch: inout Index.Batch) {
        batch.afterwards.append { [self] in accounts.withLock { $0.pinned += change } }
    }
}

/// An object that is about to be.
struct NewObject: Sendable {
    var key: ObjectKey
    var size: Int64
    var etag: String
    var modified: Timestamp
    var info: ObjectInfo
    var encodedInfo: Data
    var segments: [Segment]
    /// What the store behind calls it, where it has it already.
    var backing: String?

    init(key: ObjectKey, size: Int64, etag: String, modified: Timestamp, info: ObjectInfo, segments: [Segment]) {
        (self.key, self.size, self.etag, self.modified, self.info, self.segments) = (key, size, etag, modified, info, segments)
        encodedInfo = info.encoded
    }

    /// What is not an object of S3 keeps something else there.
    init(key: ObjectKey, size: Int64, etag: String, modified: Timestamp, info: Data, segments: [Segment]) {
        (self.key, self.size, self.etag, self.modified, self.segments) = (key, size, etag, modified, segments)
        self.info = ObjectInfo()
        encodedInfo = info
    }
}

/// What has happened since the start.
final class StoreCounters: Sendable {
    let evictions = Count()
    let evictedBytes = Count()
    let scrubbed = Count()
    let damaged = Count()
    let orphans = Count()
    let expired = Count()
}

/// A number that only grows, counted by any thread.
final class Count: Sendable {
    private let number = Atomic<Int>(0)
    func add(_ count: Int = 1) { number.add(count, ordering: .relaxed) }
    var value: UInt64 { UInt64(max(0, number.load(ordering: .relaxed))) }
}
