import Model

extension ByteSink {
    /// The address without its port, as RFC 5952 writes it.
    mutating func append(ip address: SocketAddress) {
        switch address.family {
        case .v4:
            append(decimal: address.low >> 24 & 255)
            append(byte: .dot)
            append(decimal: address.low >> 16 & 255)
            append(byte: .dot)
            append(decimal: address.low >> 8 & 255)
            append(byte: .dot)
            append(decimal: address.low & 255)
        case .v6:
            let gap = address.longestZeroRun
            var i = 0
            while i < 8 {
                if i == gap.lowerBound, gap.count > 1 {
                    append("::")
                    i = gap.upperBound
                    continue
                }
                if i > 0, !(i == gap.upperBound && gap.count > 1) { append(byte: .colon) }
                append(hex: address.group(i))
                i += 1
            }
        }
    }

    private mutating func append(hex value: UInt16) {
        var shift: UInt16 = 12
        while shift > 0, value >> shift == 0 { shift -= 4 }
        while true {
            let nibble = UInt8(truncatingIfNeeded: value >> shift & 15)
            append(byte: nibble < 10 ? 0x30 + nibble : 0x57 + nibble)
            if shift == 0 { return }
            shift -= 4
        }
    }
}

extension SocketAddress {
    /// One of the eight 16-bit groups of an IPv6 address.
    fileprivate func group(_ i: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: (i < 4 ? high : low) >> UInt64(48 - (i & 3) * 16))
    }

    fileprivate var longestZeroRun: Range<Int> {
        var best = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, group(end) == 0 { end += 1 }
            if end - start > best.count { best = start..<end }
            start = end + 1
        }
        return best
    }

    /// A literal IPv4 or IPv6 address without heap traffic; nil for anything else.
    init?(ip text: UnsafeRawBufferPointer, port: UInt16) {
        if text.firstIndex(of: .colon) == nil {
            guard let v4 = Self.v4(text) else { return nil }
            self.init(v4: v4, port: port)
        } else {
            guard let (high, low) = Self.v6(text) else { return nil }
            self.init(family: .v6, high: high, low: low, port: port)
        }
    }

    private static func v4(_ text: UnsafeRawBufferPointer) -> UInt32? {
        var value: UInt32 = 0
        var octets = 0
        var start = 0
        while start <= text.count {
            let end = text.firstIndex(of: .dot, from: start) ?? text.count
            let part = text.slice(start, end)
            guard octets < 4, (1...3).contains(part.count), part.count == 1 || part[0] != 0x30, let octet = part.decimal(), octet < 256
            else { return nil }
            value = value << 8 | UInt32(octet)
            octets += 1
            start = end + 1
        }
        return octets == 4 ? value : nil
    }

    /// Groups before and behind the `::` are shifted into two 128-bit numbers, and put together at the end.
    private static func v6(_ text: UnsafeRawBufferPointer) -> (UInt64, UInt64)? {
        var front = UInt128(0)
        var back = UInt128(0)
        var frontGroups = 0
        var backGroups = 0
        var hasGap = false
        var i = 0
        if text.count >= 2, text[0] == .colon, text[1] == .colon {
            hasGap = true
            i = 2
        }
        while i < text.count {
            let end = text.firstIndex(of: .colon, from: i) ?? text.count
            let part = text.slice(i, end)
            var bits: UInt128
            var width = 1
            if part.firstIndex(of: .dot) != nil {
                guard end == text.count, let v4 = v4(part) else { return nil }
                bits = UInt128(v4)
                width = 2
            } else {
                guard (1...4).contains(part.count) else { return nil }
                bits = 0
                for byte in part {
                    guard let nibble = byte.hexNibble else { return nil }
                    bits = bits << 4 | UInt128(nibble)
                }
            }
            guard frontGroups + backGroups + width <= (hasGap ? 7 : 8) else { return nil }
            if hasGap {
                back = back << UInt128(16 * width) | bits
                backGroups += width
            } else {
                front = front << UInt128(16 * width) | bits
                frontGroups += width
            }
            if end == text.count { break }
            i = end + 1
            if i == text.count { return nil }
            if text[i] == .colon {
                guard !hasGap else { return nil }
                hasGap = true
                i += 1
            }
        }
        guard hasGap ? frontGroups + backGroups < 8 : frontGroups == 8 else { return nil }
        let value = (frontGroups == 0 ? 0 : front << UInt128(16 * (8 - frontGroups))) | back
        return (UInt64(truncatingIfNeeded: value >> 64), UInt64(truncatingIfNeeded: value))
    }
}
