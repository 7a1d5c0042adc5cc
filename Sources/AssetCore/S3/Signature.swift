/// What a request says of its AWS Signature Version 4, read and checked as far as no secret is needed.
///
/// Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference. Hashing is not done here: the canonical
/// request and the string to sign are bytes that the shell hashes, so this module needs no cryptography and every rule is testable alone.
public struct Signature: Hashable, Sendable {
    public var accessKey: String
    public var scope: Scope
    /// Sorted, in lower case, without duplicates, `host` among them.
    public var signedFields: [String]
    /// 64 hexadecimal digits in lower case.
    public var signature: String
    public var time: Timestamp
    public var payload: Payload
    public var isPresigned: Bool

    /// `DATE/REGION/s3/aws4_request`
    public struct Scope: Hashable, Sendable {
        public var day: String
        public var region: String

        public var text: String { "\(day)/\(region)/s3/aws4_request" }
    }

    /// What stands for the body in the canonical request.
    public enum Payload: Hashable, Sendable {
        /// The body's SHA-256.
        case hashed([UInt8])
        case unsigned
        /// aws-chunked, each chunk signed; with a signed trailer or none.
        case signedChunks(trailer: Bool)
        /// aws-chunked without signatures of chunks, with a trailer.
        case unsignedChunks

        public var text: String {
            switch self {
            case .hashed(let hash): Hex.encode(hash)
            case .unsigned: "UNSIGNED-PAYLOAD"
            case .signedChunks(trailer: false): "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
            case .signedChunks(trailer: true): "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
            case .unsignedChunks: "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
            }
        }

        public var isChunked: Bool {
            switch self {
            case .hashed, .unsigned: false
            case .signedChunks, .unsignedChunks: true
            }
        }

        init(_ text: String) throws(S3Error) {
            switch text {
            case "UNSIGNED-PAYLOAD": self = .unsigned
            case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": self = .signedChunks(trailer: false)
            case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": self = .signedChunks(trailer: true)
            case "STREAMING-UNSIGNED-PAYLOAD-TRAILER": self = .unsignedChunks
            default:
                guard text.utf8.count == 64, text == text.lowercased(), let hash = Hex.decode(text) else {
                    throw S3Error(
                        text.hasPrefix("STREAMING-") ? .notImplemented : .invalidArgument,
                        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING value that is implemented, or a SHA-256 in lower case.")
                }
                self = .hashed(hash)
            }
        }
    }

    /// Seconds that clocks may differ.
    public static let skew: Int64 = 900
    /// Seconds that a presigned URL may live: seven days.
    public static let mostExpiry: Int64 = 604_800

    /// Nil when the request carries no credential at all.
    public static func read(target: RequestTarget, fields: Fields, now: Timestamp) throws(S3Error) -> Signature? {
        let authorizations = fields.values("authorization")
        let isPresigned = target.has("X-Amz-Signature") || target.has("X-Amz-Algorithm") || target.has("X-Amz-Credential")
        guard authorizations.count + (isPresigned ? 1 : 0) <= 1 else {
            throw S3Error(.invalidArgument, "Only one authentication mechanism is allowed: the query string or one Authorization header.")
        }
        if target.has("Signature") && target.has("AWSAccessKeyId") { throw unsupported }
        if isPresigned { return try presigned(target, fields, now) }
        guard let authorization = authorizations.first else { return nil }
        return try header(authorization, fields, now)
    }

    private static var unsupported: S3Error {
        S3Error(.invalidRequest, "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
    }

    private static func header(_ text: String, _ fields: Fields, _ now: Timestamp) throws(S3Error) -> Signature {
        let cut = text.firstIndex(of: " ") ?? text.endIndex
        guard text[..<cut] == "AWS4-HMAC-SHA256" else { throw unsupported }
        var parts: [String: String] = [:]
        for part in text[cut...].split(separator: ",") {
            let pair = trimmed(part)
            guard let equals = pair.firstIndex(of: "=") else { throw S3Error(.authorizationHeaderMalformed) }
            let name = String(pair[..<equals])
            guard parts[name] == nil else { throw S3Error(.authorizationHeaderMalformed, "The authorization header names \(name) twice.") }
            parts[name] = String(pair[pair.index(after: equals)...])
        }
        guard let credential = parts["Credential"], let signed = parts["SignedHeaders"], let signature = parts["Signature"],
            parts.count == 3
        else {
            throw S3Error(
                .authorizationHeaderMalformed,
                "The authorization header requires exactly the components Credential, SignedHeaders and Signature.")
        }
        guard let payload = fields["x-amz-content-sha256"] else {
            throw S3Error(.missingSecurityHeader, "Missing required header for this request: x-amz-content-sha256")
        }
        let time: Timestamp
        if let date = fields["x-amz-date"] {
            guard let parsed = Timestamp(basic: date) else { throw S3Error(.accessDenied, "X-Amz-Date must be like 20261121T081341Z.") }
            time = parsed
        } else if let date = fields["date"] {
            guard let parsed = Timestamp(basic: date) ?? Timestamp(httpDate: date, now: now) else {
                throw S3Error(.accessDenied, "The Date header is not a date.")
            }
            time = parsed
        } else {
            throw S3Error(.accessDenied, "AWS authentication requires a valid Date or x-amz-date header.")
        }
        guard abs(now.seconds &- time.seconds) <= skew else { throw S3Error(.requestTimeTooSkewed) }
        return try assemble(
            credential, signed, signature, time: time, payload: Payload(payload), isPresigned: false,
            malformed: .authorizationHeaderMalformed,
            fields)
    }

    private static func presigned(_ target: RequestTarget, _ fields: Fields, _ now: Timestamp) throws(S3Error) -> Signature {
        func one(_ name: String) throws(S3Error) -> String {
            let wanted = Array(name.utf8)
            let values = target.query.filter { $0.name == wanted }
            guard values.count == 1, let text = target[name] else {
                throw S3Error(.authorizationQueryParametersError, "Query-string authentication requires \(name), once.")
            }
            return text
        }
        guard try one("X-Amz-Algorithm") == "AWS4-HMAC-SHA256" else {
            throw S3Error(.authorizationQueryParametersError, "X-Amz-Algorithm only supports AWS4-HMAC-SHA256.")
        }
        guard let time = Timestamp(basic: try one("X-Amz-Date")) else {
            throw S3Error(.authorizationQueryParametersError, "X-Amz-Date must be in the ISO8601 Long Format yyyyMMdd'T'HHmmss'Z'.")
        }
        guard let expires = decimal(try one("X-Amz-Expires")), (1...mostExpiry).contains(expires) else {
            throw S3Error(.authorizationQueryParametersError, "X-Amz-Expires must be from 1 to \(mostExpiry) seconds.")
        }
        guard time.seconds - now.seconds <= skew else { throw S3Error(.accessDenied, "The request is not yet valid.") }
        guard now.seconds - time.seconds <= expires else { throw S3Error(.accessDenied, "Request has expired") }
        let payload = try fields["x-amz-content-sha256"].map(Payload.init) ?? .unsigned
        return try assemble(
            try one("X-Amz-Credential"), try one("X-Amz-SignedHeaders"), try one("X-Amz-Signature"), time: time, payload: payload,
            isPresigned: true, malformed: .authorizationQueryParametersError, fields)
    }

    private static func assemble(
        _ credential: String, _ signed: String, _ signature: String, time: Timestamp, payload: Payload, isPresigned: Bool,
        malformed: S3Error.Code, _ fields: Fields
    ) throws(S3Error) -> Signature {
        // An access key may contain slashes: the last four parts are the scope's.
        let parts = credential.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 5 else { throw S3Error(malformed, "The credential is malformed; expected KEY/DATE/REGION/s3/aws4_request.") }
        let tail = Array(parts.suffix(4))
        guard tail[3] == "aws4_request" else { throw S3Error(malformed, "The credential's scope must end in aws4_request.") }
        guard tail[2] == "s3" else { throw S3Error(malformed, "The credential's service must be s3.") }
        guard tail[0] == time.basicDay else { throw S3Error(malformed, "The credential's date is not that of the request.") }
        guard !tail[1].isEmpty else { throw S3Error(malformed, "The credential's region is empty.") }
        let names = signed.split(separator: ";", omittingEmptySubsequences: false).map(String.init)
        guard names.allSatisfy({ !$0.isEmpty && $0 == $0.lowercased() }), names == names.sorted(by: bytewise),
            Set(names).count == names.count
        else {
            throw S3Error(malformed, "SignedHeaders must be names in lower case, sorted, each once, with semicolons between.")
        }
        guard names.contains("host") else { throw S3Error(.accessDenied, "The Host header must be signed.") }
        for field in fields.all where field.name.hasPrefix("x-amz-") && !names.contains(field.name) {
            throw S3Error(.accessDenied, "There were headers present in the request which were not signed: \(field.name)")
        }
        for name in names where !fields.contains(name) {
            throw S3Error(.accessDenied, "A header that was signed is not in the request: \(name)")
        }
        guard signature.utf8.count == 64, signature == signature.lowercased(), Hex.decode(signature) != nil else {
            throw S3Error(.signatureDoesNotMatch)
        }
        return Signature(
            accessKey: parts.dropLast(4).joined(separator: "/"), scope: Scope(day: tail[0], region: tail[1]), signedFields: names,
            signature: signature, time: time, payload: payload, isPresigned: isPresigned)
    }
}

private func bytewise(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }
