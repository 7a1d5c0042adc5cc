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

    private let file: DurableFile
    private(set) var processes: [InstanceID: Process] = [:]

    init(directory: String) { file = DurableFile(path: directory + "/dispatchers") }

    /// What an earlier pool-keeper wrote; lines that make no sense are skipped.
    mutating func load() -> [Process] {
        let lines = (file.readText() ?? "").split(separator: "\n")
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
    mutating func forget(_ instance: InstanceID) { processes[instance] = nil }

    /// Writes those that the machine names.
    func save(_ entries: [RosterEntry]) throws(SystemError) {
        var text = ""
        for entry in entries {
            guard let process = processes[entry.instance] else { continue }
            text += "\(String(process.instance.rawValue, radix: 16)) \(process.pid) \(process.startTime) \(process.seat)\n"
        }
        try file.write(text)
    }

    /// A process's start time in clock ticks since boot; nil when there is no such process.
    static func startTime(of pid: Int32) -> UInt64? {
        guard let stat = DurableFile(path: "/proc/\(pid)/stat").readText(), let paren = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: paren)...].split(separator: " ")
        // Field 22 of the file; the first one behind the name is field 3.
        return fields.count > 19 ? UInt64(fields[19]) : nil
    }
}
