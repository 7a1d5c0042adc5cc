import CLinux
import Linux

/// The epoch on disk: max(stored + 1, Unix seconds), synced before the first grant.
struct EpochFile {
    private let file: DurableFile
    init(directory: String) { file = DurableFile(path: directory + "/epoch") }

    /// This start's epoch, already on disk.
    func next() throws(SystemError) -> UInt64 {
        let stored = file.readText().flatMap { UInt64($0.split(separator: "\n").first ?? "") } ?? 0
        let epoch = max(stored &+ 1, UInt64(max(0, time(nil))))
        try file.write("\(epoch)\n")
        return epoch
    }
}
