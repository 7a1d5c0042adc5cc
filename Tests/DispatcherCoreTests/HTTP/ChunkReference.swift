@testable import DispatcherCore

/// A slow and simple reading of RFC 9112 §7.1 with our bounds, from regular expressions over whole lines.
func referenceChunks(_ bytes: [UInt8]) -> (end: ChunkResult.End, data: [UInt8], length: Int) {
    var data: [UInt8] = []
    var rest = bytes[...]
    /// The line up to CRLF; nil when the first CR or LF is no CRLF, or there is none.
    func line() -> (line: String?, isIncomplete: Bool) {
        guard let stop = rest.firstIndex(where: { $0 == 13 || $0 == 10 }) else { return (nil, true) }
        guard rest[stop] == 13 else { return (nil, false) }
        guard stop + 1 < rest.endIndex else { return (nil, true) }
        guard rest[stop + 1] == 10 else { return (nil, false) }
        let line = text(rest[..<stop])
        rest = rest[(stop + 2)...]
        return (line, false)
    }
    func length() -> Int { bytes.count - rest.count }

    // What is behind the size: tokens, quoted strings, `;`, `=` and blanks.
    let size =
        #/([0-9A-Fa-f]{1,16})(;(?:[!\#$%&'*+\-.^_`|~0-9A-Za-z;= \t]|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*")*)?/#
        .matchingSemantics(.unicodeScalar)
    while true {
        let next = line()
        guard let text = next.line else { return (next.isIncomplete ? .incomplete : .refused, data, length()) }
        guard let match = text.wholeMatch(of: size), (match.2?.unicodeScalars.count ?? 0) <= 256 else { return (.refused, data, length()) }
        guard let count = Int(match.1, radix: 16), count <= 1 << 60 else { return (.refused, data, length()) }
        if count == 0 { break }
        guard rest.count >= count else { return (.incomplete, data + rest, bytes.count) }
        data += rest.prefix(count)
        rest = rest.dropFirst(count)
        let ending = Array(rest.prefix(2))
        guard [13, 10].starts(with: ending) else { return (.refused, data, length()) }
        guard ending.count == 2 else { return (.incomplete, data, length()) }
        rest = rest.dropFirst(2)
    }
    let field = #/([!\#$%&'*+\-.^_`|~0-9A-Za-z]+):[^\x00-\x08\x0a-\x1f\x7f]*/#.matchingSemantics(.unicodeScalar)
    var trailerBytes = 0
    while true {
        let next = line()
        guard let text = next.line else { return (next.isIncomplete ? .incomplete : .refused, data, length()) }
        if text.isEmpty { return (.ended, data, length()) }
        trailerBytes += text.unicodeScalars.count + 2
        guard let match = text.wholeMatch(of: field), trailerBytes <= 8192, !isForbidden(String(match.1).lowercased()) else {
            return (.refused, data, length())
        }
    }
}

private func isForbidden(_ name: String) -> Bool {
    let folded = name.map { $0 == "_" ? "-" : $0 }
    if String(folded).hasPrefix("leasehold-") || String(folded).hasPrefix("x-forwarded-") || name.hasPrefix("proxy-") { return true }
    return [
        "content-length", "transfer-encoding", "host", "connection", "keep-alive", "te", "upgrade", "trailer", "expect", "authorization",
        "cookie",
        "set-cookie", "www-authenticate", "forwarded", "content-type", "content-encoding", "content-range", "range", "max-forwards",
        "cache-control", "http2-settings", "prefer", "priority",
    ].contains(name)
}
