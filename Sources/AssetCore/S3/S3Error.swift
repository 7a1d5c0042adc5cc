/// What S3 says when it refuses: the code that clients match on, with its status and one sentence.
///
/// Codes and statuses after "Error responses" of the Amazon S3 API reference; `InsufficientStorage` is ours (RFC 4918 §11.5).
public struct S3Error: Error, Hashable, Sendable {
    public var code: Code
    /// Reflects nothing secret; may name what was wrong.
    public var message: String

    public init(_ code: Code, _ message: String? = nil) {
        self.code = code
        self.message = message ?? code.sentence
    }

    public enum Code: String, Hashable, Sendable, CaseIterable {
        case accessDenied = "AccessDenied"
        case authorizationHeaderMalformed = "AuthorizationHeaderMalformed"
        case authorizationQueryParametersError = "AuthorizationQueryParametersError"
        case badDigest = "BadDigest"
        case bucketAlreadyOwnedByYou = "BucketAlreadyOwnedByYou"
        case bucketNotEmpty = "BucketNotEmpty"
        case entityTooLarge = "EntityTooLarge"
        case entityTooSmall = "EntityTooSmall"
        case incompleteBody = "IncompleteBody"
        case insufficientStorage = "InsufficientStorage"
        case internalError = "InternalError"
        case invalidAccessKeyID = "InvalidAccessKeyId"
        case invalidArgument = "InvalidArgument"
        case invalidBucketName = "InvalidBucketName"
        case invalidDigest = "InvalidDigest"
        case invalidPart = "InvalidPart"
        case invalidPartNumber = "InvalidPartNumber"
        case invalidPartOrder = "InvalidPartOrder"
        case invalidRange = "InvalidRange"
        case invalidRequest = "InvalidRequest"
        case invalidStorageClass = "InvalidStorageClass"
        case invalidTag = "InvalidTag"
        case invalidURI = "InvalidURI"
        case keyTooLong = "KeyTooLongError"
        case malformedTrailer = "MalformedTrailerError"
        case malformedXML = "MalformedXML"
        case metadataTooLarge = "MetadataTooLarge"
        case methodNotAllowed = "MethodNotAllowed"
        case missingContentLength = "MissingContentLength"
        case missingSecurityHeader = "MissingSecurityHeader"
        case noSuchBucket = "NoSuchBucket"
        case noSuchKey = "NoSuchKey"
        case noSuchLifecycleConfiguration = "NoSuchLifecycleConfiguration"
        case noSuchUpload = "NoSuchUpload"
        case noSuchVersion = "NoSuchVersion"
        case notImplemented = "NotImplemented"
        case notModified = "NotModified"
        case operationAborted = "OperationAborted"
        case preconditionFailed = "PreconditionFailed"
        case requestTimeTooSkewed = "RequestTimeTooSkewed"
        case serviceUnavailable = "ServiceUnavailable"
        case signatureDoesNotMatch = "SignatureDoesNotMatch"
        case slowDown = "SlowDown"
        case tooManyBuckets = "TooManyBuckets"
        case wrongHost = "MisdirectedRequest"
        case contentSHA256Mismatch = "XAmzContentSHA256Mismatch"
    }
}

extension S3Error.Code {
    /// The HTTP status that goes with it.
    public var status: Int {
        switch self {
        case .notModified: 304
        case .authorizationHeaderMalformed, .authorizationQueryParametersError, .badDigest, .entityTooLarge, .entityTooSmall,
            .incompleteBody,
            .invalidArgument, .invalidBucketName, .invalidDigest, .invalidPart, .invalidPartOrder, .invalidRequest, .invalidStorageClass,
            .invalidTag, .invalidURI, .keyTooLong, .malformedTrailer, .malformedXML, .metadataTooLarge, .missingSecurityHeader,
            .tooManyBuckets, .contentSHA256Mismatch:
            400
        case .accessDenied, .invalidAccessKeyID, .requestTimeTooSkewed, .signatureDoesNotMatch: 403
        case .noSuchBucket, .noSuchKey, .noSuchLifecycleConfiguration, .noSuchUpload, .noSuchVersion: 404
        case .methodNotAllowed: 405
        case .bucketAlreadyOwnedByYou, .bucketNotEmpty, .operationAborted: 409
        case .missingContentLength: 411
        case .preconditionFailed: 412
        case .invalidRange, .invalidPartNumber: 416
        case .wrongHost: 421
        case .internalError: 500
        case .notImplemented: 501
        case .serviceUnavailable, .slowDown: 503
        case .insufficientStorage: 507
        }
    }

    var sentence: String {
        switch self {
        case .accessDenied: "Access Denied"
        case .authorizationHeaderMalformed: "The authorization header is malformed."
        case .authorizationQueryParametersError: "The query parameters of the signature are malformed."
        case .badDigest: "The digest or checksum that you specified did not match what was received."
        case .bucketAlreadyOwnedByYou: "The bucket exists already, and it is yours."
        case .bucketNotEmpty: "The bucket you tried to delete is not empty."
        case .entityTooLarge: "The object is larger than the store allows."
        case .entityTooSmall: "A part other than the last is smaller than 5 MiB."
        case .incompleteBody: "You did not provide the number of bytes specified by the Content-Length HTTP header."
        case .insufficientStorage: "There is no room left to store this."
        case .internalError: "The server met an error of its own. Please try again."
        case .invalidAccessKeyID: "The AWS Access Key Id you provided does not exist in our records."
        case .invalidArgument: "Invalid Argument"
        case .invalidBucketName: "The specified bucket is not valid."
        case .invalidDigest: "The Content-MD5 or checksum value that you specified is not valid."
        case .invalidPart: "One or more of the specified parts could not be found, or its entity tag did not match."
        case .invalidPartNumber: "The requested part number is not satisfiable."
        case .invalidPartOrder: "The list of parts was not in ascending order of part numbers."
        case .invalidRange: "The requested range is not satisfiable."
        case .invalidRequest: "Invalid Request"
        case .invalidStorageClass: "The storage class you specified is not valid."
        case .invalidTag: "A tag is not valid."
        case .invalidURI: "The URI could not be parsed."
        case .keyTooLong: "Your key is too long."
        case .malformedTrailer: "The trailer of the body is malformed."
        case .malformedXML: "The XML you provided was not well-formed or did not validate against our published schema."
        case .metadataTooLarge: "Your metadata headers exceed the maximum allowed metadata size."
        case .methodNotAllowed: "The specified method is not allowed against this resource."
        case .missingContentLength: "You must provide the Content-Length HTTP header."
        case .missingSecurityHeader: "Your request is missing a required header."
        case .noSuchBucket: "The specified bucket does not exist."
        case .noSuchKey: "The specified key does not exist."
        case .noSuchLifecycleConfiguration: "The lifecycle configuration does not exist."
        case .noSuchUpload: "The specified upload does not exist. It may have been aborted or completed."
        case .noSuchVersion: "The specified version does not exist."
        case .notImplemented: "A header or query you provided implies functionality that is not implemented."
        case .notModified: "Not Modified"
        case .operationAborted: "A conflicting operation is in progress on this name. Please try again."
        case .preconditionFailed: "At least one of the pre-conditions you specified did not hold."
        case .requestTimeTooSkewed: "The difference between the request time and the server's time is too large."
        case .serviceUnavailable: "The store behind cannot be reached, and this is not here."
        case .signatureDoesNotMatch:
            "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        case .slowDown: "Please reduce your request rate."
        case .tooManyBuckets: "There are as many buckets as there can be."
        case .wrongHost: "This server does not answer for that Host."
        case .contentSHA256Mismatch: "The provided 'x-amz-content-sha256' header does not match what was computed."
        }
    }
}
