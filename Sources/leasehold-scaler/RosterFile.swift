import CLinux
import Foundation
import Linux
import ScalerCore

/// The file by which a scaler finds the workers of its predecessor. First line: format and boot, then one worker to a line.
struct RosterFile {
    let path: String
    private static var heading: String { "leasehold-workers 1 \(ProcessTable.bootID())" }

    /// Replaces the file as a whole, so that whatever kills us leaves the old one or the new one.
    func write(_ entries: [RosterEntry]) throws(SystemError) {
        let text = ([Self.heading] + entries.map(\.line)).joined(separator: "\n") + "\n"
        try Files.replace(path, text: text, mode: 0o600, isSynced: false)
    }

    /// The workers that still live, each verified by pid and start time; empty when there is no file, or one of an earlier boot.
    func readAlive() -> [RosterEntry] {
        guard let data = FileManager.default.contents(atPath: path) else { return [] }
        let lines = String(decoding: data, as: UTF8.self).split(separator: "\n")
        guard lines.first.map(String.init) == Self.heading else { return [] }
        return lines.dropFirst().compactMap { RosterEntry(line: $0) }
            .filter { ProcessTable.startTime(of: $0.process.pid) == $0.process.startTime }
    }

    func remove() { unlink(path) }
}
