extension Signature {
    /// What a request of ours says of itself, still without a signature: `host`, `content-*` and everything that begins with `x-amz-` is
    /// signed. `fields` has `host`, `x-amz-date` of `time` and `x-amz-content-sha256` of `payload` already.
    public init(signing fields: Fields, accessKey: String, region: String, payload: Payload, at time: Timestamp) {
        let names = Set(fields.all.map(\.name)).filter { $0 == "host" || $0.hasPrefix("x-amz-") || $0 == "content-type" || $0 == "content-md5" }
        self.init(
            accessKey: accessKey, scope: Scope(day: time.basicDay, region: region),
            signedFields: names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }, signature: "", time: time, payload: payload,
            isPresigned: false)
    }

    /// The value of `Authorization`, once ``signature`` is known.
    public var authorization: String {
        "AWS4-HMAC-SHA256 Credential=\(accessKey)/\(scope.text), SignedHeaders=\(signedFields.joined(separator: ";")), Signature=\(signature)"
    }
}
