import CLinux
import KeeperCore
import Linux
import Model

/// The dispatcher processes that may hold leases, and the endpoints that dead ones have left at a job: on disk, so that a successor
/// waits for the living, and leaves those endpoints alone for as long as its predecessor did.
struct DispatcherRoster {
    /// A line of the file: a process is its pid and start time (proc(5), field 22), because pids are reused.
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
    mutating func load() -> (processes: [Process], setAside: [SetAside]) {
        // No file, or an unreadable one, is no roster: nobody is known to hold anything.
        let bytes = (try? Files.read(path, limit: 1 << 24).bytes) ?? []
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        let list = lines.compactMap { line -> Process? in
            let fields = line.split(separator: " ", maxSplits: 3)
            guard fields.count == 4, let instance = UInt64(fields[0], radix: 16), let pid = Int32(fields[1]), let start = UInt64(fields[2])
            else { return nil }
            return Process(instance: InstanceID(rawValue: instance), seat: String(fields[3]), pid: pid, startTime: start)
        }
        for process in list { processes[process.instance] = process }
        return (list, lines.compactMap(Self.setAside))
    }

    /// `aside`, the endpoint in two hexadecimal words, and until when, in nanoseconds of CLOCK_MONOTONIC: after a boot that is a moment
    /// of no meaning, which the machine bounds.
    private static func setAside(_ line: Substring) -> SetAside? {
        let fields = line.split(separator: " ")
        guard fields.count == 4, fields[0] == "aside", let high = UInt64(fields[1], radix: 16), let low = UInt64(fields[2], radix: 16),
            let until = Int64(fields[3])
        else { return nil }
        return SetAside(endpoint: EndpointID(high: high, low: low), until: Instant(nanoseconds: until))
    }

    mutating func know(_ process: Process) { processes[process.instance] = process }

    /// Writes those that the machine names, and forgets others that are not alive either.
    mutating func save(_ entries: [RosterEntry], _ setAside: [SetAside], isAlive: (InstanceID) -> Bool) throws(SystemError) {
        let named = Set(entries.map(\.instance))
        processes = processes.filter { named.contains($0.key) || isAlive($0.key) }
        var text = ""
        for entry in entries {
            guard let process = processes[entry.instance] else { continue }
            text += "\(String(process.instance.rawValue, radix: 16)) \(process.pid) \(process.startTime) \(process.seat)\n"
        }
        for aside in setAside {
            text += "aside \(String(aside.endpoint.high, radix: 16)) \(String(aside.endpoint.low, radix: 16)) \(aside.until.nanoseconds)\n"
        }
        try Files.replace(path, text: text)
    }
}
