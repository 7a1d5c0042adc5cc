import CLinux
import KeeperCore
import Linux
import Model

/// The dispatcher processes that may hold leases, and the endpoints that dead ones have left at a job: in a file, so that a successor
/// waits for the living, and leaves those endpoints alone for as long as its predecessor did.
///
/// The file is in the runtime directory, in memory: it is written on the pool-keeper's loop in the moment of a dispatcher's death, and a
/// disk may take longer for that than the watchdog waits. Its first line names the epoch that it belongs to; the epoch's own file is on
/// disk, and tells when this one has been lost (a boot, a container made anew).
struct DispatcherRoster {
    /// A line of the file: a process is its pid and start time (proc(5), field 22), because pids are reused.
    struct Process: Hashable {
        var instance: InstanceID
        var seat: String
        var pid: Int32
        var startTime: UInt64

        static let unknown = Process(instance: RosterEntry.unknown.instance, seat: RosterEntry.unknown.seat, pid: 0, startTime: 0)
    }

    private let path: String
    private var epoch: UInt64 = 0
    private(set) var processes: [InstanceID: Process] = [:]

    init(directory: String) { path = directory + "/dispatchers.roster" }

    private static let heading = "leasehold-dispatchers 1"

    /// What the pool-keeper of `last` wrote, taken over for `epoch`; lines that make no sense are skipped.
    mutating func load(after last: EpochFile.Last, for epoch: UInt64) throws(SystemError) -> (processes: [Process], setAside: [SetAside]) {
        self.epoch = epoch
        // No file, or an unreadable one, is no roster.
        let bytes = (try? Files.read(path, limit: 1 << 24).bytes) ?? []
        var lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        // One of a later epoch belongs to a start that did not come as far as to write its epoch.
        let isOfLast = lines.first?.split(separator: " ").last.flatMap { UInt64($0) }.map { $0 >= last.epoch } ?? false
        guard isOfLast, lines.removeFirst().hasPrefix(Self.heading) else {
            let lost: [Process] = last.leftNothing ? [] : [.unknown]
            for process in lost { know(process) }
            try write(lost, [])
            return (lost, [])
        }
        let list = lines.compactMap { line -> Process? in
            let fields = line.split(separator: " ", maxSplits: 3)
            guard fields.count == 4, let instance = UInt64(fields[0], radix: 16), let pid = Int32(fields[1]), let start = UInt64(fields[2])
            else { return nil }
            return Process(instance: InstanceID(rawValue: instance), seat: String(fields[3]), pid: pid, startTime: start)
        }
        for process in list { know(process) }
        let setAside = lines.compactMap(Self.setAside)
        try write(list, setAside)
        return (list, setAside)
    }

    /// `aside`, the endpoint in two hexadecimal words, and until when, in nanoseconds of CLOCK_MONOTONIC.
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
        try write(entries.compactMap { processes[$0.instance] }, setAside)
    }

    private func write(_ processes: [Process], _ setAside: [SetAside]) throws(SystemError) {
        var text = "\(Self.heading) \(epoch)\n"
        for process in processes {
            text += "\(String(process.instance.rawValue, radix: 16)) \(process.pid) \(process.startTime) \(process.seat)\n"
        }
        for aside in setAside {
            text += "aside \(String(aside.endpoint.high, radix: 16)) \(String(aside.endpoint.low, radix: 16)) \(aside.until.nanoseconds)\n"
        }
        try Files.replace(path, text: text, isSynced: false)
    }
}
