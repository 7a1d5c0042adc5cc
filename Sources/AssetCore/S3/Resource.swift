/// What a request is about: the service, a bucket, or an object in one.
public enum Resource: Hashable, Sendable {
    case service
    case bucket(String)
    case object(bucket: String, key: ObjectKey)

    /// Path style (`/BUCKET/KEY`), or, with a bucket from the Host, virtual-host style (`/KEY`). The path is decoded once.
    public init(rawPath: String, hostBucket: String?) throws(S3Error) {
        guard let path = PercentCoding.decode(rawPath.utf8), path.first == UInt8(ascii: "/") else { throw S3Error(.invalidURI) }
        var rest = path[1...]
        let bucket: String
        if let hostBucket {
            bucket = hostBucket
        } else {
            if rest.isEmpty {
                self = .service
                return
            }
            let slash = rest.firstIndex(of: UInt8(ascii: "/"))
            guard let name = String(validating: rest[..<(slash ?? rest.endIndex)], as: UTF8.self) else { throw S3Error(.invalidURI) }
            bucket = name
            rest = slash.map { rest[($0 + 1)...] } ?? []
        }
        guard BucketName.isValid(bucket) else { throw S3Error(.invalidBucketName) }
        self = rest.isEmpty ? .bucket(bucket) : .object(bucket: bucket, key: try ObjectKey(Array(rest)))
    }
}

/// Which `Host` values are ours, and which bucket one names.
public enum HostRule {
    public enum Answer: Hashable, Sendable {
        case pathStyle
        case bucket(String)
        /// 421: a browser that was sent here by somebody else's name (DNS rebinding), or a mistake.
        case notOurs
    }

    /// - Parameters:
    ///   - host: the Host field, with or without port.
    ///   - names: host names in lower case; `BUCKET.NAME` is virtual-host style.
    ///   - localAddress: the address that the connection came in at, as text without brackets.
    public static func judge(host: String, names: [String], localAddress: String?) -> Answer {
        var name = host.lowercased()[...]
        if name.hasPrefix("[") {
            guard let end = name.firstIndex(of: "]") else { return .notOurs }
            let tail = name[name.index(after: end)...]
            guard tail.isEmpty || (tail.hasPrefix(":") && decimal(tail.dropFirst()) != nil) else { return .notOurs }
            return String(name[name.index(after: name.startIndex)..<end]) == localAddress ? .pathStyle : .notOurs
        }
        if let colon = name.lastIndex(of: ":") {
            guard decimal(name[name.index(after: colon)...]) != nil else { return .notOurs }
            name = name[..<colon]
        }
        if name.hasSuffix(".") { name = name.dropLast() }
        if String(name) == localAddress { return .pathStyle }
        for own in names {
            if name == own { return .pathStyle }
            if name.hasSuffix(".\(own)") { return .bucket(String(name.dropLast(own.utf8.count + 1))) }
        }
        return .notOurs
    }
}
