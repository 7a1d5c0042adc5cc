import AssetCore
import CLinux
import Foundation
import Linux
import NIOCore

extension S3Service {
    // MARK: Bodies

    /// Reads the request's body into a blob that is on disk when this returns.
    func receive(_ exchange: Exchange, _ request: Request, algorithm: ChecksumAlgorithm? = nil) async throws -> StagedBlob {
        let bucket = request.bucket
        let upload = try await blocking { [store] in
            try Upload(request.fields, caller: request.caller, store: store, bucket: bucket, algorithm: algorithm)
        }
        var pieces: [ByteBuffer] = []
        var bytes = 0
        while let piece = try await exchange.nextPiece() {
            pieces.append(piece)
            bytes += piece.readableBytes
            guard bytes >= Self.pieceSize else { continue }
            let full = pieces
            counters.bytesIn.add(bytes)
            (pieces, bytes) = ([], 0)
            try await blocking { try upload.take(full) }
        }
        counters.bytesIn.add(bytes)
        let rest = pieces
        return try await blocking {
            try upload.take(rest)
            return try upload.finish()
        }
    }

    /// Bytes that are handed to a blocking thread at once.
    private static let pieceSize = 512 << 10

    /// A small document, with whatever the request says of it checked. Nothing of it reaches the disk for good.
    func verifiedBody(_ exchange: Exchange, _ request: Request) async throws -> [UInt8] {
        guard exchange.contentLength ?? 0 > 0 || request.fields.contains("transfer-encoding") else {
            // Of no body, the hash of nothing.
            if case .hashed(let hash)? = request.caller.signature?.payload, Hex.encode(hash) != Signature.emptyHash {
                throw S3Error(.contentSHA256Mismatch)
            }
            return []
        }
        let decoded = request.fields["x-amz-decoded-content-length"].flatMap { Int64($0) }
        guard decoded ?? exchange.contentLength ?? 0 <= Self.mostXML else { throw S3Error(.malformedXML, "The document is too large.") }
        let blob = try await receive(exchange, request)
        return try await blocking { try blob.bytes() }
    }

    // MARK: Writing

    func putObject(_ exchange: Exchange, _ request: Request) async throws {
        let key = try request.key()
        var info = try ObjectInfo(request.fields)
        let conditions = Conditions(request.fields, now: request.now)
        let (store, name) = (self.store, request.bucket)
        try checkFits(name, key, info)
        // Before the body is taken in; once more when it is stored.
        if !conditions.isEmpty { try await bring(name, key) }
        try await blocking {
            let bucket = try store.bucket(name)
            if !conditions.isEmpty {
                try store.index.read { db in try conditions.checkWrite(existing: store.existing(key, in: bucket, db)?.etag) }
            }
        }
        let blob = try await receive(exchange, request)
        if let checksum = blob.checksum {
            info.checksum = .init(algorithm: checksum.algorithm.rawValue, value: checksum.base64, type: ChecksumType.fullObject.rawValue)
        }
        let stored = info
        let (object, bucket) = try await writing(name, key) { behind in
            let backed = try await behind?.put(name, key, stored, etag: Hex.encode(blob.md5), conditions, try await source(blob))
            return try await blocking {
                try store.put(key, in: name, blob, info: stored, conditions: conditions, backed: backed, clock: wallClock)
            }
        }
        counters.writes.add()
        var headers = [("ETag", "\"\(object.etag)\"")]
        headers += checksumHeaders(stored.checksum)
        headers += expiration(of: key, object.size, stored, object.modified, bucket)
        try await exchange.respond(200, headers)
    }

    func copyObject(_ exchange: Exchange, _ request: Request) async throws {
        let key = try request.key()
        let source = try CopySource(request)
        let fields = request.fields
        let replacesMetadata = try Self.directive(fields["x-amz-metadata-directive"])
        let replacesTags = try Self.directive(fields["x-amz-tagging-directive"])
        let new = try ObjectInfo(fields)
        guard replacesMetadata || replacesTags || source.bucket != request.bucket || source.key != key else {
            throw S3Error(
                .invalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata.")
        }
        if let name = fields["x-amz-checksum-algorithm"], ChecksumAlgorithm(name: name) == nil {
            throw S3Error(.invalidRequest, "Checksum algorithm provided is unsupported.")
        }
        let conditions = Conditions(fields, now: request.now)
        let sourceConditions = Conditions(fields, prefix: "x-amz-copy-source-", now: request.now)
        let (store, name) = (self.store, request.bucket)
        let change: @Sendable (ObjectRecord) -> ObjectInfo = { old in
            var info = old.info
            if replacesMetadata { (info.headers, info.metadata) = (new.headers, new.metadata) }
            if replacesTags { info.tags = new.tags }
            return info
        }
        try await bring(source.bucket, source.key)
        if !conditions.isEmpty { try await bring(name, key) }
        let (object, info) = try await writing(name, key) { behind in
            var backed: Backed?
            if tier != nil {
                let from = try await blocking { try store.object(source.key, in: source.bucket).object }
                try checkFits(name, key, change(from), size: from.size)
                try sourceConditions.checkCopySource(etag: from.etag, modified: from.modified)
                backed = try await behind?.put(name, key, change(from), etag: from.etag, conditions, try await self.source(from.segments))
            }
            let sent = backed
            return try await blocking {
                try store.copy(
                    from: (source.key, source.bucket), sourceConditions: sourceConditions, to: key, in: name, conditions: conditions,
                    backed: sent, clock: wallClock, change)
            }
        }
        counters.writes.add()
        var writer = XMLWriter()
        writer.document("CopyObjectResult") { writer in
            writer.element("LastModified", object.modified.iso8601)
            writer.element("ETag", "\"\(object.etag)\"")
            if let checksum = info.checksum, let algorithm = ChecksumAlgorithm(name: checksum.algorithm) {
                writer.element(algorithm.element, checksum.value)
                writer.element("ChecksumType", checksum.type)
            }
        }
        try await exchange.respond(200, xml: writer)
    }

    private static func directive(_ text: String?) throws(S3Error) -> Bool {
        switch text {
        case nil, "COPY": return false
        case "REPLACE": return true
        default: throw S3Error(.invalidArgument, "Unknown metadata or tagging directive.")
        }
    }

    func deleteObject(_ exchange: Exchange, _ request: Request) async throws {
        let key = try request.key()
        let conditions = Conditions(request.fields, now: request.now)
        let (store, name) = (self.store, request.bucket)
        if conditions.ifMatch != nil { try await bring(name, key) }
        try await writing(name, key) { behind in
            if let behind {
                if conditions.ifMatch != nil {
                    let etag = try await blocking { try? store.object(key, in: name).object.etag }
                    if let etag { try conditions.checkWrite(existing: etag) }
                }
                try await behind.delete(BackedName(bucket: name, key: key.bytes))
            }
            _ = try await blocking { try store.delete(key, in: name, conditions: conditions) }
        }
        try await exchange.respond(204)
    }

    func tagging(_ exchange: Exchange, _ request: Request) async throws {
        let key = try request.key()
        let (store, name) = (self.store, request.bucket)
        switch request.operation {
        case .putObjectTagging:
            let tags = try Tags(xml: try await verifiedBody(exchange, request))
            try await set(tags, of: key, in: name)
            try await exchange.respond(200)
        case .deleteObjectTagging:
            try await set(Tags(), of: key, in: name)
            try await exchange.respond(204)
        default:  // open: the third of three that get here
            try await bring(name, key)
            let object = try await blocking { try store.object(key, in: name).object }
            try await exchange.respond(200, [("Content-Type", "application/xml")], ByteBuffer(bytes: object.info.tagSet.xml()))
        }
    }

    // MARK: Reading

    func getObject(_ exchange: Exchange, _ request: Request, verifies: Bool) async throws {
        let key = try request.key()
        let (store, name) = (self.store, request.bucket)
        let isHead = request.operation == .headObject
        let asked = request
        // The index is asked again should the version that it told of be gone before its file was opened.
        for _ in 0..<8 {
            switch try await tier?.read(BackedName(bucket: name, key: key.bytes), isHead ? .head : .whole) {
            case nil, .look: break
            case .head(let record): return try await answerHead(exchange, request, record)
            case .relay: return try await relay(exchange, request)
            }
            let (object, bucket) = try await blocking { try store.object(key, in: name) }
            if let expiry = bucket.lifecycle?.expiry(key: key, size: object.size, tags: object.info.tagSet, modified: object.modified),
                expiry.time <= request.now
            {
                throw S3Error(.noSuchKey)
            }
            try Conditions(asked.fields, now: asked.now).checkRead(etag: object.etag, modified: object.modified)
            let answer = try ReadAnswer(object, asked)
            var headers = answer.headers
            headers += expiration(of: key, object.size, object.info, object.modified, bucket)
            if isHead || answer.range.isEmpty {
                counters.reads.add()
                store.touched(object.id)
                headers.append(("Content-Length", String(answer.range.count)))
                return try await exchange.respond(answer.status, headers)
            }
            let reading: Reading
            do {
                reading = try await blocking {
                    if verifies { try store.verify(object) }
                    return try Reading(object, answer.range, store, key: key, bucket: name)
                }
            } catch let error as SystemError where error.isNoSuchFile {
                // A damaged blob was set aside; the store behind has another.
                if object.backing != nil { _ = try await blocking { try store.dropCopy(BackedName(bucket: name, key: key.bytes)) { true } } }
                continue
            }
            counters.reads.add()
            counters.bytesOut.add(answer.range.count)
            store.touched(object.id)
            return try await send(reading, answer.status, headers + [("Content-Length", String(answer.range.count))], exchange)
        }
        throw S3Error(.internalError, "The object's bytes are missing.")
    }

    private func send(_ reading: Reading, _ status: Int, _ headers: [(String, String)], _ exchange: Exchange) async throws {
        if let small = reading.small {
            return try await exchange.respond(status, headers, small)
        }
        defer { pool.submit { _ in reading.close() } }
        try await exchange.begin(status, headers)
        while let piece = try await blocking({ try reading.next() }) {
            // Closed only when the kernel has taken all of it.
            let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: piece.descriptor)
            defer { try? handle.close() }
            try await exchange.send(FileRegion(fileHandle: handle, readerIndex: Int(piece.start), endIndex: Int(piece.end)))
        }
        try await exchange.end()
    }

    // MARK: Headers

    func checksumHeaders(_ checksum: ObjectInfo.StoredChecksum?) -> [(String, String)] {
        guard let checksum, let algorithm = ChecksumAlgorithm(name: checksum.algorithm) else { return [] }
        return [(algorithm.field, checksum.value), ("x-amz-checksum-type", checksum.type)]
    }

    func expiration(
        of key: ObjectKey, _ size: Int64, _ info: ObjectInfo, _ modified: Timestamp, _ bucket: BucketRecord
    ) -> [(String, String)] {
        guard let expiry = bucket.lifecycle?.expiry(key: key, size: size, tags: info.tagSet, modified: modified) else { return [] }
        return [("x-amz-expiration", "expiry-date=\"\(expiry.time.httpDate)\", rule-id=\"\(PercentCoding.encode(expiry.rule.utf8))\"")]
    }
}

/// The object that a copy is made of.
struct CopySource: Sendable {
    let bucket: String
    let key: ObjectKey

    /// `x-amz-copy-source: BUCKET/KEY`, percent-encoded, with or without a slash in front. Its reader must be allowed to read it.
    init(_ request: Request) throws(S3Error) {
        let text = request.fields["x-amz-copy-source"] ?? ""
        var path = text.utf8.prefix { $0 != UInt8(ascii: "?") }
        if path.first == UInt8(ascii: "/") { path = path.dropFirst() }
        let version = text.utf8.dropFirst(text.utf8.prefix { $0 != UInt8(ascii: "?") }.count)
        guard version.isEmpty || String(version) == "?versionId=null" else { throw S3Error(.noSuchVersion) }
        guard case .object(let bucket, let key) = try Resource(rawPath: "/" + String(decoding: path, as: UTF8.self), hostBucket: nil) else {
            throw S3Error(.invalidArgument, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
        }
        guard request.caller.may(.read, in: bucket) else { throw S3Error(.accessDenied) }
        self.bucket = bucket
        self.key = key
    }
}
