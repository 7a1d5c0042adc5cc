/// What the answer to a HEAD says of the stored response to a GET (RFC 9111 §4.3.5).
public enum HeadUpdate: Sendable {
    /// It is of the same representation, and this is what it says now.
    case freshened(StoredResponse)
    /// It is of another one: what is stored is not what is there any more.
    case outdated
    /// It cannot be told.
    case unrelated

    /// - Parameters:
    ///   - stored: one that could have been chosen for the request.
    ///   - length: what Content-Length says.
    public static func judge(
        stored: StoredResponse, status: Int, response: Fields, length: Int64?, requestTime: Timestamp, responseTime: Timestamp,
        negative: Int64
    ) -> HeadUpdate {
        guard status == 200, stored.status == 200 else { return .unrelated }
        if let length, let total = stored.pieces?.total, length != total { return .outdated }
        let (etag, modified) = (response["etag"], response["last-modified"])
        if let etag, etag != stored.etag { return .outdated }
        if let modified, modified != stored.fields["last-modified"] { return .outdated }
        // A length alone makes no two bodies the same.
        guard etag != nil || modified != nil else { return .unrelated }
        // What must not be kept of this answer is not kept of it.
        let control = CacheControl(response, isRequest: false)
        guard !control.flags.contains(.noStore), !control.flags.contains(.isPrivate) else { return .outdated }
        return .freshened(
            stored.freshened(by: response, requestTime: requestTime, responseTime: responseTime, negative: negative))
    }
}
