import AssetCore
import Crypto
import Linux
import NIOCore

/// A request body on its way into a blob: decoded, checked chunk by chunk, hashed and written. Blocks; never on an event loop.
final class Upload: @unchecked Sendable {
    // Confined: one job at a time works on it, and its request waits for each.

    private let caller: Authority.Caller
    private let writer: BlobWriter
    private var chunks: ChunkedPayload?
    private var chunkHash = SHA256()
    private var previousSignature: String
    private let isSigned: Bool
    private var events: [ChunkedPayload.Event] = []
    private let expectedMD5: [UInt8]?
    private var expectedChecksum: Checksum?
    private let trailer: ChecksumAlgorithm?
    /// Bytes that the caller announced: of the decoded body.
    let declared: Int64

    /// - Parameter algorithm: what else is computed when the request itself names none.
    init(_ fields: Fields, caller: Authority.Caller, store: Store, bucket: String?, algorithm: ChecksumAlgorithm? = nil) throws {
        self.caller = caller
        let payload = caller.signature?.payload ?? .unsigned
        if payload.isChunked {
            guard let length = fields["x-amz-decoded-content-length"].flatMap({ Int64($0) }), length >= 0 else {
                throw S3Error(.missingContentLength, "You must provide the x-amz-decoded-content-length header.")
            }
            declared = length
        } else {
            guard let length = fields["content-length"].flatMap({ Int64($0) }), length >= 0 else { throw S3Error(.missingContentLength) }
            declared = length
        }
        guard declared <= Self.mostBytes else { throw S3Error(.entityTooLarge) }
        try store.checkRoom(for: declared, in: bucket)
        expectedMD5 = try fields["content-md5"].map { text throws(S3Error) in
            guard let bytes = Base64.decode(text), bytes.count == 16 else { throw S3Error(.invalidDigest) }
            return bytes
        }
        expectedChecksum = try Checksum.read(fields)
        let announced = try Checksum.announced(fields)
        trailer = fields.contains("x-amz-trailer") ? announced : nil
        switch payload {
        case .hashed, .unsigned: chunks = nil
        case .signedChunks(let hasTrailer): chunks = ChunkedPayload(isSigned: true, hasTrailer: hasTrailer, declared: declared)
        case .unsignedChunks: chunks = ChunkedPayload(isSigned: false, hasTrailer: true, declared: declared)
        }
        if case .signedChunks = payload { isSigned = true } else { isSigned = false }
        previousSignature = caller.signature?.signature ?? ""
        writer = try store.startBlob(checksum: expectedChecksum?.algorithm ?? announced ?? algorithm)
    }

    /// 5 GiB: more than that comes in parts.
    static let mostBytes: Int64 = 5 << 30

    func take(_ pieces: [ByteBuffer]) throws {
        for piece in pieces {
            guard chunks != nil else {
                try piece.withUnsafeReadableBytes { try writer.append($0) }
                continue
            }
            events.removeAll(keepingCapacity: true)
            try chunks?.feed(Array(piece.readableBytesView), &events)
            for event in events { try take(event) }
        }
    }

    private func take(_ event: ChunkedPayload.Event) throws {
        switch event {
        case .data(let bytes):
            if isSigned { chunkHash.update(data: bytes) }
            try bytes.withUnsafeBytes { try writer.append($0) }
        case .chunkEnded(let given):
            guard isSigned, let signature = caller.signature else { return }
            let hash = Array(chunkHash.finalize())
            chunkHash = SHA256()
            try check(given, caller.sign(signature.chunkStringToSign(previous: previousSignature, chunkHash: hash)))
        case .trailer(let fields, let given):
            if isSigned, let signature = caller.signature {
                let text = fields.map { "\($0.name):\($0.value)\n" }.joined()
                let hash = Array(SHA256.hash(data: Array(text.utf8)))
                try check(given, caller.sign(signature.trailerStringToSign(previous: previousSignature, trailerHash: hash)))
            }
            for field in fields where ChecksumAlgorithm.allCases.contains(where: { $0.field == field.name }) {
                guard let trailer, trailer.field == field.name else {
                    throw S3Error(.malformedTrailer, "The trailer \(field.name) was not announced in x-amz-trailer.")
                }
                expectedChecksum = try Checksum(trailer, base64: field.value)
            }
        }
    }

    private func check(_ given: String?, _ expected: String) throws(S3Error) {
        guard let given, Signature.equalInConstantTime(given.utf8, expected.utf8) else { throw S3Error(.signatureDoesNotMatch) }
        previousSignature = expected
    }

    /// The body has ended: everything that was said of it must be true. Waits until the disk has it.
    func finish() throws -> StagedBlob {
        if chunks != nil {
            events.removeAll(keepingCapacity: true)
            try chunks?.finish(&events)
            for event in events { try take(event) }
        }
        guard writer.size == declared else { throw S3Error(.incompleteBody) }
        if let trailer, expectedChecksum == nil { throw S3Error(.malformedTrailer, "The trailer \(trailer.field) did not come.") }
        let blob = try writer.finish()
        if case .hashed(let hash)? = caller.signature?.payload, hash != blob.segment.hash.bytes { throw S3Error(.contentSHA256Mismatch) }
        if let expectedMD5, expectedMD5 != blob.md5 {
            throw S3Error(.badDigest, "The Content-MD5 you specified did not match what we received.")
        }
        if let expectedChecksum, expectedChecksum != blob.checksum {
            throw S3Error(.badDigest, "The \(expectedChecksum.algorithm.rawValue) you specified did not match the calculated checksum.")
        }
        return blob
    }
}
