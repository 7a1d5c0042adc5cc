/// An object's name: its bytes, which is what S3 compares and sorts by. (A Swift String would call two normal forms of é equal.)
public struct ObjectKey: Hashable, Comparable, Sendable {
    public var bytes: [UInt8]

    public init(unchecked bytes: [UInt8]) { self.bytes = bytes }

    /// 1 to 1,024 bytes of UTF-8.
    public init(_ bytes: [UInt8]) throws(S3Error) {
        guard bytes.count <= 1024 else { throw S3Error(.keyTooLong) }
        guard !bytes.isEmpty, String(validating: bytes, as: UTF8.self) != nil else { throw S3Error(.invalidURI) }
        self.bytes = bytes
    }

    public static func < (a: ObjectKey, b: ObjectKey) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }

    public var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// The rules for bucket names.
public enum BucketName {
    /// 3 to 63 of lower-case letters, digits, dots and hyphens, beginning and ending with a letter or digit, no two dots in a row, not
    /// like an IPv4 address ("Bucket naming rules" of the Amazon S3 user guide).
    public static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard (3...63).contains(bytes.count) else { return false }
        func isAlphanumeric(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) }
        guard isAlphanumeric(bytes[0]), isAlphanumeric(bytes[bytes.count - 1]) else { return false }
        for (i, byte) in bytes.enumerated() {
            guard isAlphanumeric(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-") else { return false }
            if byte == UInt8(ascii: "."), i > 0, bytes[i - 1] == byte { return false }
        }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        if parts.count == 4, parts.allSatisfy({ decimal($0) != nil }) { return false }
        return !name.hasPrefix("xn--") && !name.hasSuffix("-s3alias")
    }
}
