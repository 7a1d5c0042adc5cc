import CLinux
import KeeperCore
import Linux
import Model

/// The operator's pauses and drains on disk, so that a restart does not take them back. One to a line: `pause` or `refuse` and the pool,
/// `drain` and the endpoint, in hexadecimal.
struct OperatorFile {
    private let path: String
    private var kept = HeldBack()

    init(directory: String) { path = directory + "/held-back" }

    /// What an earlier pool-keeper wrote. A file that cannot be read or makes no sense stops the start: guessing could grant what is held back.
    mutating func load() throws(SystemError) -> HeldBack {
        let bytes: [UInt8]
        do throws(SystemError) { bytes = try Files.read(path, limit: 1 << 20).bytes } catch {
            if error.isNoSuchFile { return kept }
            throw error
        }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            let numbers = words.dropFirst().map { UInt64($0, radix: 16) }
            switch (words.first, numbers.count, numbers.first ?? nil, numbers.last ?? nil) {
            case ("pause"?, 1, let pool?, _) where pool <= UInt32.max: kept.paused[PoolID(rawValue: UInt32(pool))] = false
            case ("refuse"?, 1, let pool?, _) where pool <= UInt32.max: kept.paused[PoolID(rawValue: UInt32(pool))] = true
            case ("drain"?, 2, let high?, let low?): kept.drained.insert(EndpointID(high: high, low: low))
            default: throw SystemError(EINVAL, "read '\(line)' (remove the file: pauses and drains are forgotten then)", path)
            }
        }
        return kept
    }

    /// Writes what has changed, synced.
    mutating func save(_ heldBack: HeldBack) throws(SystemError) {
        if heldBack == kept { return }
        var text = ""
        for (pool, refuses) in heldBack.paused { text += "\(refuses ? "refuse" : "pause") \(String(pool.rawValue, radix: 16))\n" }
        for id in heldBack.drained { text += "drain \(String(id.high, radix: 16)) \(String(id.low, radix: 16))\n" }
        try Files.replace(path, text: text)
        kept = heldBack
    }
}
