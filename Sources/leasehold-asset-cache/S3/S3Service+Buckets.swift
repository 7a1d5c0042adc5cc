import AssetCore
import Foundation

extension S3Service {
    /// Bytes of the largest XML document that is read.
    static let mostXML = 2 << 20

    func listBuckets(_ exchange: Exchange, _ request: Request) async throws {
        let most = request.target["max-buckets"].map { Int($0) ?? 0 } ?? 10_000
        guard (1...10_000).contains(most) else { throw S3Error(.invalidArgument, "max-buckets must be a number from 1 to 10000.") }
        // Names are ASCII, so text sorts as bytes do.
        let (prefix, after) = (request.target["prefix"] ?? "", request.target["continuation-token"] ?? "")
        let region = request.target["bucket-region"]
        if let tier { try await learnBuckets(tier) }
        let buckets = try await blocking { [store] in try store.buckets() }.filter { bucket in
            request.caller.may(.read, in: bucket.name) && bucket.name.hasPrefix(prefix) && bucket.name > after
                && region.map { $0 == bucket.region } ?? true
        }
        var writer = XMLWriter()
        writer.document("ListAllMyBucketsResult") { writer in
            writer.element("Owner") { Self.owner(&$0, request) }
            writer.element("Buckets") { writer in
                for bucket in buckets.prefix(most) {
                    writer.element("Bucket") { writer in
                        writer.element("Name", bucket.name)
                        writer.element("CreationDate", bucket.created.iso8601)
                        writer.element("BucketRegion", bucket.region)
                    }
                }
            }
            if buckets.count > most { writer.element("ContinuationToken", buckets[most - 1].name) }
            writer.element("Prefix", ifPresent: request.target["prefix"])
        }
        try await exchange.respond(200, xml: writer)
    }

    static func owner(_ writer: inout XMLWriter, _ request: Request) {
        writer.element("ID", request.caller.name)
        writer.element("DisplayName", request.caller.name)
    }

    func onBucket(_ exchange: Exchange, _ request: Request) async throws {
        let (store, name) = (self.store, request.bucket)
        switch request.operation {
        case .createBucket:
            let body = try await verifiedBody(exchange, request)
            var region = "us-east-1"
            if !body.isEmpty {
                let root = try XMLElement.parse(body)
                guard root.name == "CreateBucketConfiguration" else { throw S3Error(.malformedXML) }
                if let given = root["LocationConstraint"]?.text, !given.isEmpty { region = given }
            }
            guard region.utf8.count <= 64 else { throw S3Error(.invalidArgument, "The location constraint is too long.") }
            if let tier { try await checkNew(name, tier) }
            try await writing(BackedName(bucket: name)) { [region] behind in
                if let behind { _ = try await behind.put(BackedName(bucket: name), [], nil) }
                try await blocking { try store.createBucket(name, region: region, at: request.now) }
            }
            try await exchange.respond(200, [("Location", "/\(name)")])
        case .headBucket:
            let bucket = try await blocking { try store.bucket(name) }
            try await exchange.respond(200, [("x-amz-bucket-region", bucket.region)])
        case .deleteBucket:
            if let tier, tier.mode != .readThrough, try await !tier.isEmpty(name) { throw S3Error(.bucketNotEmpty) }
            try await writing(BackedName(bucket: name)) { behind in
                try await behind?.delete(BackedName(bucket: name))
                try await blocking { try store.deleteBucket(name) }
            }
            tier?.forgetBucket(name)
            try await exchange.respond(204)
        case .getBucketLocation:
            let bucket = try await blocking { try store.bucket(name) }
            var writer = XMLWriter()
            // The first region has no name here, for historical reasons that are S3's.
            writer.document("LocationConstraint", text: bucket.region == "us-east-1" ? "" : bucket.region)
            try await exchange.respond(200, xml: writer)
        case .getBucketLifecycle:
            let bucket = try await blocking { try store.bucket(name) }
            guard let lifecycle = bucket.lifecycle else { throw S3Error(.noSuchLifecycleConfiguration) }
            try await exchange.respond(200, [("Content-Type", "application/xml")], .init(bytes: lifecycle.xml()))
        case .putBucketLifecycle:
            let lifecycle = try Lifecycle(xml: try await verifiedBody(exchange, request))
            try await blocking {
                try store.setLifecycle(lifecycle, of: name)
                try store.expire(in: name, at: request.now)
            }
            try await exchange.respond(200)
        case .deleteBucketLifecycle:
            try await blocking { try store.setLifecycle(nil, of: name) }
            try await exchange.respond(204)
        case .listBuckets, .listObjects, .listObjectsV2, .listMultipartUploads, .deleteObjects, .putObject, .copyObject, .getObject,
            .headObject,
            .deleteObject, .getObjectTagging, .putObjectTagging, .deleteObjectTagging, .createMultipartUpload, .uploadPart, .uploadPartCopy,
            .listParts, .completeMultipartUpload, .abortMultipartUpload:
            throw S3Error(.internalError)
        }
    }

    // MARK: Listing

    func list(_ exchange: Exchange, _ request: Request) async throws {
        let query = try ListQuery(request)
        var writer = XMLWriter()
        let (store, name) = (self.store, request.bucket)
        switch request.operation {
        case .listMultipartUploads:
            let (page, uploads) = try await blocking { try store.listUploads(query.page, afterUpload: nil, in: name) }
            writer.document("ListMultipartUploadsResult") { writer in query.write(page, uploads, &writer, request) }
        default:  // open: an operation is one of the two listings of objects here
            let found: (page: Listing, objects: [ListedObject])
            if let tier { found = try await tier.list(query.page, in: name) } else {
                found = try await blocking { try store.list(query.page, in: name) }
            }
            writer.document("ListBucketResult") { writer in query.write(found.page, found.objects, &writer, request) }
        }
        try await exchange.respond(200, xml: writer)
    }

    func deleteObjects(_ exchange: Exchange, _ request: Request) async throws {
        let checksum = try Checksum.read(request.fields)
        guard checksum != nil || request.fields.contains("content-md5") || request.fields.contains("x-amz-trailer") else {
            throw S3Error(.invalidRequest, "Missing required header for this request: Content-MD5 or a checksum")
        }
        let root = try XMLElement.parse(try await verifiedBody(exchange, request))
        let objects = root.all("Object")
        guard root.name == "Delete", (1...1000).contains(objects.count) else { throw S3Error(.malformedXML) }
        var keys: [ObjectKey] = []
        var refused: [(key: String, error: S3Error)] = []
        for object in objects {
            guard let text = object["Key"]?.text else { throw S3Error(.malformedXML) }
            do throws(S3Error) {
                if let version = object["VersionId"]?.text, version != "null" { throw S3Error(.noSuchVersion) }
                for name in ["ETag", "LastModifiedTime", "Size"] where object[name] != nil {
                    throw S3Error(.notImplemented, "Conditions on one of many keys are not implemented.")
                }
                keys.append(try ObjectKey(Array(text.utf8)))
            } catch {
                refused.append((text, error))
            }
        }
        let (store, name) = (self.store, request.bucket)
        if let tier {
            for (key, error) in try await delete(keys, in: name, tier) {
                keys.removeAll { $0 == key }
                refused.append((key.text, error))
            }
        } else {
            let chosen = keys
            try await blocking { try store.delete(chosen, in: name) }
        }
        let isQuiet = root["Quiet"]?.text == "true"
        var writer = XMLWriter()
        writer.document("DeleteResult") { writer in
            if !isQuiet { for key in keys { writer.element("Deleted") { $0.element("Key", key.bytes) } } }
            for (key, error) in refused {
                writer.element("Error") { writer in
                    writer.element("Key", key)
                    writer.element("Code", error.code.rawValue)
                    writer.element("Message", error.message)
                }
            }
        }
        try await exchange.respond(200, xml: writer)
    }
}

/// The parameters of a listing, and how its page is written.
struct ListQuery: Sendable {
    let page: Listing
    private let isV2: Bool
    private let encodes: Bool
    private let marker: [UInt8]
    private let startAfter: [UInt8]
    private let token: String?
    private let fetchesOwner: Bool

    init(_ request: Request) throws(S3Error) {
        func bytes(_ name: String) -> [UInt8] {
            let wanted = Array(name.utf8)
            return request.target.query.first { $0.name == wanted }?.value ?? []
        }
        isV2 = request.operation == .listObjectsV2
        let isUploads = request.operation == .listMultipartUploads
        if let type = request.target["encoding-type"] {
            guard type == "url" else { throw S3Error(.invalidArgument, "Invalid Encoding Method specified in Request") }
            encodes = true
        } else {
            encodes = false
        }
        let countName = isUploads ? "max-uploads" : "max-keys"
        var most = Listing.mostPerPage
        if let text = request.target[countName] {
            guard let count = Int(text), (0...Int(Int32.max)).contains(count) else {
                throw S3Error(.invalidArgument, "\(countName) must be a number from 0 to 2147483647.")
            }
            most = count
        }
        marker = bytes(isUploads ? "key-marker" : "marker")
        startAfter = bytes("start-after")
        token = request.target["continuation-token"]
        fetchesOwner = request.target["fetch-owner"] == "true"
        var after = isV2 ? startAfter : marker
        if isV2, let token {
            guard let decoded = Base64.decode(token), !decoded.isEmpty else {
                throw S3Error(.invalidArgument, "The continuation token provided is incorrect")
            }
            after = decoded
        }
        page = Listing(prefix: bytes("prefix"), delimiter: bytes("delimiter"), after: after, most: most)
    }

    private func encoded(_ bytes: [UInt8]) -> [UInt8] {
        guard encodes else { return bytes }
        var out: [UInt8] = []
        PercentCoding.encode(bytes, keepsSlash: true, into: &out)
        return out
    }

    func write(_ page: Listing, _ objects: [ListedObject], _ writer: inout XMLWriter, _ request: Request) {
        writer.element("Name", request.bucket)
        writer.element("Prefix", encoded(page.prefix))
        if isV2 {
            if let token { writer.element("ContinuationToken", token) }
            if !startAfter.isEmpty { writer.element("StartAfter", encoded(startAfter)) }
            writer.element("KeyCount", String(page.keys.count + page.commonPrefixes.count))
            if page.isTruncated, let last = page.last { writer.element("NextContinuationToken", Base64.encode(last)) }
        } else {
            writer.element("Marker", encoded(marker))
            // S3 tells it only with a delimiter; otherwise it is the last key.
            if page.isTruncated, !page.delimiter.isEmpty, let last = page.last { writer.element("NextMarker", encoded(last)) }
        }
        writeCommon("MaxKeys", page, &writer)
        for object in objects {
            writer.element("Contents") { writer in
                writer.element("Key", encoded(object.key.bytes))
                writer.element("LastModified", object.modified.iso8601)
                writer.element("ETag", "\"\(object.etag)\"")
                writer.element("Size", String(object.size))
                writer.element("StorageClass", "STANDARD")
                if !isV2 || fetchesOwner { writer.element("Owner") { S3Service.owner(&$0, request) } }
            }
        }
        writePrefixes(page, &writer)
    }

    func write(_ page: Listing, _ uploads: [UploadRecord], _ writer: inout XMLWriter, _ request: Request) {
        writer.element("Bucket", request.bucket)
        writer.element("KeyMarker", encoded(marker))
        writer.element("UploadIdMarker", "")
        writer.element("Prefix", encoded(page.prefix))
        if page.isTruncated, let last = page.last {
            writer.element("NextKeyMarker", encoded(last))
            writer.element("NextUploadIdMarker", uploads.last?.id ?? "")
        }
        writeCommon("MaxUploads", page, &writer)
        for upload in uploads {
            writer.element("Upload") { writer in
                writer.element("Key", encoded(upload.key.bytes))
                writer.element("UploadId", upload.id)
                writer.element("Initiator") { S3Service.owner(&$0, request) }
                writer.element("Owner") { S3Service.owner(&$0, request) }
                writer.element("StorageClass", "STANDARD")
                writer.element("Initiated", upload.initiated.iso8601)
                writer.element("ChecksumAlgorithm", ifPresent: upload.checksumAlgorithm?.rawValue)
                writer.element("ChecksumType", ifPresent: upload.checksumType?.rawValue)
            }
        }
        writePrefixes(page, &writer)
    }

    private func writeCommon(_ most: String, _ page: Listing, _ writer: inout XMLWriter) {
        writer.element(most, String(page.most))
        if !page.delimiter.isEmpty { writer.element("Delimiter", encoded(page.delimiter)) }
        if encodes { writer.element("EncodingType", "url") }
        writer.element("IsTruncated", page.isTruncated ? "true" : "false")
    }

    private func writePrefixes(_ page: Listing, _ writer: inout XMLWriter) {
        for prefix in page.commonPrefixes { writer.element("CommonPrefixes") { $0.element("Prefix", encoded(prefix)) } }
    }
}
