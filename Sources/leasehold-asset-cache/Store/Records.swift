import AssetCore
import Foundation
import GRDB

/// What an object is, beside its key and its bytes.
struct ObjectInfo: Codable, Hashable, Sendable {
    /// Content-Type and its like, by name in lower case.
    var headers: [String: String] = [:]
    /// User metadata: name without `x-amz-meta-`, value.
    var metadata: [Pair] = []
    var tags: [Pair] = []
    var checksum: StoredChecksum?
    /// Its segments are the parts of an upload.
    var isMultipart = false

    struct Pair: Codable, Hashable, Sendable {
        var name: String
        var value: String
    }

    struct StoredChecksum: Codable, Hashable, Sendable {
        var algorithm: String
        /// Base 64; with `-COUNT` when made of parts' checksums.
        var value: String
        var type: String
    }

    var tagSet: Tags {
        // They were checked when they came in.
        (try? Tags(tags.map { Tags.Pair(key: $0.name, value: $0.value) })) ?? Tags()
    }

    mutating func set(_ new: Tags) { tags = new.pairs.map { Pair(name: $0.key, value: $0.value) } }

    var encoded: Data { (try? JSONEncoder().encode(self)) ?? Data() }

    init() {}

    init(encoded data: Data) { self = (try? JSONDecoder().decode(ObjectInfo.self, from: data)) ?? ObjectInfo() }
}

/// An object as the index has it.
struct ObjectRecord: Sendable {
    /// New with every write: names the version.
    var id: Int64
    var size: Int64
    /// Without quotes.
    var etag: String
    var modified: Timestamp
    var info: ObjectInfo
    var segments: [Segment]
    /// What the store behind calls this version; nil: it does not have it.
    var backing: String?

    static let columns = "id, size, etag, modified, info, segments, backing"

    init(_ row: Row) {
        id = row[0]
        size = row[1]
        etag = row[2]
        modified = Timestamp(milliseconds: row[3])
        info = ObjectInfo(encoded: row[4])
        segments = Segment.decode(row[5] as Data)
        backing = row[6]
    }

    /// One that is not here, as the store behind tells of it.
    init(size: Int64, etag: String, modified: Timestamp, info: ObjectInfo, backing: String) {
        (id, segments) = (0, [])
        (self.size, self.etag, self.modified, self.info, self.backing) = (size, etag, modified, info, backing)
    }
}

/// A bucket as the index has it.
struct BucketRecord: Sendable {
    var id: Int64
    var name: String
    var created: Timestamp
    var region: String
    var lifecycle: Lifecycle?

    static let columns = "id, name, created, region, lifecycle"

    /// One that is not in the index, and that no S3 request can name: the number is negative, the name begins with a dot.
    init(hidden id: Int64, name: String) {
        (self.id, self.name, created, region) = (id, name, Timestamp(milliseconds: 0), "")
    }

    init(_ row: Row) {
        id = row[0]
        name = row[1]
        created = Timestamp(milliseconds: row[2])
        region = row[3]
        lifecycle = (row[4] as Data?).flatMap { try? Lifecycle(xml: Array($0)) }
    }
}

/// One row of a listing.
struct ListedObject: Sendable {
    var key: ObjectKey
    var size: Int64
    var etag: String
    var modified: Timestamp
}

/// An upload in parts that is not completed.
struct UploadRecord: Sendable {
    var id: String
    var key: ObjectKey
    var initiated: Timestamp
    var info: ObjectInfo
    var checksumAlgorithm: ChecksumAlgorithm?
    var checksumType: ChecksumType?

    static let columns = "id, key, initiated, info, algorithm, type"

    init(_ row: Row) {
        id = row[0]
        key = ObjectKey(unchecked: Array(row[1] as Data))
        initiated = Timestamp(milliseconds: row[2])
        info = ObjectInfo(encoded: row[3])
        checksumAlgorithm = (row[4] as String?).flatMap(ChecksumAlgorithm.init(name:))
        checksumType = (row[5] as String?).flatMap(ChecksumType.init(rawValue:))
    }
}

/// One part of an upload.
struct PartRecord: Sendable {
    var number: Int
    var segment: Segment
    /// The MD5 of its bytes.
    var md5: [UInt8]
    var modified: Timestamp
    var checksum: Checksum?

    static let columns = "number, size, hash, md5, modified, algorithm, checksum"

    init(_ row: Row) {
        number = row[0]
        segment = Segment(hash: BlobHash(bytes: Array(row[2] as Data)), size: row[1])
        md5 = Array(row[3] as Data)
        modified = Timestamp(milliseconds: row[4])
        if let algorithm = (row[5] as String?).flatMap(ChecksumAlgorithm.init(name:)), let value = row[6] as Data? {
            checksum = Checksum(algorithm, Array(value))
        }
    }
}
