import Model
import Yams

extension ValueType where Value == String {
    /// Pool and listener names: they become metric labels, header values and unit names.
    static var name: ValueType {
        .scalar(
            "name",
            parse: { (text, _) throws(Complaint) in
                let isValid =
                    (1...63).contains(text.utf8.count) && isAlphanumeric(text.utf8.first ?? 0)
                    && text.utf8.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) }
                guard isValid else {
                    throw Complaint(
                        "\(quoted(text)) is not a name",
                        remedy: "use up to 63 letters, digits, -, _ and ., beginning with a letter or digit")
                }
                return text
            },
            render: { .text($0) })
    }

    /// Any text, up to 4,096 bytes, without NUL.
    static var text: ValueType {
        .scalar(
            "text",
            parse: { (text, _) throws(Complaint) in
                guard !text.utf8.contains(0), text.utf8.count <= 4_096 else {
                    throw Complaint("is too long or contains NUL", remedy: "shorten it to 4096 bytes")
                }
                return text
            },
            render: { .text($0) })
    }

    /// A file-system path; a relative one starts at the configuration file's directory. Always absolute afterwards.
    static func path(atMost: Int = 4_095) -> ValueType {
        .scalar(
            "path", parse: { (text, directory) throws(Complaint) in try parsePath(text, directory, atMost: atMost) }, render: { .text($0) })
    }

    /// `host` is a separate matter: this is an absolute URL path, `/`-led, without query.
    static var urlPath: ValueType {
        .scalar("URL path", parse: { (text, _) throws(Complaint) in try parseURLPath(text) }, render: { .text($0) })
    }

    /// The same as a prefix of whole segments: a slash at the end says nothing more.
    static var routePath: ValueType {
        .scalar(
            "URL path",
            parse: { (text, _) throws(Complaint) in
                let path = try parseURLPath(text)
                return path.utf8.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
            },
            render: { .text($0) })
    }

    /// An HTTP token in lower case (RFC 9110 §5.6.2).
    static var token: ValueType {
        .scalar(
            "token",
            parse: { (text, _) throws(Complaint) in
                let isValid = !text.isEmpty && text.utf8.allSatisfy { isAlphanumeric($0) || "!#$%&'*+-.^_`|~/".utf8.contains($0) }
                guard isValid, text.utf8.count <= 64 else {
                    throw Complaint("\(quoted(text)) is not an Upgrade token", remedy: "write a name like websocket")
                }
                if text.lowercased().hasPrefix("h2c") {
                    throw Complaint("h2c is never passed on", remedy: "remove it; the worker is spoken to in HTTP/1.1")
                }
                return text.lowercased()
            },
            render: { .text($0) })
    }
}

extension ValueType where Value == String {
    /// The name of a field that means nothing to HTTP or to us, but for our own tenant's; in lower case.
    static var fieldName: ValueType {
        .scalar(
            "field name",
            parse: { (text, _) throws(Complaint) in
                let name = text.lowercased()
                let isValid = !name.isEmpty && name.utf8.count <= 64 && name.utf8.allSatisfy { isAlphanumeric($0) || "-_".utf8.contains($0) }
                guard isValid else { throw Complaint("\(quoted(text)) is not a field name", remedy: "write a name like X-Tenant") }
                let folded = String(name.map { $0 == "_" ? "-" : $0 })
                let taken =
                    fieldsWithMeaning.contains(folded) || folded.hasPrefix("x-forwarded-")
                    || (folded.hasPrefix("leasehold-") && name != "leasehold-tenant")
                if taken { throw Complaint("\(quoted(text)) means something else", remedy: "use a name of its own, like X-Tenant") }
                return name
            },
            render: { .text($0) })
    }
}

private let fieldsWithMeaning: Set<String> = [
    "connection", "content-length", "expect", "forwarded", "host", "http2-settings", "keep-alive", "prefer", "priority", "proxy-connection",
    "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade",
]

extension ValueType where Value == ServiceName {
    static var service: ValueType {
        .scalar(
            "namespace/name",
            parse: { (text, _) throws(Complaint) in
                let parts = text.split(separator: "/", omittingEmptySubsequences: false)
                guard parts.count == 2, parts.allSatisfy(isLabel) else {
                    let remedy =
                        parts.count == 1 && isLabel(parts[0])
                        ? "write default/\(text), or the namespace it is in" : "write it like shop/browsers, in lower case"
                    throw Complaint("\(quoted(text)) does not name a Service", remedy: remedy)
                }
                return ServiceName(namespace: String(parts[0]), name: String(parts[1]))
            },
            render: { .text($0.description) })
    }
}

extension ValueType where Value == ServicePort {
    static var servicePort: ValueType {
        .scalar(
            "name or number",
            parse: { (text, _) throws(Complaint) in
                if !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
                    return .number(UInt16(try parseCount(text, 1...65_535)))
                }
                // IANA service names as Kubernetes takes them (RFC 6335 §5.1); slices allow any DNS label.
                guard isLabel(text[...]) else {
                    throw Complaint(
                        "\(quoted(text)) does not name a port", remedy: "write the Service port's name, like http, or its number")
                }
                return .name(text)
            },
            render: { value in
                switch value {
                case .only: .text("")
                case .name(let name): .text(name)
                case .number(let number): .number(Int(number))
                }
            })
    }
}

extension ValueType where Value == HostPattern {
    static var host: ValueType {
        .scalar("host", parse: { (text, _) throws(Complaint) in try parseHost(text) }, render: { .text($0.description) })
    }
}

extension ValueType where Value == ListenAddress {
    static var address: ValueType {
        .scalar(
            "address",
            parse: { (text, directory) throws(Complaint) in try parseAddress(text, directory) },
            render: { .text($0.description) })
    }
}

extension ValueType where Value == ListenerConfiguration.Trust.Peer {
    static var peer: ValueType {
        .scalar(
            "network | unix",
            parse: { (text, _) throws(Complaint) in
                if text == "unix" { return .unix }
                if let network = IPNetwork(text) { return .network(network) }
                let parts = text.split(separator: "/", omittingEmptySubsequences: false)
                if parts.count == 2, SocketAddress(ip: parts[0], port: 0) != nil, UInt8(parts[1]) != nil {
                    throw Complaint(
                        "\(quoted(text)) has address bits past its prefix length, or a length that is too large",
                        remedy: "write the first address of the block, like 10.0.0.0/8")
                }
                throw Complaint("\(quoted(text)) is not a network", remedy: "write an address block like 10.0.0.0/8 or fd00::/8, or unix")
            },
            render: { peer in
                switch peer {
                case .unix: .text("unix")
                case .network(let network): .text(network.description)
                }
            })
    }
}

extension ValueType where Value == PortSet {
    /// `21000-21063`, one port, or a list of both.
    static var ports: ValueType {
        let ranges = ValueType<[ClosedRange<UInt16>]>.list(of: .portRange, atLeast: 1)
        return ValueType(
            name: "ports, like 21000-21063",
            read: { node, key, reading in
                if case .sequence = node {
                    return ranges.read(node, key, &reading).flatMap { checked($0, node, key, &reading) }
                }
                return ValueType<ClosedRange<UInt16>>.portRange.read(node, key, &reading).flatMap { checked([$0], node, key, &reading) }
            },
            render: { set in
                let items = set.ranges.map(ValueType<ClosedRange<UInt16>>.portRange.render)
                return items.count == 1 ? items[0] : .list(items)
            })
    }

    /// Bounded, because each port may be a process; a port named twice is a slip.
    private static func checked(
        _ ranges: [ClosedRange<UInt16>], _ node: Node, _ key: String, _ reading: inout ConfigurationReading
    ) -> PortSet? {
        let set = PortSet(ranges)
        let named = ranges.reduce(0) { $0 + $1.count }
        if named != set.count {
            reading.complain(at: node.mark, key, Complaint("a port is in the list twice", remedy: "make the ranges not overlap"))
        } else if named > 16_384 {
            reading.complain(at: node.mark, key, Complaint("\(named) ports are too many", remedy: "give at most 16384"))
        }
        return set.count == 0 ? nil : set
    }
}

extension ValueType where Value == ClosedRange<UInt16> {
    static var portRange: ValueType {
        .scalar(
            "port range",
            parse: { (text, _) throws(Complaint) in
                let parts = text.split(separator: "-", omittingEmptySubsequences: false)
                let ports = parts.compactMap { UInt16($0) }
                guard parts.count == ports.count, (1...2).contains(ports.count), let first = ports.first, let last = ports.last, first > 0
                else {
                    throw Complaint(
                        "\(quoted(text)) is not a range of ports", remedy: "write FIRST-LAST, like 21000-21063, from 1 to 65535")
                }
                guard first <= last else {
                    throw Complaint("\(quoted(text)) ends before it begins", remedy: "write \(last)-\(first)")
                }
                return first...last
            },
            render: { $0.count == 1 ? .number(Int($0.lowerBound)) : .text("\($0.lowerBound)-\($0.upperBound)") })
    }
}

private func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
}

/// A DNS label (RFC 1123): lower-case letters, digits and inner hyphens, at most 63.
private func isLabel(_ text: Substring) -> Bool {
    (1...63).contains(text.utf8.count) && text.utf8.first != UInt8(ascii: "-") && text.utf8.last != UInt8(ascii: "-")
        && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7a).contains($0) || $0 == UInt8(ascii: "-") }
}

private func parsePath(_ text: String, _ directory: String, atMost: Int) throws(Complaint) -> String {
    guard !text.isEmpty, !text.utf8.contains(0) else {
        throw Complaint("is empty", remedy: "write a path like /run/leasehold")
    }
    if text.hasPrefix("~") { throw Complaint("~ is not expanded", remedy: "write the whole path, from /") }
    let whole = normalisedPath(text.hasPrefix("/") ? text : directory + "/" + text)
    guard whole.utf8.count <= atMost else {
        throw Complaint("\(quoted(whole)) has \(whole.utf8.count) bytes", remedy: "use a path of at most \(atMost) bytes")
    }
    return whole
}

/// Without `.`, empty segments and an ending slash; `..` goes up by name, before symbolic links are looked at.
func normalisedPath(_ path: String) -> String {
    var segments: [Substring] = []
    for segment in path.split(separator: "/") where segment != "." {
        if segment == ".." { _ = segments.popLast() } else { segments.append(segment) }
    }
    return "/" + segments.joined(separator: "/")
}

private func parseURLPath(_ text: String) throws(Complaint) -> String {
    guard text.hasPrefix("/") else { throw Complaint("\(quoted(text)) is not a path", remedy: "begin it with /") }
    guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && !"?#%\\\"<>".utf8.contains($0) }), text.utf8.count <= 1_024 else {
        throw Complaint(
            "\(quoted(text)) has characters that a path here may not have", remedy: "write it decoded, without ?, #, %, \\ and blanks")
    }
    let segments = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    if segments.contains(".") || segments.contains("..") || text.contains("//") {
        throw Complaint("\(quoted(text)) has empty or dot segments, which never match", remedy: "write /a/b")
    }
    return text
}

private func parseHost(_ text: String) throws(Complaint) -> HostPattern {
    if text == "*" { return .any }
    if text.contains(":") || text.contains("/") {
        throw Complaint(
            "\(quoted(text)) is not a host", remedy: "write the name alone, without scheme, port and path; IPv6 literals are not routed by")
    }
    let lower = text.lowercased()
    let trimmed = lower.hasSuffix(".") ? String(lower.dropLast()) : lower
    let name = trimmed.hasPrefix("*.") ? trimmed.dropFirst(2) : trimmed[...]
    let labels = name.split(separator: ".", omittingEmptySubsequences: false)
    let areLabels = labels.allSatisfy { label in
        (1...63).contains(label.utf8.count)
            && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
    }
    guard areLabels, name.utf8.count <= 253 else {
        throw Complaint("\(quoted(text)) is not a host", remedy: "write app.example.org, *.example.org, or \"*\" for any")
    }
    return trimmed.hasPrefix("*.") ? .suffix("." + name) : .exact(trimmed)
}

private func parseAddress(_ text: String, _ directory: String) throws(Complaint) -> ListenAddress {
    if text.hasPrefix("unix:") {
        // sun_path has 108 bytes, one of them for the NUL (unix(7)).
        return .unix(try parsePath(String(text.dropFirst(5)), directory, atMost: 107))
    }
    if let address = SocketAddress(text) { return .ip(address) }
    if text.hasPrefix("/") { throw Complaint("\(quoted(text)) is a path", remedy: "write unix:\(text)") }
    if let port = UInt16(text.hasPrefix(":") ? text.dropFirst() : text[...]) {
        throw Complaint("\(quoted(text)) has no address", remedy: "write 127.0.0.1:\(port), or 0.0.0.0:\(port) for all")
    }
    if let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) {
        let host = text[..<colon]
        if host == "*" { throw Complaint("\(quoted(text)) has no address", remedy: "write 0.0.0.0:\(port), or [::]:\(port)") }
        if host == "localhost" { throw Complaint("names are not looked up", remedy: "write 127.0.0.1:\(port)") }
        if SocketAddress(ip: host, port: port) != nil, host.contains(":") {
            throw Complaint("\(quoted(text)) is ambiguous", remedy: "write [\(host)]:\(port)")
        }
    }
    if SocketAddress(ip: text, port: 0) != nil {
        throw Complaint("\(quoted(text)) has no port", remedy: text.contains(":") ? "write [\(text)]:8080" : "write \(text):8080")
    }
    throw Complaint("\(quoted(text)) is not an address", remedy: "write 127.0.0.1:8080, [::]:8080 or unix:PATH; names are not looked up")
}
