import CLinux

/// What /proc says of processes.
public enum ProcessTable {
    /// When the process started, in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)); nil when there is no such process.
    public static func startTime(of pid: Int32) -> UInt64? {
        guard let text = contents(of: "/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else { return nil }
        // After the name, which may hold anything: state is field 3.
        let fields = text[text.index(after: end)...].split(separator: " ")
        return fields.count > 19 ? UInt64(fields[19]) : nil
    }

    /// This process's resident memory in bytes (the second field of /proc/self/statm, proc(5)); nil when the kernel does not tell.
    public static func ownResidentBytes() -> UInt64? {
        let fields = contents(of: "/proc/self/statm")?.split(separator: " ") ?? []
        guard fields.count > 1, let pages = UInt64(fields[1]) else { return nil }
        return pages &* UInt64(max(0, sysconf(Int32(_SC_PAGESIZE))))
    }

    /// The processor time that this process has used, user and system (getrusage(2)).
    public static func ownProcessorTime() -> Duration {
        var usage = rusage()
        // Fails only for a bad address.
        _ = getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return .seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + .microseconds(Int64(usage.ru_utime.tv_usec) + Int64(usage.ru_stime.tv_usec))
    }

    /// Changes with every boot: what was written before it is about other processes. Empty when the kernel does not tell.
    public static func bootID() -> String { (contents(of: "/proc/sys/kernel/random/boot_id") ?? "").filter { $0 != "\n" } }

    /// The children of this process's thread that called, zombies included (proc(5), needs CONFIG_PROC_CHILDREN).
    public static func ownChildren() -> [Int32] {
        guard let tasks = opendir("/proc/self/task") else { return [] }
        defer { closedir(tasks) }
        var out: [Int32] = []
        while let entry = readdir(tasks) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard Int(name) != nil, let text = contents(of: "/proc/self/task/\(name)/children") else { continue }
            out += text.split(separator: " ").compactMap { Int32($0) }
        }
        return out
    }

    /// At most 64 KiB of a file of /proc; nil when it cannot be read.
    private static func contents(of path: String) -> String? {
        let raw = lh_open(path, O_RDONLY, 0)
        guard raw >= 0 else { return nil }
        let file = Descriptor(owning: Int32(raw))
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes { lh_read(file.raw, $0.baseAddress! + count, $0.count - count) }
            guard read > 0 else { break }
            count += read
        }
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}

/// How a process ended, from waitpid(2)'s status word.
public enum ChildEnd: Hashable, Sendable {
    case exited(Int32)
    case signalled(Int32)

    public init(status: Int32) {
        self = status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .signalled(status & 0x7f)
    }
}
