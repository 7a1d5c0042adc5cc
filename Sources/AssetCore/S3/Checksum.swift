/// The checksums that S3 knows.
public enum ChecksumAlgorithm: String, Hashable, Sendable, CaseIterable {
    case crc32 = "CRC32"
    case crc32c = "CRC32C"
    case crc64nvme = "CRC64NVME"
    case sha1 = "SHA1"
    case sha256 = "SHA256"

    /// Bytes of a value.
    public var size: Int {
        switch self {
        case .crc32, .crc32c: 4
        case .crc64nvme: 8
        case .sha1: 20
        case .sha256: 32
        }
    }

    /// `x-amz-checksum-crc32`
    public var field: String { "x-amz-checksum-\(rawValue.lowercased())" }

    /// `ChecksumCRC32`, in XML.
    public var element: String { "Checksum\(rawValue)" }

    public init?(name: String) { self.init(rawValue: name.uppercased()) }

    /// The polynomial of a CRC, reflected, with its width in bits; nil for digests.
    public var crc: CRC? {
        switch self {
        case .crc32: .crc32
        case .crc32c: .crc32c
        case .crc64nvme: .crc64nvme
        case .sha1, .sha256: nil
        }
    }
}

/// A value of a checksum, of the size that its algorithm has.
public struct Checksum: Hashable, Sendable {
    public var algorithm: ChecksumAlgorithm
    public var bytes: [UInt8]

    public init(_ algorithm: ChecksumAlgorithm, _ bytes: [UInt8]) {
        self.algorithm = algorithm
        self.bytes = bytes
    }

    public init(_ algorithm: ChecksumAlgorithm, base64 text: String) throws(S3Error) {
        guard let bytes = Base64.decode(text), bytes.count == algorithm.size else {
            throw S3Error(.invalidRequest, "Value for \(algorithm.field) header is invalid.")
        }
        self.init(algorithm, bytes)
    }

    public var base64: String { Base64.encode(bytes) }

    /// The one checksum that the fields give, or nil.
    public static func read(_ fields: Fields) throws(S3Error) -> Checksum? {
        var found: Checksum?
        for algorithm in ChecksumAlgorithm.allCases {
            guard let text = fields[algorithm.field] else { continue }
            guard found == nil else { throw S3Error(.invalidRequest, "Expecting a single x-amz-checksum- header.") }
            found = try Checksum(algorithm, base64: text)
        }
        return found
    }

    /// The algorithm that a request names without (yet) giving a value: for a trailer, or for the server to compute.
    public static func announced(_ fields: Fields) throws(S3Error) -> ChecksumAlgorithm? {
        if let trailer = fields["x-amz-trailer"] {
            guard let algorithm = ChecksumAlgorithm.allCases.first(where: { $0.field == trailer.lowercased() }) else {
                throw S3Error(.invalidRequest, "The value specified in the x-amz-trailer header is not supported.")
            }
            return algorithm
        }
        guard let name = fields["x-amz-sdk-checksum-algorithm"] ?? fields["x-amz-checksum-algorithm"] else { return nil }
        guard let algorithm = ChecksumAlgorithm(name: name) else {
            throw S3Error(.invalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the valid types.")
        }
        return algorithm
    }
}

/// How the checksum of a multipart object is made from those of its parts.
public enum ChecksumType: String, Hashable, Sendable {
    /// The checksum of the parts' checksums, written with `-COUNT`.
    case composite = "COMPOSITE"
    /// That of all bytes; CRCs only.
    case fullObject = "FULL_OBJECT"
}
