import CLinux
import Linux

/// The epoch on disk, synced before the first grant; and whether its pool-keeper has left nothing behind.
struct EpochFile {
    /// What the file says of the last pool-keeper here.
    struct Last {
        /// Zero before the first start.
        var epoch: UInt64
        /// It ended in order with no lease, or there was none: nobody needs its roster.
        var leftNothing: Bool
    }

    private let path: String
    private static let idle = "idle"
    init(directory: String) { path = directory + "/epoch" }

    /// A file that cannot be read or makes no sense stops the start: guessing could repeat tokens.
    func load() throws(SystemError) -> Last {
        let content: Files.Content
        do throws(SystemError) { content = try Files.read(path, limit: 64) } catch {
            if error.errno == ENOENT { return Last(epoch: 0, leftNothing: true) }
            throw error
        }
        let words = String(decoding: content.bytes, as: UTF8.self).split { $0 == "\n" || $0 == " " }
        guard let epoch = words.first.flatMap({ UInt64($0) }), words.count == 1 || words.count == 2 && words[1] == Self.idle else {
            throw SystemError(EINVAL, "read (it must hold one number; remove it if this machine's clock is right)", path)
        }
        return Last(epoch: epoch, leftNothing: words.count == 2)
    }

    /// The epoch of a start after `last`: max(its epoch + 1, Unix seconds).
    static func next(after last: Last) -> UInt64 { max(last.epoch &+ 1, UInt64(max(0, lh_realtime() / 1_000_000_000))) }

    /// On disk when this returns.
    func write(_ epoch: UInt64, leavesNothing: Bool) throws(SystemError) {
        try Files.replace(path, text: leavesNothing ? "\(epoch) \(Self.idle)\n" : "\(epoch)\n")
    }
}
