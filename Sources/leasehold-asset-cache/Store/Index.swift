import AssetCore
import Foundation
import GRDB
import Linux
import Synchronization

/// The index of a store: SQLite in WAL mode, one writer that commits for many at once, readers beside it. Blocks; never on an event loop.
///
/// A write is durable when `write` returns: the files that it names were synced before the commit, and the commit syncs the log. Files are
/// named and removed by the writer alone, so a blob cannot be removed while another write gives it a new reference.
final class Index: Sendable {
    private let pool: DatabasePool
    private let blobs: BlobDirectory
    private let queue = Mutex(Queue())
    private let leader = DispatchQueue(label: "index-writer")

    private struct Queue {
        var waiting: [Job] = []
        var hasLeader = false
    }

    /// One caller's write while it waits for the commit.
    private final class Job: @unchecked Sendable {
        // Handed to the leader under the queue's lock, back to its caller by the semaphore.
        let body: (Database, inout Batch) throws -> Void
        let done = DispatchSemaphore(value: 0)
        var failure: (any Error)?
        init(_ body: @escaping (Database, inout Batch) throws -> Void) { self.body = body }
    }

    /// Most writes in one commit.
    private static let mostPerCommit = 256

    init(path: String, blobs: BlobDirectory) throws {
        self.blobs = blobs
        var configuration = GRDB.Configuration()
        configuration.maximumReaderCount = 16
        configuration.busyMode = .timeout(10)
        configuration.prepareDatabase { db in
            // Every commit reaches the disk before it is acknowledged.
            try db.execute(sql: "PRAGMA synchronous = FULL")
            try db.execute(sql: "PRAGMA cache_size = -16384")
        }
        pool = try DatabasePool(path: path, configuration: configuration)
        try pool.write { db in try Self.makeTables(db) }
    }

    private static func makeTables(_ db: Database) throws {
        let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        guard version <= 2 else { throw SystemError(EPROTONOSUPPORT, "open", "the index (it was written by a newer version)") }
        if version == 1 {
            try db.execute(sql: "ALTER TABLE object ADD COLUMN backing TEXT; ALTER TABLE bucket ADD COLUMN backed INTEGER NOT NULL DEFAULT 0")
        }
        try db.execute(
            sql: """
                CREATE TABLE IF NOT EXISTS bucket(
                    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, region TEXT NOT NULL, lifecycle BLOB,
                    backed INTEGER NOT NULL DEFAULT 0);
                CREATE TABLE IF NOT EXISTS blob(hash BLOB PRIMARY KEY, size INTEGER NOT NULL, refs INTEGER NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS object(
                    id INTEGER PRIMARY KEY AUTOINCREMENT, bucket INTEGER NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
                    modified INTEGER NOT NULL, info BLOB NOT NULL, segments BLOB NOT NULL, backing TEXT, UNIQUE(bucket, key));
                CREATE TABLE IF NOT EXISTS upload(
                    id TEXT PRIMARY KEY, bucket INTEGER NOT NULL, key BLOB NOT NULL, initiated INTEGER NOT NULL, info BLOB NOT NULL,
                    algorithm TEXT, type TEXT);
                CREATE INDEX IF NOT EXISTS uploadByKey ON upload(bucket, key, id);
                CREATE TABLE IF NOT EXISTS part(
                    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB NOT NULL, md5 BLOB NOT NULL,
                    modified INTEGER NOT NULL, algorithm TEXT, checksum BLOB, PRIMARY KEY(upload, number)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS pending(
                    bucket TEXT NOT NULL, key BLOB NOT NULL, generation INTEGER NOT NULL, gone INTEGER NOT NULL,
                    PRIMARY KEY(bucket, key)) WITHOUT ROWID;
                PRAGMA user_version = 2;
                """)
    }

    // MARK: Reading

    func read<T>(_ body: (Database) throws -> T) throws -> T { try pool.read(body) }

    /// The index as it is now, whatever is written meanwhile.
    func snapshot() throws -> DatabaseSnapshot { try pool.makeSnapshot() }

    // MARK: Writing

    /// What the writes of one commit do to files and to what is remembered of them.
    struct Batch {
        /// Directories with new names, to be synced before the commit.
        var touched: Set<UInt8> = []
        /// Blobs that nothing refers to any more, to be removed after it.
        var condemned: Set<BlobHash> = []
        /// What the store does when the commit has succeeded.
        var afterwards: [() -> Void] = []
    }

    /// Runs `body` in a transaction of its own or of many; returns when it is durable. What it throws undoes all that it did to the index.
    func write<T>(_ body: @escaping (Database, inout Batch) throws -> T) throws -> T {
        var result: T?
        let job = Job { db, batch in result = try body(db, &batch) }
        let leads = queue.withLock { queue in
            queue.waiting.append(job)
            defer { queue.hasLeader = true }
            return !queue.hasLeader
        }
        if leads { leader.async { self.lead() } }
        job.done.wait()
        if let failure = job.failure { throw failure }
        guard let result else { throw SystemError(EIO, "commit") }
        return result
    }

    /// Commits until nobody waits.
    private func lead() {
        while true {
            let jobs = queue.withLock { queue -> [Job] in
                let jobs = Array(queue.waiting.prefix(Self.mostPerCommit))
                queue.waiting.removeFirst(jobs.count)
                if jobs.isEmpty { queue.hasLeader = false }
                return jobs
            }
            if jobs.isEmpty { return }
            commit(jobs)
            for job in jobs { job.done.signal() }
        }
    }

    private func commit(_ jobs: [Job]) {
        pool.writeWithoutTransaction { db in
            var batch = Batch()
            do {
                try db.inTransaction(.immediate) {
                    for job in jobs {
                        let before = batch
                        do {
                            try db.inSavepoint {
                                try job.body(db, &batch)
                                return .commit
                            }
                        } catch {
                            // The index is as it was before; so is what was to be done to files.
                            job.failure = error
                            batch.condemned = before.condemned
                            batch.afterwards = before.afterwards
                        }
                    }
                    for directory in batch.touched { try blobs.sync(directory) }
                    return .commit
                }
            } catch {
                for job in jobs where job.failure == nil { job.failure = error }
                return
            }
            for hash in batch.condemned { remove(hash) }
            for action in batch.afterwards { action() }
        }
    }

    /// Only from the writer.
    private func remove(_ hash: BlobHash) {
        guard
            !readers.withLock({ readers in
                guard readers.counts[hash] != nil else { return false }
                readers.deferred.insert(hash)
                return true
            })
        else { return }
        // A crash before this line, or a failure, leaves a file that the next scrub removes.
        _ = unlink(blobs.path(of: hash))
    }

    // MARK: Readers of several files

    private let readers = Mutex(Readers())

    private struct Readers {
        var counts: [BlobHash: Int] = [:]
        var deferred: Set<BlobHash> = []
    }

    /// While held, blobs stay on disk even when nothing refers to them any more.
    func hold(_ hashes: [BlobHash]) { readers.withLock { readers in for hash in hashes { readers.counts[hash, default: 0] += 1 } } }

    func letGo(_ hashes: [BlobHash]) {
        let free = readers.withLock { readers -> [BlobHash] in
            var free: [BlobHash] = []
            for hash in hashes {
                guard let count = readers.counts[hash] else { continue }
                readers.counts[hash] = count > 1 ? count - 1 : nil
                if count == 1, readers.deferred.remove(hash) != nil { free.append(hash) }
            }
            return free
        }
        guard !free.isEmpty else { return }
        // Failing leaves files for the next scrub.
        _ = try? write { db, batch in for hash in free where try !Self.isKnown(hash, db) { batch.condemned.insert(hash) } }
    }

    // MARK: References

    static func isKnown(_ hash: BlobHash, _ db: Database) throws -> Bool {
        try Int.fetchOne(db.cachedStatement(sql: "SELECT 1 FROM blob WHERE hash = ?"), arguments: [Data(hash.bytes)]) != nil
    }

    /// One more reference. Returns the bytes that the disk has more now.
    static func refer(to segment: Segment, _ db: Database, _ batch: inout Batch) throws -> Int64 {
        let hash = Data(segment.hash.bytes)
        batch.condemned.remove(segment.hash)
        try db.cachedStatement(sql: "UPDATE blob SET refs = refs + 1 WHERE hash = ?").execute(arguments: [hash])
        if db.changesCount > 0 { return 0 }
        try db.cachedStatement(sql: "INSERT INTO blob(hash, size, refs) VALUES (?, ?, 1)").execute(arguments: [hash, segment.size])
        return segment.onDisk
    }

    /// One reference less. Returns the bytes that the disk has less now.
    static func release(_ segment: Segment, _ db: Database, _ batch: inout Batch) throws -> Int64 {
        let hash = Data(segment.hash.bytes)
        try db.cachedStatement(sql: "UPDATE blob SET refs = refs - 1 WHERE hash = ?").execute(arguments: [hash])
        try db.cachedStatement(sql: "DELETE FROM blob WHERE hash = ? AND refs <= 0").execute(arguments: [hash])
        guard db.changesCount > 0 else { return 0 }
        batch.condemned.insert(segment.hash)
        return segment.onDisk
    }
}
