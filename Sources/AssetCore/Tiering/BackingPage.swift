/// One page of the store behind's ListObjects (version 1, `encoding-type=url`).
public struct BackingPage: Sendable {
    public struct Row: Hashable, Sendable {
        /// As it is behind.
        public var key: [UInt8]
        /// Without quotes; nil for a common prefix.
        public var etag: String?
        public var size: Int64
        public var modified: Timestamp
    }

    /// In the order of their bytes.
    public var rows: [Row]
    /// Where the next page begins; nil: this is the last.
    public var next: [UInt8]?

    /// Throws `malformedXML` for what is no such page.
    public init(xml: [UInt8]) throws(S3Error) {
        let root = try XMLElement.parse(xml)
        guard root.name == "ListBucketResult" else { throw S3Error(.malformedXML) }
        // A server that does not know the encoding says so by not repeating it.
        let isEncoded = root["EncodingType"]?.text == "url"
        func decoded(_ text: String) throws(S3Error) -> [UInt8] {
            guard isEncoded else { return Array(text.utf8) }
            guard let bytes = PercentCoding.decode(text.utf8, plusIsSpace: true) else { throw S3Error(.malformedXML) }
            return bytes
        }
        var rows: [Row] = []
        for element in root.all("Contents") {
            guard let key = element["Key"]?.text, let size = (element["Size"]?.text).flatMap({ decimal($0) }) else { throw S3Error(.malformedXML) }
            rows.append(
                Row(
                    key: try decoded(key), etag: (element["ETag"]?.text ?? "").filter { $0 != "\"" }, size: size,
                    modified: (element["LastModified"]?.text).flatMap { Timestamp(iso8601: $0) } ?? Timestamp(milliseconds: 0)))
        }
        for element in root.all("CommonPrefixes") {
            guard let prefix = element["Prefix"]?.text else { throw S3Error(.malformedXML) }
            rows.append(Row(key: try decoded(prefix), etag: nil, size: 0, modified: Timestamp(milliseconds: 0)))
        }
        rows.sort { $0.key.lexicographicallyPrecedes($1.key) }
        self.rows = rows
        next = nil
        if root["IsTruncated"]?.text == "true" {
            if let marker = root["NextMarker"]?.text, !marker.isEmpty {
                next = try decoded(marker)
            } else {
                next = rows.last?.key
            }
        }
    }
}
