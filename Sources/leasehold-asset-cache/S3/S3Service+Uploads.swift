import AssetCore
import CLinux
import Foundation
import Linux
import NIOCore

extension S3Service {
    func onUpload(_ exchange: Exchange, _ request: Request) async throws {
        switch request.operation {
        case .createMultipartUpload: try await createUpload(exchange, request)
        case .uploadPart: try await uploadPart(exchange, request)
        case .uploadPartCopy: try await uploadPartCopy(exchange, request)
        case .listParts: try await listParts(exchange, request)
        case .completeMultipartUpload: try await completeUpload(exchange, request)
        default:  // open: the last of six that get here
            let (store, name, key, id) = (self.store, request.bucket, try request.key(), try uploadID(request))
            try await blocking { try store.abortUpload(id, of: key, in: name) }
            try await exchange.respond(204)
        }
    }

    private func uploadID(_ request: Request) throws(S3Error) -> String {
        guard let id = request.target["uploadId"], !id.isEmpty else { throw S3Error(.noSuchUpload) }
        return id
    }

    private func partNumber(_ request: Request) throws(S3Error) -> Int {
        guard let number = request.target["partNumber"].flatMap({ Int($0) }), (1...Store.mostParts).contains(number) else {
            throw S3Error(.invalidArgument, "Part number must be an integer between 1 and \(Store.mostParts), inclusive")
        }
        return number
    }

    private func createUpload(_ exchange: Exchange, _ request: Request) async throws {
        let key = try request.key()
        let info = try ObjectInfo(request.fields)
        let algorithm = try Checksum.announced(request.fields)
        var type: ChecksumType?
        if let text = request.fields["x-amz-checksum-type"] {
            guard let given = ChecksumType(rawValue: text), let algorithm else {
                throw S3Error(.invalidRequest, "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
            }
            let fits = given == .composite ? algorithm != .crc64nvme : algorithm.crc != nil
            guard fits else {
                throw S3Error(
                    .invalidRequest, "The \(text) checksum type cannot be used with the \(algorithm.rawValue) checksum algorithm.")
            }
            type = given
        } else if let algorithm {
            type = algorithm == .crc64nvme ? .fullObject : .composite
        }
        let (store, name) = (self.store, request.bucket)
        let id = try await blocking { [type] in
            try store.createUpload(key, in: name, info: info, algorithm: algorithm, type: type, at: request.now)
        }
        var writer = XMLWriter()
        writer.document("InitiateMultipartUploadResult") { writer in
            writer.element("Bucket", name)
            writer.element("Key", key.bytes)
            writer.element("UploadId", id)
        }
        var headers: [(String, String)] = []
        if let algorithm, let type {
            headers = [("x-amz-checksum-algorithm", algorithm.rawValue), ("x-amz-checksum-type", type.rawValue)]
        }
        try await exchange.respond(200, headers, xml: writer)
    }

    private func uploadPart(_ exchange: Exchange, _ request: Request) async throws {
        let (store, name, key, id, number) = (self.store, request.bucket, try request.key(), try uploadID(request), try partNumber(request))
        let upload = try await blocking { try store.upload(id, of: key, in: name) }
        let blob = try await receive(exchange, request, algorithm: upload.checksumAlgorithm)
        if let wanted = upload.checksumAlgorithm, let given = blob.checksum?.algorithm, given != wanted {
            throw S3Error(
                .invalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: \(wanted.rawValue), actual checksum Type: \(given.rawValue)")
        }
        try await blocking { try store.putPart(number, of: id, key: key, in: name, blob, at: request.now) }
        counters.writes.add()
        var headers = [("ETag", "\"\(Hex.encode(blob.md5))\"")]
        if let checksum = blob.checksum { headers.append((checksum.algorithm.field, checksum.base64)) }
        try await exchange.respond(200, headers)
    }

    private func uploadPartCopy(_ exchange: Exchange, _ request: Request) async throws {
        let (store, name, key, id, number) = (self.store, request.bucket, try request.key(), try uploadID(request), try partNumber(request))
        let source = try CopySource(request)
        let conditions = Conditions(request.fields, prefix: "x-amz-copy-source-", now: request.now)
        let rangeField = request.fields["x-amz-copy-source-range"]
        try await bring(source.bucket, source.key)
        let blob = try await blocking {
            let upload = try store.upload(id, of: key, in: name)
            let (object, _) = try store.object(source.key, in: source.bucket)
            try conditions.checkCopySource(etag: object.etag, modified: object.modified)
            let range = try rangeField.map { text throws(S3Error) in try copySourceRange(text, size: object.size) } ?? 0..<object.size
            guard range.count <= Upload.mostBytes else { throw S3Error(.entityTooLarge) }
            try store.checkRoom(for: Int64(range.count), in: nil)
            return try store.stage(range, of: object, key: source.key, bucket: source.bucket, checksum: upload.checksumAlgorithm)
        }
        try await blocking { try store.putPart(number, of: id, key: key, in: name, blob, at: request.now) }
        counters.writes.add()
        var writer = XMLWriter()
        writer.document("CopyPartResult") { writer in
            writer.element("LastModified", request.now.iso8601)
            writer.element("ETag", "\"\(Hex.encode(blob.md5))\"")
            if let checksum = blob.checksum { writer.element(checksum.algorithm.element, checksum.base64) }
        }
        try await exchange.respond(200, xml: writer)
    }

    private func listParts(_ exchange: Exchange, _ request: Request) async throws {
        let (store, name, key, id) = (self.store, request.bucket, try request.key(), try uploadID(request))
        func number(_ parameter: String, _ otherwise: Int) throws(S3Error) -> Int {
            guard let text = request.target[parameter] else { return otherwise }
            guard let value = Int(text), (0...Int(Int32.max)).contains(value) else {
                throw S3Error(.invalidArgument, "\(parameter) must be a number from 0 to 2147483647.")
            }
            return value
        }
        let marker = try number("part-number-marker", 0)
        let most = min(1000, try number("max-parts", 1000))
        let (upload, parts) = try await blocking {
            (try store.upload(id, of: key, in: name), try store.parts(of: id, after: marker, most: most + 1))
        }
        var writer = XMLWriter()
        writer.document("ListPartsResult") { writer in
            writer.element("Bucket", name)
            writer.element(
                "Key", request.target["encoding-type"] == "url" ? Array(PercentCoding.encode(key.bytes, keepsSlash: true).utf8) : key.bytes)
            writer.element("UploadId", id)
            writer.element("Initiator") { Self.owner(&$0, request) }
            writer.element("Owner") { Self.owner(&$0, request) }
            writer.element("StorageClass", "STANDARD")
            writer.element("PartNumberMarker", String(marker))
            if parts.count > most, most > 0 { writer.element("NextPartNumberMarker", String(parts[most - 1].number)) }
            writer.element("MaxParts", String(most))
            writer.element("IsTruncated", parts.count > most && most > 0 ? "true" : "false")
            writer.element("ChecksumAlgorithm", ifPresent: upload.checksumAlgorithm?.rawValue)
            writer.element("ChecksumType", ifPresent: upload.checksumType?.rawValue)
            for part in parts.prefix(most) {
                writer.element("Part") { writer in
                    writer.element("PartNumber", String(part.number))
                    writer.element("LastModified", part.modified.iso8601)
                    writer.element("ETag", "\"\(Hex.encode(part.md5))\"")
                    writer.element("Size", String(part.segment.size))
                    if let checksum = part.checksum { writer.element(checksum.algorithm.element, checksum.base64) }
                }
            }
        }
        try await exchange.respond(200, xml: writer)
    }

    private func completeUpload(_ exchange: Exchange, _ request: Request) async throws {
        let (store, name, key, id) = (self.store, request.bucket, try request.key(), try uploadID(request))
        let body = try await verifiedBody(exchange, request)
        let conditions = Conditions(request.fields, now: request.now)
        if !conditions.isEmpty { try await bring(name, key) }
        let parts = try await blocking {
            _ = try store.upload(id, of: key, in: name)
            return try CompletedParts(xml: body, fields: request.fields)
        }
        let object = try await writing(name, key) { behind in
            var backed: Backed?
            if tier != nil {
                let planned = try await blocking {
                    try store.completed(id, of: key, in: name, parts, conditions: conditions, at: wallClock())
                }
                try checkFits(name, key, planned.info, size: planned.size)
                backed = try await behind?.put(name, key, planned.info, etag: planned.etag, conditions, try await source(planned.segments))
            }
            let sent = backed
            return try await blocking {
                try store.completeUpload(id, of: key, in: name, parts, conditions: conditions, backed: sent, clock: wallClock)
            }
        }
        counters.writes.add()
        var writer = XMLWriter()
        writer.document("CompleteMultipartUploadResult") { writer in
            writer.element(
                "Location", "http://\(request.fields["host"] ?? "")/\(name)/\(PercentCoding.encode(key.bytes, keepsSlash: true))")
            writer.element("Bucket", name)
            writer.element("Key", key.bytes)
            writer.element("ETag", "\"\(object.etag)\"")
            if let checksum = object.info.checksum, let algorithm = ChecksumAlgorithm(name: checksum.algorithm) {
                writer.element(algorithm.element, checksum.value)
                writer.element("ChecksumType", checksum.type)
            }
        }
        try await exchange.respond(200, xml: writer)
    }
}

extension Store {
    /// Copies a range of an object into a blob of its own.
    func stage(
        _ range: Range<Int64>, of object: ObjectRecord, key: ObjectKey, bucket: String, checksum: ChecksumAlgorithm?
    ) throws -> StagedBlob {
        let writer = try startBlob(checksum: checksum)
        let reading = try Reading(object, range, self, key: key, bucket: bucket)
        defer { reading.close() }
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        defer { room.deallocate() }
        while let piece = try reading.next() {
            let file = Descriptor(owning: piece.descriptor)
            var offset = piece.start
            while offset < piece.end {
                let count = pread(file.raw, room.baseAddress, min(room.count, Int(piece.end - offset)), Int(offset))
                guard count > 0 else { throw SystemError(count == 0 ? EIO : errno, "read", "a blob") }
                try writer.append(UnsafeRawBufferPointer(rebasing: room[..<count]))
                offset += Int64(count)
            }
        }
        return try writer.finish()
    }
}
