import Model

/// The routes of one listener. The first row wins, in the order: exact host, then wildcards, the longest first,
/// then `*`; inside a host the longest path first.
///
/// A lookup costs the length of the host, plus the rows of the hosts that match. It allocates nothing.
public struct RouteTable: Sendable {
    public let routes: [Route]
    /// Hosts from the rows, then a table of hashes over them: -1 where empty, a power of two in size.
    private var hosts: [HostRows] = []
    private var slots: [Int32] = []
    /// The host `*`, or -1.
    private var anyHost: Int32 = -1
    private var paths: [PathRow] = []
    /// The bytes of all patterns.
    private var text: [UInt8] = []
    private let isMany: Bool

    private struct HostRows {
        var pattern: Range<Int>
        var isWildcard: Bool
        var rows: Range<Int>
        /// The next less specific host that matches whatever this one matches, or -1.
        var parent: Int32
    }

    private struct PathRow {
        /// Without a slash at its end, escapes made uniform; empty for `/`.
        var pattern: Range<Int>
        var route: Int
    }

    public init(_ routes: [Route]) throws(RouteError) {
        self.routes = routes
        isMany = routes.count > 1
        var byHost: [HostPattern: [(path: [UInt8], route: Int)]] = [:]
        for (index, route) in routes.enumerated() {
            guard let host = HostPattern(route.host) else { throw .invalidHost(index) }
            guard let path = Self.normalized(path: route.path) else { throw .invalidPath(index) }
            if let other = byHost[host]?.first(where: { $0.path == path }) { throw .duplicate(other.route, index) }
            byHost[host, default: []].append((path, index))
        }
        // Longest first, so that the longest wildcard is found first when parents are looked up.
        let ordered = byHost.sorted { ($0.key.name.count, $0.value[0].route) > ($1.key.name.count, $1.value[0].route) }
        for (host, rows) in ordered {
            let start = paths.count
            for row in rows.sorted(by: { ($0.path.count, $1.route) > ($1.path.count, $0.route) }) {
                paths.append(PathRow(pattern: add(row.path), route: row.route))
            }
            if host.kind == .any { anyHost = Int32(hosts.count) }
            hosts.append(HostRows(pattern: add(host.name), isWildcard: host.kind == .wildcard, rows: start..<paths.count, parent: -1))
        }
        buildSlots()
        for (index, (host, _)) in ordered.enumerated() where host.kind != .any {
            hosts[index].parent = host.name.withUnsafeBytes { wildcard(covering: $0) }
        }
    }

    /// - Parameters:
    ///   - host: with or without its port, as the request has it; empty when it has none.
    ///   - path: without the query.
    public func match(host: UnsafeRawBufferPointer, path: UnsafeRawBufferPointer) -> RouteMatch {
        if isMany, !isUnambiguous(path: path) { return .badRequest }
        var index = find(host: bareHost(host))
        while index >= 0 {
            let rows = hosts[Int(index)]
            for row in rows.rows where matches(path, paths[row].pattern) { return .route(paths[row].route) }
            index = rows.parent
        }
        return .noRoute
    }

    private mutating func add(_ bytes: [UInt8]) -> Range<Int> {
        text += bytes
        return text.count - bytes.count..<text.count
    }

    // MARK: Hosts

    private mutating func buildSlots() {
        var size = 4
        while size < hosts.count * 2 { size *= 2 }
        slots = Array(repeating: -1, count: size)
        for (index, host) in hosts.enumerated() where Int32(index) != anyHost {
            var slot = Self.hash(text[host.pattern], isWildcard: host.isWildcard) & (size - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = Int32(index)
        }
    }

    /// FNV-1a from the last byte to the first, so that one pass over a host gives the hash of every suffix.
    private static func hash(_ bytes: ArraySlice<UInt8>, isWildcard: Bool) -> Int {
        finish(bytes.reversed().reduce(basis) { ($0 ^ UInt64($1)) &* prime }, isWildcard: isWildcard)
    }

    private static let basis: UInt64 = 0xcbf2_9ce4_8422_2325
    private static let prime: UInt64 = 0x0000_0100_0000_01b3

    private static func finish(_ hash: UInt64, isWildcard: Bool) -> Int {
        let mixed = isWildcard ? hash ^ 0x9e37_79b9_7f4a_7c15 : hash
        return Int(truncatingIfNeeded: (mixed ^ mixed >> 32) & 0x7fff_ffff)
    }

    /// The most specific host for a bare name, or -1.
    private func find(host: UnsafeRawBufferPointer) -> Int32 {
        var hash = Self.basis
        var best = anyHost
        var i = host.count
        while i > 0 {
            i -= 1
            // A suffix behind a dot with at least one byte before it.
            if host[i] == .dot, i > 0, i + 1 < host.count {
                let found = look(hash, host.slice(i + 1, host.count), isWildcard: true)
                if found >= 0 { best = found }
            }
            hash = (hash ^ UInt64(host[i].lowercased)) &* Self.prime
        }
        guard !host.isEmpty else { return best }
        let exact = look(hash, host, isWildcard: false)
        return exact >= 0 ? exact : best
    }

    /// The longest wildcard that matches whatever a host or wildcard of this name matches; the name itself is not
    /// looked up. For the constructor.
    private func wildcard(covering name: UnsafeRawBufferPointer) -> Int32 {
        var i = 0
        while let dot = name.firstIndex(of: .dot, from: i) {
            i = dot + 1
            let suffix = name.slice(i, name.count)
            var hash = Self.basis
            for byte in suffix.reversed() { hash = (hash ^ UInt64(byte)) &* Self.prime }
            let found = look(hash, suffix, isWildcard: true)
            if found >= 0 { return found }
        }
        return anyHost
    }

    private func look(_ hash: UInt64, _ name: UnsafeRawBufferPointer, isWildcard: Bool) -> Int32 {
        let mask = slots.count - 1
        var slot = Self.finish(hash, isWildcard: isWildcard) & mask
        while slots[slot] >= 0 {
            let host = hosts[Int(slots[slot])]
            if host.isWildcard == isWildcard, host.pattern.count == name.count, isSame(name, host.pattern) { return slots[slot] }
            slot = (slot + 1) & mask
        }
        return -1
    }

    private func isSame(_ name: UnsafeRawBufferPointer, _ pattern: Range<Int>) -> Bool {
        for i in 0..<name.count where name[i].lowercased != text[pattern.lowerBound + i] { return false }
        return true
    }

    // MARK: Paths

    /// Whether `pattern` is a prefix of whole segments. Escapes of unreserved characters count as the characters,
    /// other escapes in any case.
    private func matches(_ path: UnsafeRawBufferPointer, _ pattern: Range<Int>) -> Bool {
        var bytes = PathBytes(path)
        for i in pattern { guard bytes.next() == text[i] else { return false } }
        guard let next = bytes.next() else { return true }
        return next == .slash
    }

    private static func normalized(path: String) -> [UInt8]? {
        var path = path
        return path.withUTF8 { utf8 -> [UInt8]? in
            let bytes = UnsafeRawBufferPointer(utf8)
            guard bytes.first == .slash, isUnambiguous(path: bytes),
                bytes.allSatisfy({ $0 &- 0x21 < 0x5e && $0 != 0x23 && $0 != .question })
            else { return nil }
            var normal: [UInt8] = []
            var reader = PathBytes(bytes)
            while let byte = reader.next() { normal.append(byte) }
            if normal.last == .slash { normal.removeLast() }
            return normal
        }
    }
}

/// A host without its port and one trailing dot.
func bareHost(_ host: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    var end = host.count
    if host.first == 0x5b {
        end = (host.firstIndex(of: 0x5d) ?? end - 1) + 1
    } else if let colon = host.firstIndex(of: .colon) {
        end = colon
    }
    if end > 1, host[end - 1] == .dot { end -= 1 }
    return host.slice(0, end)
}
