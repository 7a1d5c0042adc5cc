/// What the store behind cannot know of an object that came from here, written into its metadata as `x-amz-meta-leasehold`:
/// `etag=…;modified=…;checksum=ALGORITHM:VALUE:TYPE`.
///
/// An object of several parts goes there as one body and has another entity tag there; its own comes back with this. At most
/// ``mostBytes``, which is why clients' own metadata has that much less room in front of a store behind.
public struct BackedNote: Hashable, Sendable {
    /// Without quotes.
    public var etag: String
    public var modified: Timestamp
    public var checksum: Checksum?

    public struct Checksum: Hashable, Sendable {
        public var algorithm: String
        public var value: String
        public var type: String

        public init(algorithm: String, value: String, type: String) {
            (self.algorithm, self.value, self.type) = (algorithm, value, type)
        }
    }

    /// The name of the field.
    public static let field = "x-amz-meta-leasehold"
    /// Bytes of name and value together.
    public static let mostBytes = 256

    public init(etag: String, modified: Timestamp, checksum: Checksum?) {
        (self.etag, self.modified, self.checksum) = (etag, modified, checksum)
    }

    public var text: String {
        var text = "etag=\(etag);modified=\(modified.milliseconds)"
        if let checksum { text += ";checksum=\(checksum.algorithm):\(checksum.value):\(checksum.type)" }
        return text
    }

    /// Nil for what is none: somebody else may have that name in their metadata.
    public init?(_ text: String) {
        var parts: [Substring: Substring] = [:]
        for part in text.split(separator: ";") {
            guard let equals = part.firstIndex(of: "=") else { return nil }
            parts[part[..<equals]] = part[part.index(after: equals)...]
        }
        guard let etag = parts["etag"], !etag.isEmpty, etag.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "\"") }),
            let modified = parts["modified"].flatMap({ decimal($0) })
        else { return nil }
        self.etag = String(etag)
        self.modified = Timestamp(milliseconds: modified)
        guard let text = parts["checksum"] else { return }
        let words = text.split(separator: ":").map(String.init)
        guard words.count == 3 else { return nil }
        checksum = Checksum(algorithm: words[0], value: words[1], type: words[2])
    }
}
