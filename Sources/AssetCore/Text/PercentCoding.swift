/// Percent-encoding as S3 signs it (RFC 3986 §2): upper-case digits, everything but the unreserved characters escaped.
public enum PercentCoding {
    /// Appends `bytes`; a slash stays one if `keepsSlash`.
    public static func encode(_ bytes: some Sequence<UInt8>, keepsSlash: Bool, into out: inout [UInt8]) {
        for byte in bytes {
            if isUnreserved(byte) || (keepsSlash && byte == UInt8(ascii: "/")) {
                out.append(byte)
            } else {
                out.append(UInt8(ascii: "%"))
                out.append(upper(byte >> 4))
                out.append(upper(byte & 15))
            }
        }
    }

    public static func encode(_ bytes: some Sequence<UInt8>, keepsSlash: Bool = false) -> String {
        var out: [UInt8] = []
        encode(bytes, keepsSlash: keepsSlash, into: &out)
        return String(decoding: out, as: UTF8.self)
    }

    /// Nil for an escape that is cut short or has other digits. `plusIsSpace` is for queries, never for paths.
    public static func decode(_ bytes: some Sequence<UInt8>, plusIsSpace: Bool = false) -> [UInt8]? {
        var out: [UInt8] = []
        var iterator = bytes.makeIterator()
        while let byte = iterator.next() {
            if byte == UInt8(ascii: "%") {
                guard let high = iterator.next().flatMap(Hex.value), let low = iterator.next().flatMap(Hex.value) else { return nil }
                out.append(high << 4 | low)
            } else {
                out.append(plusIsSpace && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
            }
        }
        return out
    }

    static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): true
        default: false
        }
    }

    private static func upper(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x37 + value }
}
