import CLinux

/// Whole files: read with a bound, replaced so that a reader sees the old or the new one, never half.
public enum Files {
    /// The names in a directory, without `.` and `..`, unordered. Names that are not UTF-8 are left out: nothing of ours is called so.
    public static func names(in directory: String) throws(SystemError) -> [String] {
        let opened = Descriptor(owning: Int32(try check(lh_open(directory, O_RDONLY | O_DIRECTORY, 0), "open", directory)))
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 8)
        defer { buffer.deallocate() }
        var names: [String] = []
        while true {
            let count = try check(lh_directory_entries(opened.raw, buffer.baseAddress, buffer.count), "getdents64", directory)
            if count == 0 { return names }
            var offset = 0
            // getdents64(2): inode (8 bytes), offset (8), length of the record (2), type (1), name up to a NUL.
            while count - offset > 19 {
                let length = Int(buffer.loadUnaligned(fromByteOffset: offset + 16, as: UInt16.self))
                guard length > 19, offset + length <= count else { break }
                let bytes = buffer[(offset + 19)..<(offset + length)].prefix { $0 != 0 }
                if let name = String(validating: bytes, as: UTF8.self), name != ".", name != ".." { names.append(name) }
                offset += length
            }
        }
    }

    /// What a file is and which version of it.
    public static func stamp(_ path: String, followingLinks: Bool = true) throws(SystemError) -> FileStamp {
        var status = stat()
        _ = try check(lh_stat(path, followingLinks ? 1 : 0, &status), "stat", path)
        return FileStamp(status)
    }

    /// A file's bytes and the version that they are.
    public struct Content {
        public var bytes: [UInt8]
        public var stamp: FileStamp
        /// Somebody wrote to it meanwhile: the bytes may be of two versions.
        public var isTorn: Bool
    }

    /// Reads a regular file whole. Throws EFBIG beyond `limit` bytes, EINVAL for what is no regular file.
    public static func read(_ path: String, limit: Int) throws(SystemError) -> Content {
        // Without O_NONBLOCK the open of a FIFO would wait for a writer.
        let opened = Descriptor(owning: Int32(try check(lh_open(path, O_RDONLY | O_NONBLOCK, 0), "open", path)))
        var status = stat()
        _ = try check(lh_fstat(opened.raw, &status), "fstat", path)
        let before = FileStamp(status)
        guard before.isRegular else { throw SystemError(EINVAL, "read", path) }
        guard before.size <= limit else { throw SystemError(EFBIG, "read", path) }
        var failure = 0
        var length = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(before.size) + 1) { room, initialized in
            while length < room.count {
                let count = lh_read(opened.raw, room.baseAddress.map { $0 + length }, room.count - length)
                if count == Int(-EINTR) { continue }
                if count <= 0 {
                    failure = count
                    break
                }
                length += count
            }
            initialized = length
        }
        _ = try check(failure, "read", path)
        _ = try check(lh_fstat(opened.raw, &status), "fstat", path)
        let after = FileStamp(status)
        return Content(bytes: bytes, stamp: after, isTorn: before != after || bytes.count != Int(after.size))
    }

    /// Puts a new file in the place of an old one: written aside, synced, renamed, and the directory synced.
    ///
    /// - Parameters:
    ///   - isSynced: false for what need not outlive the machine: then the death of this process leaves the old file or the new one, and a
    ///     loss of power may leave neither.
    ///   - write: calls its argument with the content, piece by piece.
    public static func replace(
        _ path: String, mode: mode_t = 0o640, isSynced: Bool = true, _ write: ((UnsafeRawBufferPointer) -> Void) -> Void
    ) throws(SystemError) {
        let aside = path + ".new"
        do throws(SystemError) {
            let file = Descriptor(owning: Int32(try check(lh_open(aside, O_WRONLY | O_CREAT | O_TRUNC, mode), "open", aside)))
            var failure = 0
            write { piece in
                var done = 0
                while failure == 0, done < piece.count {
                    let count = lh_write(file.raw, piece.baseAddress.map { $0 + done }, piece.count - done)
                    if count == Int(-EINTR) { continue }
                    if count <= 0 { failure = count == 0 ? Int(-EIO) : count } else { done += count }
                }
            }
            _ = try check(failure, "write", aside)
            if isSynced { _ = try check(lh_fsync(file.raw), "fsync", aside) }
            _ = try check(lh_rename(aside, path), "rename", path)
        } catch {
            // The old file is whole; half of a new one helps nobody.
            _ = lh_unlink(aside)
            throw error
        }
        guard isSynced else { return }
        let directory = path.lastIndex(of: "/").map { path[..<$0] }.map { $0.isEmpty ? "/" : String($0) } ?? "."
        let opened = Descriptor(owning: Int32(try check(lh_open(directory, O_RDONLY | O_DIRECTORY, 0), "open", directory)))
        _ = try check(lh_fsync(opened.raw), "fsync", directory)
    }

    /// The same with a text.
    public static func replace(_ path: String, text: String, mode: mode_t = 0o640, isSynced: Bool = true) throws(SystemError) {
        let bytes = Array(text.utf8)
        try replace(path, mode: mode, isSynced: isSynced) { write in bytes.withUnsafeBytes { write($0) } }
    }

    /// Takes a file for this process alone, made if it is not there; held for as long as the descriptor lives, and over with the process
    /// however it ends. `holder` says in the error who may have it (EWOULDBLOCK).
    public static func lock(_ path: String, holder: String) throws(SystemError) -> Descriptor {
        let file = Descriptor(owning: Int32(try check(lh_open(path, O_RDWR | O_CREAT, 0o600), "open", path)))
        _ = try check(lh_lock(file.raw), "lock (\(holder))", path)
        return file
    }

    /// Makes a file's time of modification now.
    public static func touch(_ path: String) throws(SystemError) {
        _ = try check(lh_touch(path), "utimensat", path)
    }
}

/// A version of a file: equal stamps mean the same content, as far as the file system tells.
public struct FileStamp: Hashable, Sendable {
    public var device: UInt64
    public var inode: UInt64
    public var size: Int64
    /// Nanoseconds of the wall clock.
    public var modified: Int64
    public var changed: Int64
    public var links: UInt64
    private var kind: mode_t

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        modified = Self.nanoseconds(status.st_mtim)
        changed = Self.nanoseconds(status.st_ctim)
        links = UInt64(status.st_nlink)
        kind = status.st_mode & mode_t(S_IFMT)
    }

    private static func nanoseconds(_ time: timespec) -> Int64 { Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec) }

    public var isRegular: Bool { kind == mode_t(S_IFREG) }
    public var isLink: Bool { kind == mode_t(S_IFLNK) }
    public var isDirectory: Bool { kind == mode_t(S_IFDIR) }

    /// How long ago the content was written, by the wall clock; never negative.
    public var age: Duration { .nanoseconds(max(0, lh_realtime() &- modified)) }
}
