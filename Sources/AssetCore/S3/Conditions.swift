/// The conditions of a request (RFC 9110 §13), judged against what is stored.
public struct Conditions: Hashable, Sendable {
    public var ifMatch: String?
    public var ifNoneMatch: String?
    public var ifModifiedSince: Timestamp?
    public var ifUnmodifiedSince: Timestamp?

    /// - Parameter prefix: empty, or `x-amz-copy-source-`. A date that is none is as if it were not there.
    public init(_ fields: Fields, prefix: String = "", now: Timestamp) {
        ifMatch = Self.list(fields.values("\(prefix)if-match"))
        ifNoneMatch = Self.list(fields.values("\(prefix)if-none-match"))
        ifModifiedSince = fields["\(prefix)if-modified-since"].flatMap { Timestamp(httpDate: $0, now: now) }
        ifUnmodifiedSince = fields["\(prefix)if-unmodified-since"].flatMap { Timestamp(httpDate: $0, now: now) }
    }

    private static func list(_ values: [String]) -> String? { values.isEmpty ? nil : values.joined(separator: ",") }

    /// For a read, in the order of RFC 9110 §13.2.2. `etag` is without quotes.
    ///
    /// - Throws: `preconditionFailed` or `notModified`.
    public func checkRead(etag: String, modified: Timestamp) throws(S3Error) {
        if let ifMatch {
            guard Self.matches(ifMatch, etag, weak: false) else { throw S3Error(.preconditionFailed, "If-Match") }
        } else if let ifUnmodifiedSince, modified.seconds > ifUnmodifiedSince.seconds {
            throw S3Error(.preconditionFailed, "If-Unmodified-Since")
        }
        if let ifNoneMatch {
            if Self.matches(ifNoneMatch, etag, weak: true) { throw S3Error(.notModified) }
        } else if let ifModifiedSince, modified.seconds <= ifModifiedSince.seconds {
            throw S3Error(.notModified)
        }
    }

    /// The same for the source of a copy, where nothing can be "not modified".
    public func checkCopySource(etag: String, modified: Timestamp) throws(S3Error) {
        do throws(S3Error) { try checkRead(etag: etag, modified: modified) } catch {
            throw S3Error(.preconditionFailed)
        }
    }

    /// For a write. Nil: there is no such object.
    public func checkWrite(existing etag: String?) throws(S3Error) {
        if let ifMatch {
            guard let etag else { throw S3Error(.noSuchKey) }
            guard Self.matches(ifMatch, etag, weak: false) else { throw S3Error(.preconditionFailed, "If-Match") }
        }
        if let ifNoneMatch, let etag, Self.matches(ifNoneMatch, etag, weak: true) { throw S3Error(.preconditionFailed, "If-None-Match") }
    }

    public var isEmpty: Bool { ifMatch == nil && ifNoneMatch == nil && ifModifiedSince == nil && ifUnmodifiedSince == nil }

    /// Whether a list of entity tags has this one. S3's clients also send tags without quotes.
    static func matches(_ list: String, _ etag: String, weak: Bool) -> Bool {
        list.split(separator: ",").contains { item in
            var tag = trimmed(item)[...]
            if tag == "*" { return true }
            if tag.hasPrefix("W/") {
                guard weak else { return false }
                tag = tag.dropFirst(2)
            }
            if tag.utf8.count >= 2, tag.hasPrefix("\""), tag.hasSuffix("\"") { tag = tag.dropFirst().dropLast() }
            return tag == etag
        }
    }
}

/// `If-Range` (RFC 9110 §13.1.5): whether a range may be answered with a part. An absent field says yes.
public func rangeApplies(ifRange: String?, etag: String, modified: Timestamp, now: Timestamp) -> Bool {
    guard let ifRange else { return true }
    if let date = Timestamp(httpDate: ifRange, now: now) { return date.seconds == modified.seconds }
    return !ifRange.hasPrefix("W/") && Conditions.matches(ifRange, etag, weak: false)
}
