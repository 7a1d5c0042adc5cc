import CLinux
import Foundation
import Linux
import Synchronization

/// The files of a store: `blobs/ab/cdef…`, named by their SHA-256, and `tmp/`, whose files nobody knows after a crash.
final class BlobDirectory: Sendable {
    let path: String
    private let counter = Atomic<UInt64>(0)
    private let lock: Int32

    /// Makes what is missing and removes what a crash left in `tmp`. Throws EWOULDBLOCK when another process has the directory.
    init(path: String) throws(SystemError) {
        self.path = path
        for name in ["", "/tmp", "/blobs"] { try Self.make(path + name) }
        lock = Int32(try check(lh_open(path + "/lock", O_RDWR | O_CREAT, 0o600), "open", path + "/lock"))
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let error = errno
            _ = lh_close(lock)
            throw SystemError(error, "lock (does another leasehold-asset-cache use it?)", path)
        }
        for directory in 0...255 { try Self.make(blobDirectory(UInt8(directory))) }
        for name in ["", "/blobs"] { try Self.sync(path + name) }
        for name in try Files.names(in: path + "/tmp") { _ = lh_unlink("\(path)/tmp/\(name)") }
    }

    deinit { _ = lh_close(lock) }

    /// A name for a new file, used by nobody else.
    func temporaryPath() -> String { "\(path)/tmp/\(counter.wrappingAdd(1, ordering: .relaxed).newValue)" }

    func path(of hash: BlobHash) -> String { "\(path)/blobs/\(hash.relativePath)" }

    func blobDirectory(_ number: UInt8) -> String { "\(path)/blobs/\(number < 16 ? "0" : "")\(String(number, radix: 16))" }

    /// Makes names given in this directory durable.
    func sync(_ number: UInt8) throws(SystemError) { try Self.sync(blobDirectory(number)) }

    func open(_ hash: BlobHash) throws(SystemError) -> Descriptor {
        let path = path(of: hash)
        return Descriptor(owning: Int32(try check(lh_open(path, O_RDONLY, 0), "open", path)))
    }

    private static func make(_ path: String) throws(SystemError) {
        if mkdir(path, 0o750) == 0 || errno == EEXIST { return }
        guard errno == ENOENT else { throw SystemError(errno, "mkdir (may this user write there?)", path) }
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
        } catch {
            throw SystemError(EACCES, "mkdir (may this user write there?)", path)
        }
    }

    private static func sync(_ path: String) throws(SystemError) {
        let opened = Descriptor(owning: Int32(try check(lh_open(path, O_RDONLY | O_DIRECTORY, 0), "open", path)))
        _ = try check(lh_fsync(opened.raw), "fsync", path)
    }
}
