/// What has one place in the store behind: an object, a version of a profile, or, with an empty key, a bucket itself.
public struct BackedName: Hashable, Sendable {
    public var bucket: String
    public var key: [UInt8]

    public init(bucket: String, key: [UInt8]) {
        self.bucket = bucket
        self.key = key
    }

    /// The bucket itself.
    public init(bucket: String) { self.init(bucket: bucket, key: []) }
}

/// Where names of this store are in the one bucket of the store behind: `PREFIX BUCKET / KEY`.
///
/// A bucket's own mark is the empty object `PREFIX BUCKET /`, so that empty buckets are shared too. Names of buckets have no slash, and no
/// bucket of a client begins with a dot, so no two names meet.
public struct BackingPlace: Hashable, Sendable {
    public let prefix: [UInt8]

    /// Bytes of the longest key that S3 takes.
    public static let mostBytes = 1_024

    public init(prefix: String) { self.prefix = Array(prefix.utf8) }

    public func key(of name: BackedName) -> [UInt8] { prefix + Array(name.bucket.utf8) + [UInt8(ascii: "/")] + name.key }

    /// Whether the store behind can have that name at all.
    public func fits(_ name: BackedName) -> Bool { prefix.count + name.bucket.utf8.count + 1 + name.key.count <= Self.mostBytes }

    /// Nil for what is not of that form, or not of a bucket.
    public func name(of key: [UInt8]) -> BackedName? {
        guard key.starts(with: prefix) else { return nil }
        let rest = key[prefix.count...]
        guard let slash = rest.firstIndex(of: UInt8(ascii: "/")), let bucket = String(validating: rest[..<slash], as: UTF8.self),
            !bucket.isEmpty
        else { return nil }
        return BackedName(bucket: bucket, key: Array(rest[(slash + 1)...]))
    }
}
