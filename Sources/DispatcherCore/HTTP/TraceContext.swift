/// One position in a distributed trace (W3C Trace Context, `traceparent`).
public struct TraceContext: Hashable, Sendable, BitwiseCopyable {
    public var traceHigh: UInt64
    public var traceLow: UInt64
    /// The span that `traceparent` names: the parent of whoever reads it. Never 0.
    public var span: UInt64
    /// Somebody records this trace.
    public var isSampled: Bool

    public init(traceHigh: UInt64, traceLow: UInt64, span: UInt64, isSampled: Bool) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.isSampled = isSampled
    }

    /// A field value of version 00, or of a later one that begins as version 00 does (§3.2.4). Nil for anything else.
    public init?(_ value: UnsafeRawBufferPointer) {
        guard value.count >= 55, value[2] == .hyphen, value[35] == .hyphen, value[52] == .hyphen,
            let version = value.hex(0, 2), let high = value.hex(3, 19), let low = value.hex(19, 35), let span = value.hex(36, 52),
            let flags = value.hex(53, 55), version != 0xff, high | low != 0, span != 0
        else { return nil }
        guard value.count == 55 || (version != 0 && value[55] == .hyphen) else { return nil }
        self.init(traceHigh: high, traceLow: low, span: span, isSampled: flags & 1 == 1)
    }
}

extension ByteSink {
    /// The whole field line, in version 00.
    mutating func append(_ trace: TraceContext) {
        append("traceparent: 00-")
        append(hex: trace.traceHigh)
        append(hex: trace.traceLow)
        append(byte: .hyphen)
        append(hex: trace.span)
        append(trace.isSampled ? "-01\r\n" : "-00\r\n")
    }

    /// Sixteen digits in lower case.
    private mutating func append(hex value: UInt64) {
        for i in 0..<16 {
            let nibble = UInt8(truncatingIfNeeded: value >> UInt64(60 - i * 4)) & 15
            append(byte: nibble < 10 ? 0x30 + nibble : 0x57 + nibble)
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Lower-case hexadecimal digits of a range of at most sixteen; nil when one is none.
    fileprivate func hex(_ start: Int, _ end: Int) -> UInt64? {
        var value: UInt64 = 0
        for i in start..<end {
            let byte = self[i]
            if byte.isDigit {
                value = value << 4 | UInt64(byte - 0x30)
            } else if byte &- 0x61 < 6 {
                value = value << 4 | UInt64(byte - 0x57)
            } else {
                return nil
            }
        }
        return value
    }
}
