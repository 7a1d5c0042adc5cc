/// An object's tags, in the order given.
public struct Tags: Hashable, Sendable {
    public var pairs: [Pair]

    public struct Pair: Hashable, Sendable {
        public var key: String
        public var value: String

        public init(key: String, value: String) {
            self.key = key
            self.value = value
        }
    }

    public init() { pairs = [] }

    /// At most ten; keys of 1 to 128 characters, each once; values of at most 256.
    public init(_ pairs: [Pair]) throws(S3Error) {
        guard pairs.count <= 10 else { throw S3Error(.invalidTag, "Object tags cannot be greater than 10") }
        for (i, pair) in pairs.enumerated() {
            guard (1...128).contains(pair.key.unicodeScalars.count) else {
                throw S3Error(.invalidTag, "The TagKey you have provided is invalid")
            }
            guard pair.value.unicodeScalars.count <= 256 else { throw S3Error(.invalidTag, "The TagValue you have provided is invalid") }
            guard !pairs[..<i].contains(where: { Array($0.key.utf8) == Array(pair.key.utf8) }) else {
                throw S3Error(.invalidTag, "Cannot provide multiple Tags with the same key")
            }
        }
        self.pairs = pairs
    }

    /// `x-amz-tagging: a=1&b=2`
    public init(field: String) throws(S3Error) {
        guard let target = RequestTarget("/?\(field)") else {
            throw S3Error(.invalidArgument, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded.")
        }
        try self.init(
            target.query.map { Pair(key: String(decoding: $0.name, as: UTF8.self), value: String(decoding: $0.value, as: UTF8.self)) })
    }

    /// `<Tagging><TagSet><Tag><Key/><Value/></Tag>…`
    public init(xml: [UInt8]) throws(S3Error) {
        let root = try XMLElement.parse(xml)
        guard root.name == "Tagging", let set = root["TagSet"] else { throw S3Error(.malformedXML) }
        var pairs: [Pair] = []
        for tag in set.children {
            guard tag.name == "Tag", let key = tag["Key"]?.text, let value = tag["Value"]?.text else { throw S3Error(.malformedXML) }
            pairs.append(Pair(key: key, value: value))
        }
        try self.init(pairs)
    }

    public func xml() -> [UInt8] {
        var writer = XMLWriter()
        writer.document("Tagging") { writer in
            writer.element("TagSet") { writer in
                for pair in pairs {
                    writer.element("Tag") { writer in
                        writer.element("Key", pair.key)
                        writer.element("Value", pair.value)
                    }
                }
            }
        }
        return writer.bytes
    }
}
