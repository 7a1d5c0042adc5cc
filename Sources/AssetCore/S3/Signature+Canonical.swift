extension Signature {
    /// The canonical request: the bytes whose SHA-256 goes into the string to sign. The path is decoded once and encoded once.
    public func canonicalRequest(method: String, target: RequestTarget, fields: Fields) throws(S3Error) -> [UInt8] {
        guard let path = PercentCoding.decode(target.rawPath.utf8) else { throw S3Error(.invalidURI) }
        var out = Array(method.utf8)
        out.append(0x0a)
        PercentCoding.encode(path, keepsSlash: true, into: &out)
        out.append(0x0a)
        let signature = Array("X-Amz-Signature".utf8)
        var pairs = target.query.filter { !(isPresigned && $0.name == signature) }.map { item in
            var name: [UInt8] = []
            var value: [UInt8] = []
            PercentCoding.encode(item.name, keepsSlash: false, into: &name)
            PercentCoding.encode(item.value, keepsSlash: false, into: &value)
            return (name: name, value: value)
        }
        pairs.sort { $0.name == $1.name ? $0.value.lexicographicallyPrecedes($1.value) : $0.name.lexicographicallyPrecedes($1.name) }
        for (i, pair) in pairs.enumerated() {
            if i > 0 { out.append(UInt8(ascii: "&")) }
            out += pair.name
            out.append(UInt8(ascii: "="))
            out += pair.value
        }
        out.append(0x0a)
        for name in signedFields {
            out += name.utf8
            out.append(UInt8(ascii: ":"))
            for (i, value) in fields.values(name).enumerated() {
                if i > 0 { out.append(UInt8(ascii: ",")) }
                Self.appendCollapsed(value, to: &out)
            }
            out.append(0x0a)
        }
        out.append(0x0a)
        out += signedFields.joined(separator: ";").utf8
        out.append(0x0a)
        out += payload.text.utf8
        return out
    }

    /// Runs of spaces become one.
    private static func appendCollapsed(_ value: String, to out: inout [UInt8]) {
        var wasSpace = false
        for byte in value.utf8 {
            let isSpace = byte == 0x20 || byte == 0x09 || byte == 0x0d || byte == 0x0a
            if !isSpace { out.append(byte) } else if !wasSpace { out.append(0x20) }
            wasSpace = isSpace
        }
    }

    /// What the signing key signs.
    public func stringToSign(canonicalHash: [UInt8]) -> [UInt8] {
        Array("AWS4-HMAC-SHA256\n\(time.basic)\n\(scope.text)\n\(Hex.encode(canonicalHash))".utf8)
    }

    /// What the signing key signs for one chunk: the chain hangs on the signature before it.
    public func chunkStringToSign(previous: String, chunkHash: [UInt8]) -> [UInt8] {
        Array("AWS4-HMAC-SHA256-PAYLOAD\n\(time.basic)\n\(scope.text)\n\(previous)\n\(Self.emptyHash)\n\(Hex.encode(chunkHash))".utf8)
    }

    /// The same for the trailer, whose hash is that of its `name:value\n` lines.
    public func trailerStringToSign(previous: String, trailerHash: [UInt8]) -> [UInt8] {
        Array("AWS4-HMAC-SHA256-TRAILER\n\(time.basic)\n\(scope.text)\n\(previous)\n\(Hex.encode(trailerHash))".utf8)
    }

    /// The SHA-256 of nothing.
    public static let emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    /// The messages of the chain of HMACs that begins with the key `AWS4` + secret and ends in the signing key.
    public var signingKeyChain: [[UInt8]] { [scope.day, scope.region, "s3", "aws4_request"].map { Array($0.utf8) } }

    /// Compares in time that depends on the lengths only.
    public static func equalInConstantTime(_ a: some Sequence<UInt8>, _ b: some Sequence<UInt8>) -> Bool {
        let (a, b) = (Array(a), Array(b))
        guard a.count == b.count else { return false }
        var difference: UInt8 = 0
        for i in a.indices { difference |= a[i] ^ b[i] }
        return difference == 0
    }
}
