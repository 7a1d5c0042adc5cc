extension RequestHead {
    /// Finds the target's form, path and, in absolute-form, host (RFC 9112 §3.2). False when it is none of ours.
    mutating func readTarget(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let text = bytes.slice(target)
        guard let first = text.first else { return false }
        if first == .slash {
            form = .origin
            path = pathRange(bytes, from: Int(target.start))
            return true
        }
        if text.isExactly("*") {
            form = .asterisk
            path = target
            return method == .options
        }
        let scheme = text.starts(ignoringCase: "http://") ? 7 : text.starts(ignoringCase: "https://") ? 8 : 0
        guard scheme > 0 else { return false }
        form = .absolute
        let start = Int(target.start) + scheme
        var end = start
        while end < Int(target.end), bytes[end] != .slash, bytes[end] != .question { end += 1 }
        host = ByteRange(start, end)
        path = pathRange(bytes, from: end)
        return Authority(bytes.slice(host)) != nil
    }

    private func pathRange(_ bytes: UnsafeRawBufferPointer, from start: Int) -> ByteRange {
        var end = start
        while end < Int(target.end), bytes[end] != .question { end += 1 }
        return ByteRange(start, end)
    }

    /// Whether the absolute-form target and the Host field name the same host and port.
    func agrees(withHost field: UnsafeRawBufferPointer, _ bytes: UnsafeRawBufferPointer) -> Bool {
        let text = bytes.slice(host)
        guard let ours = Authority(text), let theirs = Authority(field) else { return false }
        let isSecure = bytes.slice(target).starts(ignoringCase: "https:")
        let standard: UInt16 = isSecure ? 443 : 80
        return (ours.port ?? standard) == (theirs.port ?? standard)
            && text.slice(0, ours.hostEnd).isEqual(ignoringCase: field.slice(0, theirs.hostEnd))
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), valid as a name that exists: letters, digits, `-._~`, or an
/// IPv6 address in brackets. No user, no escapes, no empty host.
struct Authority: BitwiseCopyable {
    /// Where the host ends; brackets belong to it.
    let hostEnd: Int
    /// Nil when there is none, or only its colon.
    let port: UInt16?

    init?(_ text: UnsafeRawBufferPointer) {
        guard let first = text.first else { return nil }
        var i = 0
        if first == 0x5b {
            i = 1
            var colons = 0
            while i < text.count, text[i] != 0x5d {
                guard Self.isHex(text[i]) || text[i] == .colon || text[i] == .dot else { return nil }
                if text[i] == .colon { colons += 1 }
                i += 1
            }
            guard i < text.count, i <= 46, colons >= 2 else { return nil }
            i += 1
        } else {
            while i < text.count, text[i].isUnreserved { i += 1 }
        }
        hostEnd = i
        guard i > 0, i <= 255 else { return nil }
        guard i < text.count else {
            port = nil
            return
        }
        guard text[i] == .colon else { return nil }
        guard i + 1 < text.count else {
            port = nil
            return
        }
        guard let number = text.slice(i + 1, text.count).decimal(), number <= UInt64(UInt16.max) else { return nil }
        port = UInt16(number)
    }

    private static func isHex(_ byte: UInt8) -> Bool { byte.isDigit || byte.lowercased &- 0x61 < 6 }
}
