import CLinux
import CSystemd
import Linux

/// Sockets that the service manager opened for this process (sd_listen_fds(3)), by FileDescriptorName.
public struct ListenDescriptors {
    /// Name and number in the manager's order; a name may come more than once.
    public private(set) var entries: [(name: String, descriptor: Int32)] = []

    /// Reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, and removes them from the environment so that children do not see them.
    public init() throws(SystemError) {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = try check(Int(sd_listen_fds_with_names(1, &names)), "sd_listen_fds_with_names")
        defer {
            if let names {
                for i in 0..<count { free(names[i]) }
                free(names)
            }
        }
        for i in 0..<count {
            let name = names?[i].map { String(cString: $0) } ?? "unknown"
            entries.append((name, 3 + Int32(i)))
        }
    }

    /// Takes every descriptor of that name; the caller owns them.
    public mutating func take(_ name: String) -> [Int32] {
        let found = entries.filter { $0.name == name }.map(\.descriptor)
        entries.removeAll { $0.name == name }
        return found
    }
}
