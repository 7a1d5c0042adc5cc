import CLinux

/// A memfd, mapped: 64-bit words that another process finds as they were when this one was killed.
///
/// Sparse: pages that were never touched cost nothing. Confined to one thread; the other process looks only after this one is dead.
public final class SharedWords {
    public let descriptor: Int32
    public let words: UnsafeMutablePointer<UInt64>
    public let count: Int

    /// New, all zero.
    public init(name: String, count: Int) throws(SystemError) {
        let raw = Int32(try check(lh_memfd(name), "memfd_create", name))
        let sized = lh_truncate(raw, Int64(count * 8))
        var error = sized
        guard sized >= 0, let base = lh_map(raw, count * 8, &error) else {
            _ = lh_close(raw)
            throw SystemError(Int32(-error), "mmap", name)
        }
        descriptor = raw
        words = base.assumingMemoryBound(to: UInt64.self)
        self.count = count
    }

    /// Another process's, as it left them; owns the descriptor from here on, also when this fails. EINVAL when it has another size.
    public init(owning raw: consuming Descriptor, count: Int) throws(SystemError) {
        var status = stat()
        _ = try check(lh_fstat(raw.raw, &status), "fstat", "records")
        guard status.st_size == count * 8 else { throw SystemError(EINVAL, "map", "records of \(status.st_size) bytes") }
        var error = 0
        guard let base = lh_map(raw.raw, count * 8, &error) else { throw SystemError(Int32(-error), "mmap", "records") }
        descriptor = raw.release()
        words = base.assumingMemoryBound(to: UInt64.self)
        self.count = count
    }

    /// Whether both map the same memory.
    public func isSame(as other: SharedWords) -> Bool {
        var ours = stat()
        var theirs = stat()
        return lh_fstat(descriptor, &ours) >= 0 && lh_fstat(other.descriptor, &theirs) >= 0 && ours.st_dev == theirs.st_dev
            && ours.st_ino == theirs.st_ino
    }

    deinit {
        lh_unmap(words, count * 8)
        _ = lh_close(descriptor)
    }
}
