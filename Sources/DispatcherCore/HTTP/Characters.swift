/// The character classes of RFC 9110 §5.6 and RFC 3986 §2, as tests without tables in memory.
extension UInt8 {
    static let tab: UInt8 = 0x09
    static let lf: UInt8 = 0x0a
    static let cr: UInt8 = 0x0d
    static let space: UInt8 = 0x20
    static let quote: UInt8 = 0x22
    static let percent: UInt8 = 0x25
    static let comma: UInt8 = 0x2c
    static let hyphen: UInt8 = 0x2d
    static let dot: UInt8 = 0x2e
    static let slash: UInt8 = 0x2f
    static let colon: UInt8 = 0x3a
    static let semicolon: UInt8 = 0x3b
    static let equals: UInt8 = 0x3d
    static let question: UInt8 = 0x3f
    static let backslash: UInt8 = 0x5c

    /// `tchar`.
    @inline(__always) var isToken: Bool { isIn(0x03ff_6cfa_0000_0000, 0x57ff_ffff_c7ff_fffe) }
    /// `unreserved` of a URI.
    @inline(__always) var isUnreserved: Bool { isIn(0x03ff_6000_0000_0000, 0x47ff_fffe_87ff_fffe) }
    @inline(__always) var isDigit: Bool { self &- 0x30 < 10 }
    @inline(__always) var isBlank: Bool { self == .space || self == .tab }
    /// What a field value or a reason phrase may hold: VCHAR, obs-text, space and tab.
    @inline(__always) var isFieldContent: Bool { self >= 0x20 ? self != 0x7f : self == .tab }
    @inline(__always) var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }

    @inline(__always) private func isIn(_ low: UInt64, _ high: UInt64) -> Bool {
        self < 128 && (self < 64 ? low : high) &>> UInt64(self & 63) & 1 != 0
    }
}
