import Model

/// By which names a door may be asked. A page in a browser on the same machine can make a name of its own lead here (DNS rebinding), and then
/// read what it gets: what it cannot do is leave its own name out of `Host`.
public struct HostRule: Sendable, Hashable {
    /// In lower case.
    private let names: Set<String>

    public init(names: [String]) { self.names = Set(names.map { $0.lowercased() }).union(["localhost"]) }

    /// Whether a request with that `Host` is for us. Without one it is: no browser leaves it out.
    public func allows(_ host: String?) -> Bool {
        guard let host, !host.isEmpty else { return true }
        if SocketAddress(host) != nil { return true }
        if host.hasPrefix("[") { return host.hasSuffix("]") && SocketAddress(ip: host.dropFirst().dropLast(), port: 0) != nil }
        if SocketAddress(ip: host, port: 0) != nil { return true }
        let parts = host.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.count == 1 || parts[1].isEmpty || UInt16(parts[1]) != nil else { return false }
        let name = parts[0].lowercased()
        return names.contains(name.hasSuffix(".") ? String(name.dropLast()) : name)
    }
}
