/// The S3 operations that are implemented, and how a request names one.
public enum S3Operation: String, Hashable, Sendable, CaseIterable {
    case listBuckets = "ListBuckets"
    case createBucket = "CreateBucket"
    case headBucket = "HeadBucket"
    case deleteBucket = "DeleteBucket"
    case getBucketLocation = "GetBucketLocation"
    case getBucketLifecycle = "GetBucketLifecycleConfiguration"
    case putBucketLifecycle = "PutBucketLifecycleConfiguration"
    case deleteBucketLifecycle = "DeleteBucketLifecycle"
    case listObjects = "ListObjects"
    case listObjectsV2 = "ListObjectsV2"
    case listMultipartUploads = "ListMultipartUploads"
    case deleteObjects = "DeleteObjects"
    case putObject = "PutObject"
    case copyObject = "CopyObject"
    case getObject = "GetObject"
    case headObject = "HeadObject"
    case deleteObject = "DeleteObject"
    case getObjectTagging = "GetObjectTagging"
    case putObjectTagging = "PutObjectTagging"
    case deleteObjectTagging = "DeleteObjectTagging"
    case createMultipartUpload = "CreateMultipartUpload"
    case uploadPart = "UploadPart"
    case uploadPartCopy = "UploadPartCopy"
    case listParts = "ListParts"
    case completeMultipartUpload = "CompleteMultipartUpload"
    case abortMultipartUpload = "AbortMultipartUpload"

    public enum Right: Hashable, Sendable {
        case read
        case write
    }

    /// What a key must be allowed in the bucket. `ListBuckets` shows those that can be read.
    public var right: Right {
        switch self {
        case .listBuckets, .headBucket, .getBucketLocation, .getBucketLifecycle, .listObjects, .listObjectsV2, .listMultipartUploads,
            .getObject, .headObject, .getObjectTagging, .listParts:
            .read
        case .createBucket, .deleteBucket, .putBucketLifecycle, .deleteBucketLifecycle, .deleteObjects, .putObject, .copyObject,
            .deleteObject,
            .putObjectTagging, .deleteObjectTagging, .createMultipartUpload, .uploadPart, .uploadPartCopy, .completeMultipartUpload,
            .abortMultipartUpload:
            .write
        }
    }

    /// Query names that ask for something that this server does not do.
    public static let refusedSubresources = [
        "accelerate", "acl", "analytics", "attributes", "cors", "delete-marker", "encryption", "intelligent-tiering", "inventory",
        "legal-hold",
        "logging", "metadataConfiguration", "metadataTable", "metrics", "notification", "object-lock", "ownershipControls", "policy",
        "policyStatus", "publicAccessBlock", "renameObject", "replication", "requestPayment", "restore", "retention", "select", "session",
        "torrent", "versioning", "versions", "website",
    ]

    /// Header names that ask for something that this server does not do, in lower case.
    public static let refusedFields = [
        "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp", "x-amz-mfa",
        "x-amz-object-lock-legal-hold", "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-bucket-object-lock-enabled",
        "x-amz-rename-source", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-customer-key",
        "x-amz-copy-source-server-side-encryption-customer-algorithm", "x-amz-website-redirect-location", "x-amz-write-offset-bytes",
    ]

    /// - Throws: `notImplemented` for what S3 has and we do not, `methodNotAllowed` for what nobody has.
    public init(method: String, resource: Resource, target: RequestTarget, fields: Fields) throws(S3Error) {
        for name in Self.refusedSubresources where target.has(name) {
            throw S3Error(.notImplemented, "The subresource ?\(name) is not implemented.")
        }
        for name in Self.refusedFields where fields.contains(name) {
            throw S3Error(.notImplemented, "The header \(name) is not implemented.")
        }
        if let acl = fields["x-amz-acl"], acl != "private", acl != "bucket-owner-full-control" {
            throw S3Error(.notImplemented, "Access control lists are not implemented; rights are given to keys in the configuration.")
        }
        if let storage = fields["x-amz-storage-class"], storage != "STANDARD" { throw S3Error(.invalidStorageClass) }
        if let version = target["versionId"], version != "null" { throw S3Error(.noSuchVersion) }
        switch resource {
        case .service:
            guard method == "GET" else { throw S3Error(.methodNotAllowed) }
            self = .listBuckets
        case .bucket: self = try Self.onBucket(method, target)
        case .object: self = try Self.onObject(method, target, fields)
        }
    }

    private static func onBucket(_ method: String, _ target: RequestTarget) throws(S3Error) -> S3Operation {
        if target.has("tagging") { throw S3Error(.notImplemented, "Tags of buckets are not implemented.") }
        switch (method, target.has("lifecycle")) {
        case ("GET", true): return .getBucketLifecycle
        case ("PUT", true): return .putBucketLifecycle
        case ("DELETE", true): return .deleteBucketLifecycle
        case ("GET", false):
            if target.has("location") { return .getBucketLocation }
            if target.has("uploads") { return .listMultipartUploads }
            guard let type = target["list-type"] else { return .listObjects }
            guard type == "2" else { throw S3Error(.invalidArgument, "list-type can be 2, or absent.") }
            return .listObjectsV2
        case ("PUT", false): return .createBucket
        case ("HEAD", false): return .headBucket
        case ("DELETE", false): return .deleteBucket
        case ("POST", false):
            if target.has("delete") { return .deleteObjects }
            throw S3Error(.notImplemented, "Uploads by HTML form are not implemented.")
        case (_, _): throw S3Error(.methodNotAllowed)
        }
    }

    private static func onObject(_ method: String, _ target: RequestTarget, _ fields: Fields) throws(S3Error) -> S3Operation {
        if target.has("tagging") {
            switch method {
            case "GET": return .getObjectTagging
            case "PUT": return .putObjectTagging
            case "DELETE": return .deleteObjectTagging
            default: throw S3Error(.methodNotAllowed)
            }
        }
        let isCopy = fields.contains("x-amz-copy-source")
        switch (method, target.has("uploadId")) {
        case ("GET", true): return .listParts
        case ("PUT", true): return isCopy ? .uploadPartCopy : .uploadPart
        case ("POST", true): return .completeMultipartUpload
        case ("DELETE", true): return .abortMultipartUpload
        case ("GET", false): return .getObject
        case ("HEAD", _): return .headObject
        case ("PUT", false):
            guard !target.has("partNumber") else { throw S3Error(.invalidArgument, "partNumber needs an uploadId.") }
            return isCopy ? .copyObject : .putObject
        case ("DELETE", false): return .deleteObject
        case ("POST", false):
            guard target.has("uploads") else { throw S3Error(.methodNotAllowed) }
            return .createMultipartUpload
        case (_, _): throw S3Error(.methodNotAllowed)
        }
    }
}
