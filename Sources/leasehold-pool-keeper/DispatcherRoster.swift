import CLinux
import KeeperCore
import Linux

/// The dispatcher processes that may hold leases: on disk, so that a successor waits for those that still live.
struct DispatcherRoster {
    /// One line of the file: a process is its pid and start time (proc(5), field 22), because pids are reused.
    struct Process: Hashable {
        var instance: InstanceID
        var seat: String
        var pid: Int32
        var startTime: UInt64
    }

    private let path: String
    private(set) var processes: [InstanceID: Process] = [:]

    init(directory: String) { path = directory + "/dispatchers" }

    /// What an earlier pool-keeper wrote; lines that make no sense are skipped.
    mutating func load() -> [Process] {
        // No file, or an unreadable one, is no roster: nobody is known to hold anything.
        let bytes = (try? Files.read(path, limit: 1 << 20).bytes) ?? []
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        let list = lines.compactMap { line -> Process? in
            let fields = line.split(separator: " ", maxSplits: 3)
            guard fields.count == 4, let instance = UInt64(fields[0], radix: 16), let pid = Int32(fields[1]), let start = UInt64(fields[2])
            else { return nil }
            return Process(instance: InstanceID(rawValue: instance), seat: String(fields[3]), pid: pid, startTime: start)
        }
        for process in list { processes[process.instance] = process }
        return list
    }

    mutating func know(_ process: Process) { processes[process.instance] = process }
    /// Writes those that the machine names, and forgets others that are not alive either.
    mutating func save(_ entries: [RosterEntry], isAlive: (InstanceID) -> Bool) throws(SystemError) {
        let named = Set(entries.map(\.instance))
        processes = processes.filter { named.contains($0.key) || isAlive($0.key) }
        var text = ""
        for entry in entries {
            guard let process = processes[entry.instance] else { continue }
            text += "\(String(process.instance.rawValue, radix: 16)) \(process.pid) \(process.startTime) \(process.seat)\n"
        }
        try Files.replace(path, text: text)
    }
}
