import CLinux
import Linux

/// The epoch on disk: max(stored + 1, Unix seconds), synced before the first grant.
struct EpochFile {
    private let path: String
    init(directory: String) { path = directory + "/epoch" }

    /// This start's epoch, already on disk.
    func next() throws(SystemError) -> UInt64 {
        let stored = try load()
        let epoch = max(stored &+ 1, UInt64(max(0, lh_realtime() / 1_000_000_000)))
        try Files.replace(path, text: "\(epoch)\n")
        return epoch
    }

    /// Zero before the first start. A file that cannot be read or makes no sense stops the start: guessing could repeat tokens.
    private func load() throws(SystemError) -> UInt64 {
        let content: Files.Content
        do throws(SystemError) { content = try Files.read(path, limit: 64) } catch {
            if error.errno == ENOENT { return 0 }
            throw error
        }
        guard let text = String(validating: content.bytes, as: UTF8.self), let epoch = UInt64(text.filter { $0 != "\n" }) else {
            throw SystemError(EINVAL, "read (it must hold one number; remove it if this machine's clock is right)", path)
        }
        return epoch
    }
}

extension Files {
    static func replace(_ path: String, text: String) throws(SystemError) {
        let bytes = Array(text.utf8)
        try replace(path) { write in bytes.withUnsafeBytes { write($0) } }
    }
}
