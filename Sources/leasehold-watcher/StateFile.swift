import Linux
import Model
import WatcherCore

/// The last complete state on disk, so that the next life of this process does not begin with nothing.
///
/// The file's time of modification says when the state was last known to be right; ``confirm()`` moves it along while nothing changes.
struct StateFile {
    let path: String

    /// Beyond this a file is not one of ours: a state of 100,000 endpoints has 15 MB.
    private static let limit = 1 << 30

    /// What an earlier life saved, older by the time that has passed since; nil if there is nothing.
    func load() throws -> SavedState? {
        let content: Files.Content
        do throws(SystemError) {
            content = try Files.read(path, limit: Self.limit)
        } catch {
            if error.isNoSuchFile { return nil }
            throw error
        }
        var state = try content.bytes.withUnsafeBytes { try SavedState($0) }
        state.age += content.stamp.age
        return state
    }

    /// Replaces the file. O(endpoints), and one fsync.
    func save(_ state: SavedState) throws(SystemError) {
        try Files.replace(path) { write in state.encode(write) }
    }

    /// The saved state is still right.
    func confirm() throws(SystemError) { try Files.touch(path) }
}
