import AssetCore
import Crypto
import Foundation
import Testing

/// The examples of "Signature Calculations for the Authorization Header" of the Amazon S3 API reference, and of its other pages.
@Suite struct SignatureTests {
    private static let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    private static let host = "examplebucket.s3.amazonaws.com"
    private static let now = Timestamp(basic: "20130524T000000Z")!

    struct Example: Sendable, CustomStringConvertible {
        var method: String
        var target: String
        var fields: [(String, String)]
        var signed: String
        var payload: String
        var signature: String
        var description: String { "\(method) \(target)" }
    }

    static let examples = [
        Example(
            method: "GET", target: "/test.txt", fields: [("Range", "bytes=0-9")], signed: "host;range;x-amz-content-sha256;x-amz-date",
            payload: Signature.emptyHash, signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        Example(
            method: "PUT", target: "/test%24file.text",
            fields: [("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            signed: "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            payload: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        Example(
            method: "GET", target: "/?lifecycle", fields: [], signed: "host;x-amz-content-sha256;x-amz-date", payload: Signature.emptyHash,
            signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        Example(
            method: "GET", target: "/?max-keys=2&prefix=J", fields: [], signed: "host;x-amz-content-sha256;x-amz-date",
            payload: Signature.emptyHash, signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]

    private func key(_ signature: Signature) -> SymmetricKey {
        signature.signingKeyChain.reduce(SymmetricKey(data: Data("AWS4\(Self.secret)".utf8))) { key, message in
            SymmetricKey(data: Data(HMAC<SHA256>.authenticationCode(for: message, using: key)))
        }
    }

    private func sign(_ text: [UInt8], _ signature: Signature) -> String {
        Hex.encode(HMAC<SHA256>.authenticationCode(for: text, using: key(signature)))
    }

    private func signed(_ signature: Signature, _ method: String, _ target: RequestTarget, _ fields: Fields) throws -> String {
        let canonical = try signature.canonicalRequest(method: method, target: target, fields: fields)
        return sign(signature.stringToSign(canonicalHash: Array(SHA256.hash(data: canonical))), signature)
    }

    /// What we sign is what we would accept, also with names and values that need care.
    @Test func aRequestOfOursIsOneThatWeWouldAccept() throws {
        var fields = Fields([
            ("host", "127.0.0.1:9000"), ("x-amz-date", Self.now.basic), ("x-amz-content-sha256", Signature.emptyHash),
            ("x-amz-meta-two", "a  b "), ("x-amz-meta-one", "1"), ("content-type", "text/plain; charset=utf-8"), ("range", "bytes=0-9"),
        ])
        let target = try #require(RequestTarget("/b/a%20%2B%C3%A9/~?prefix=x%20y%2Fz&marker=&encoding-type=url"))
        var mine = Signature(
            signing: fields, accessKey: "node", region: "eu-central-1", payload: .hashed(Hex.decode(Signature.emptyHash)!), at: Self.now)
        mine.signature = try signed(mine, "GET", target, fields)
        fields.append("authorization", mine.authorization)
        let read = try #require(try Signature.read(target: target, fields: fields, now: Self.now))
        #expect(read == mine)
        #expect(try signed(read, "GET", target, fields) == mine.signature)
        #expect(read.signedFields == ["content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-meta-one", "x-amz-meta-two"])
    }

    @Test(arguments: examples) func aDocumentedRequestHasItsDocumentedSignature(example: Example) throws {
        let credential = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
        let authorization = "AWS4-HMAC-SHA256 Credential=\(credential),SignedHeaders=\(example.signed),Signature=\(example.signature)"
        let fields = Fields(
            example.fields + [
                ("Host", Self.host), ("x-amz-date", "20130524T000000Z"), ("x-amz-content-sha256", example.payload),
                ("Authorization", authorization),
            ])
        let target = try #require(RequestTarget(example.target))
        let signature = try #require(try Signature.read(target: target, fields: fields, now: Self.now))
        #expect(signature.accessKey == "AKIAIOSFODNN7EXAMPLE")
        #expect(try signed(signature, example.method, target, fields) == example.signature)
    }

    @Test func aDocumentedURLHasItsDocumentedSignature() throws {
        let text =
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
            + "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
            + "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        let target = try #require(RequestTarget(text))
        let fields = Fields([("host", Self.host)])
        let signature = try #require(try Signature.read(target: target, fields: fields, now: Self.now))
        #expect(signature.isPresigned && signature.payload == .unsigned)
        #expect(try signed(signature, "GET", target, fields) == signature.signature)
    }

    @Test func aDocumentedChainOfChunksHasItsDocumentedSignatures() throws {
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
        let names = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class"
        let fields = Fields([
            ("Host", "s3.amazonaws.com"), ("x-amz-date", "20130524T000000Z"), ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), ("Content-Encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"), ("Content-Length", "66824"),
            (
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=\(names),Signature=\(seed)"
            ),
        ])
        let target = try #require(RequestTarget("/examplebucket/chunkObject.txt"))
        let signature = try #require(try Signature.read(target: target, fields: fields, now: Self.now))
        #expect(try signed(signature, "PUT", target, fields) == seed)
        var previous = seed
        let wanted = [
            (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ]
        for (size, expected) in wanted {
            let hash = Array(SHA256.hash(data: [UInt8](repeating: UInt8(ascii: "a"), count: size)))
            previous = sign(signature.chunkStringToSign(previous: previous, chunkHash: hash), signature)
            #expect(previous == expected)
        }
    }

    @Test func aRequestWithoutACredentialHasNoSignature() throws {
        #expect(try Signature.read(target: #require(RequestTarget("/a?b=c")), fields: Fields([("host", "x")]), now: Self.now) == nil)
    }

    @Test(arguments: [("", ""), ("a", "b"), ("ab", "a"), ("abc", "abd"), ("same", "same")])
    func comparingInConstantTimeTellsEquality(a: String, b: String) {
        #expect(Signature.equalInConstantTime(a.utf8, b.utf8) == (a == b))
    }
}
