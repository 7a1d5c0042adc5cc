import AssetCore
import Crypto

/// What a client says when it completes an upload.
struct CompletedParts: Sendable {
    var parts: [Part]
    /// For the whole object, from the request's fields.
    var checksum: (algorithm: ChecksumAlgorithm, value: String)?
    /// `x-amz-mp-object-size`
    var size: Int64?

    struct Part: Sendable {
        var number: Int
        var etag: String
        var checksum: Checksum?
    }

    /// `<CompleteMultipartUpload><Part><PartNumber/><ETag/>…`
    init(xml: [UInt8], fields: Fields) throws(S3Error) {
        let root = try XMLElement.parse(xml)
        guard root.name == "CompleteMultipartUpload", (1...Store.mostParts).contains(root.children.count) else {
            throw S3Error(.malformedXML)
        }
        parts = []
        for element in root.children {
            guard element.name == "Part", let number = (element["PartNumber"]?.text).flatMap({ Int($0) }), let etag = element["ETag"]?.text
            else {
                throw S3Error(.malformedXML)
            }
            var checksum: Checksum?
            for algorithm in ChecksumAlgorithm.allCases {
                if let text = element[algorithm.element]?.text { checksum = try Checksum(algorithm, base64: text) }
            }
            if let last = parts.last, last.number >= number { throw S3Error(.invalidPartOrder) }
            parts.append(Part(number: number, etag: etag.filter { $0 != "\"" }, checksum: checksum))
        }
        for algorithm in ChecksumAlgorithm.allCases {
            if let value = fields[algorithm.field] { checksum = (algorithm, value) }
        }
        if let text = fields["x-amz-mp-object-size"] {
            guard let size = Int64(text), size >= 0 else { throw S3Error(.invalidRequest, "x-amz-mp-object-size is not a size.") }
            self.size = size
        }
    }

    /// The parts that are named, each there and as it was said to be.
    func choose(from stored: [PartRecord], least: Int64) throws(S3Error) -> [PartRecord] {
        let byNumber = Dictionary(stored.map { ($0.number, $0) }, uniquingKeysWith: { first, _ in first })
        var chosen: [PartRecord] = []
        for (i, part) in parts.enumerated() {
            guard let found = byNumber[part.number], Hex.encode(found.md5) == part.etag else {
                throw S3Error(.invalidPart)
            }
            if let checksum = part.checksum, checksum != found.checksum { throw S3Error(.invalidPart) }
            guard i == parts.count - 1 || found.segment.size >= least else { throw S3Error(.entityTooSmall) }
            chosen.append(found)
        }
        if let size, size != chosen.reduce(0, { $0 + $1.segment.size }) {
            throw S3Error(.invalidRequest, "The parts do not have as many bytes as x-amz-mp-object-size says.")
        }
        return chosen
    }

    /// Of the whole object, as the upload was created to have it.
    func checksum(of parts: [PartRecord], _ upload: UploadRecord) throws(S3Error) -> ObjectInfo.StoredChecksum? {
        guard let algorithm = upload.checksumAlgorithm else { return nil }
        let type = upload.checksumType ?? (algorithm == .crc64nvme ? .fullObject : .composite)
        let values = parts.compactMap(\.checksum).filter { $0.algorithm == algorithm }
        guard values.count == parts.count else {
            throw S3Error(.invalidRequest, "The upload was created with a checksum, and a part has none.")
        }
        let text: String
        switch (type, algorithm.crc) {
        case (.fullObject, let crc?):
            var whole: UInt64?
            for (part, value) in zip(parts, values) {
                let next = crc.value(value.bytes)
                whole = whole.map { crc.combine($0, next, secondLength: part.segment.size) } ?? next
            }
            text = Base64.encode(crc.bytes(whole ?? 0))
        case (.composite, _), (.fullObject, nil):
            var running = RunningChecksum(algorithm)
            for value in values { value.bytes.withUnsafeBytes { running.update($0) } }
            text = running.value.base64 + "-\(parts.count)"
        }
        if let checksum {
            // A client may leave the count out.
            guard checksum.algorithm == algorithm, checksum.value == text || "\(checksum.value)-\(parts.count)" == text else {
                throw S3Error(.badDigest, "The \(algorithm.rawValue) you specified did not match the calculated checksum.")
            }
        }
        return ObjectInfo.StoredChecksum(algorithm: algorithm.rawValue, value: text, type: type.rawValue)
    }
}
