import AssetCore
import CLinux
import Crypto
import Linux

/// A body on its way into the store: written to a file that no one knows yet, and hashed meanwhile. Blocks; never on an event loop.
///
/// Leaves to: a staged blob by `finish()`; nothing by going away.
final class BlobWriter {
    private let path: String
    private var file: Descriptor
    private var sha256 = SHA256()
    private var md5 = Insecure.MD5()
    private var checksum: RunningChecksum?
    private(set) var size: Int64 = 0
    private var isStaged = false

    init(path: String, checksum: ChecksumAlgorithm?) throws(SystemError) {
        self.path = path
        file = Descriptor(owning: Int32(try check(lh_open(path, O_WRONLY | O_CREAT | O_EXCL, 0o640), "open", path)))
        self.checksum = checksum.map(RunningChecksum.init)
    }

    deinit {
        // A crash leaves it too, and the next start removes it.
        if !isStaged { _ = lh_unlink(path) }
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = lh_write(file.raw, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count == Int(-EINTR) { continue }
            done += try check(count, "write", path)
        }
        size += Int64(bytes.count)
        sha256.update(bufferPointer: bytes)
        md5.update(bufferPointer: bytes)
        checksum?.update(bytes)
    }

    /// What has been written so far can be read here, also after the blob has its name.
    func reader() throws(SystemError) -> Descriptor {
        Descriptor(owning: Int32(try check(lh_open(path, O_RDONLY, 0), "open", path)))
    }

    /// Waits until the disk has it all.
    func finish() throws(SystemError) -> StagedBlob {
        _ = try check(lh_fsync(file.raw), "fsync", path)
        file.close()
        isStaged = true
        return StagedBlob(
            path: path, segment: Segment(hash: BlobHash(bytes: Array(sha256.finalize())), size: size), md5: Array(md5.finalize()),
            checksum: checksum?.value)
    }
}

/// A body that is whole and on disk, under a name that only its request knows.
final class StagedBlob: @unchecked Sendable {
    // Confined: made by one job of its request, used by the next, published by the index's writer while the request waits.

    let segment: Segment
    let md5: [UInt8]
    let checksum: Checksum?
    fileprivate let path: String
    private var isPublished = false

    init(path: String, segment: Segment, md5: [UInt8], checksum: Checksum?) {
        self.path = path
        self.segment = segment
        self.md5 = md5
        self.checksum = checksum
    }

    deinit { if !isPublished { _ = lh_unlink(path) } }

    /// Gives it its name, in place of the same bytes if they are there already. Durable once the directory is synced.
    func publish(as name: String) throws(SystemError) {
        if isPublished { return }
        _ = try check(lh_rename(path, name), "rename", name)
        isPublished = true
    }
}

extension StagedBlob {
    /// Its bytes, before it has its name.
    func reader() throws(SystemError) -> Descriptor {
        Descriptor(owning: Int32(try check(lh_open(path, O_RDONLY, 0), "open", path)))
    }

    /// A small document, read back.
    func bytes() throws(SystemError) -> [UInt8] { try Files.read(path, limit: 64 << 20).bytes }
}
