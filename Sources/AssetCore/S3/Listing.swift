/// One page of ListObjects, V1 or V2, or of ListMultipartUploads: which keys it shows, which it rolls up, where it goes on.
///
/// The shell seeks in the index as `next` says and hands over the keys it finds, in byte order. Rolling up a common prefix skips all of it
/// with one seek, so a page costs O(what it shows), whatever lies under the prefixes.
public struct Listing: Sendable {
    public let prefix: [UInt8]
    public let delimiter: [UInt8]
    public let most: Int

    public private(set) var keys: [ObjectKey] = []
    public private(set) var commonPrefixes: [[UInt8]] = []
    public private(set) var isTruncated = false
    /// The last key or common prefix on this page.
    public private(set) var last: [UInt8]?
    /// The first key that may come next, or nil when no key can.
    public private(set) var next: [UInt8]?

    public static let mostPerPage = 1000

    /// - Parameter after: marker, start-after or continuation token: keys up to and including it, or a common prefix that it is or lies
    ///   in, are behind us.
    public init(prefix: [UInt8], delimiter: [UInt8], after: [UInt8], most: Int) {
        self.prefix = prefix
        self.delimiter = delimiter
        self.most = min(max(0, most), Self.mostPerPage)
        var start = after.isEmpty ? [] : after + [0]
        if !after.isEmpty, let rolled = Self.commonPrefix(of: after, prefix, delimiter), after.starts(with: rolled) {
            // What is listed after a common prefix is what comes after all of it.
            if after == rolled { start = Self.successor(rolled) ?? [0xff, 0xff] }
        }
        next = prefix.lexicographicallyPrecedes(start) ? start : prefix
        if self.most == 0 { next = nil }
    }

    /// Takes the next key of the index, which is `next` or greater. Returns whether it was put on the page as it is.
    ///
    /// Afterwards `next` says where to seek; nil means that the page is complete.
    public mutating func take(_ key: ObjectKey) -> Bool {
        guard key.bytes.starts(with: prefix) else {
            next = nil
            return false
        }
        guard keys.count + commonPrefixes.count < most else {
            isTruncated = true
            next = nil
            return false
        }
        if let rolled = Self.commonPrefix(of: key.bytes, prefix, delimiter) {
            commonPrefixes.append(rolled)
            last = rolled
            next = Self.successor(rolled)
            return false
        }
        keys.append(key)
        last = key.bytes
        next = key.bytes + [0]
        return true
    }

    /// There are no more keys in the index.
    public mutating func end() { next = nil }

    private static func commonPrefix(of key: [UInt8], _ prefix: [UInt8], _ delimiter: [UInt8]) -> [UInt8]? {
        guard !delimiter.isEmpty, key.starts(with: prefix), key.count >= prefix.count + delimiter.count else { return nil }
        for start in prefix.count...(key.count - delimiter.count) where key[start...].starts(with: delimiter) {
            return Array(key[..<(start + delimiter.count)])
        }
        return nil
    }

    /// The least byte string that is greater than everything with this prefix; nil if there is none.
    public static func successor(_ prefix: [UInt8]) -> [UInt8]? {
        var bytes = prefix
        while let last = bytes.last {
            if last < 0xff {
                bytes[bytes.count - 1] = last + 1
                return bytes
            }
            bytes.removeLast()
        }
        return nil
    }
}
