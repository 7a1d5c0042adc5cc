import AssetCore
import Testing

private let now = Timestamp(basic: "20261121T081341Z")!

@Suite struct RuleTests {
    @Test(arguments: [
        ("bytes=0-0", ByteRange.part(0..<1)), ("bytes=5-", .part(5..<10)), ("bytes=-3", .part(7..<10)), ("bytes=-30", .part(0..<10)),
        ("bytes=9-100", .part(9..<10)), ("bytes=10-", .unsatisfiable), ("bytes=-0", .unsatisfiable), ("bytes=3-2", .whole),
        ("bytes=", .whole),
        ("bytes=-", .whole), ("bytes=a-1", .whole), ("bytes=1-a", .whole), ("bytes=0-1,3-4", .whole), ("items=0-1", .whole), ("", .whole),
        ("Bytes = 1 - 2", .part(1..<3)), ("bytes=0-99999999999999999999", .part(0..<10)), ("bytes=99999999999999999999-", .unsatisfiable),
        ("bytes=+1-2", .whole), ("bytes=1--2", .whole),
    ]) func aRangeOfTenBytes(field: String, expected: ByteRange) {
        #expect(ByteRange(field, size: 10) == expected)
    }

    @Test func noRangeOfNothingCanBeSatisfied() {
        for field in ["bytes=0-", "bytes=-1", "bytes=0-0"] { #expect(ByteRange(field, size: 0) == .unsatisfiable) }
        #expect(ByteRange(nil, size: 0) == .whole)
    }

    @Test(
        arguments: [
            // fields, and what a read of the entity "tag", modified at 08:00, is answered; nil is served.
            ([("if-match", "\"tag\"")], nil), ([("if-match", "\"x\"")], .preconditionFailed), ([("if-match", "*")], nil),
            ([("if-match", "W/\"tag\"")], .preconditionFailed), ([("if-match", "\"x\", \"tag\"")], nil), ([("if-match", "tag")], nil),
            ([("if-none-match", "\"tag\"")], .notModified), ([("if-none-match", "W/\"tag\"")], .notModified),
            ([("if-none-match", "\"x\"")], nil),
            ([("if-modified-since", "Sat, 21 Nov 2026 08:00:00 GMT")], .notModified),
            ([("if-modified-since", "Sat, 21 Nov 2026 07:59:59 GMT")], nil),
            ([("if-unmodified-since", "Sat, 21 Nov 2026 08:00:00 GMT")], nil),
            ([("if-unmodified-since", "Sat, 21 Nov 2026 07:59:59 GMT")], .preconditionFailed),
            ([("if-match", "\"tag\""), ("if-unmodified-since", "Sat, 21 Nov 2026 07:00:00 GMT")], nil),
            ([("if-none-match", "\"x\""), ("if-modified-since", "Sat, 21 Nov 2026 08:00:00 GMT")], nil),
            ([("if-modified-since", "nonsense")], nil),
        ] as [([(String, String)], S3Error.Code?)])
    func aConditionOnARead(fields: [(String, String)], expected: S3Error.Code?) {
        let conditions = Conditions(Fields(fields), now: now)
        var code: S3Error.Code?
        do throws(S3Error) { try conditions.checkRead(etag: "tag", modified: Timestamp(basic: "20261121T080000Z")!) } catch {
            code = error.code
        }
        #expect(code == expected)
    }

    @Test(
        arguments: [
            ([("if-none-match", "*")], nil, nil), ([("if-none-match", "*")], "tag", .preconditionFailed),
            ([("if-match", "\"tag\"")], "tag", nil),
            ([("if-match", "\"tag\"")], "other", .preconditionFailed), ([("if-match", "\"tag\"")], nil, .noSuchKey), ([], "tag", nil),
        ] as [([(String, String)], String?, S3Error.Code?)])
    func aConditionOnAWrite(fields: [(String, String)], existing: String?, expected: S3Error.Code?) {
        var code: S3Error.Code?
        do throws(S3Error) { try Conditions(Fields(fields), now: now).checkWrite(existing: existing) } catch { code = error.code }
        #expect(code == expected)
    }

    @Test(arguments: [
        ("127.0.0.1:9900", HostRule.Answer.pathStyle), ("localhost", .pathStyle), ("LOCALHOST:1", .pathStyle),
        ("b.localhost:9900", .bucket("b")),
        ("a.b.localhost", .bucket("a.b")), ("localhost.", .pathStyle), ("evil.example", .notOurs), ("localhost.evil.example", .notOurs),
        ("127.0.0.2", .notOurs), ("", .notOurs), ("[::1]", .notOurs), ("localhost:", .notOurs), ("localhost:x", .notOurs),
        ("xlocalhost", .notOurs),
    ]) func aHost(host: String, expected: HostRule.Answer) {
        #expect(HostRule.judge(host: host, names: ["localhost"], localAddress: "127.0.0.1") == expected)
    }

    @Test func anIPv6Host() {
        #expect(HostRule.judge(host: "[::1]:9900", names: [], localAddress: "::1") == .pathStyle)
        #expect(HostRule.judge(host: "[::1", names: [], localAddress: "::1") == .notOurs)
    }

    @Test(arguments: [
        ("/", nil, "service"), ("/bucket", nil, "bucket bucket"), ("/bucket/", nil, "bucket bucket"), ("/bucket/k", nil, "bucket k"),
        ("/bucket//k", nil, "bucket /k"), ("/bucket/a%2Fb%20c", nil, "bucket a/b c"), ("/bucket/a+b", nil, "bucket a+b"),
        ("/", "bucket", "bucket bucket"),
        ("/k/l", "bucket", "bucket k/l"), ("/Bucket/k", nil, "InvalidBucketName"), ("/bucket/%", nil, "InvalidURI"),
        ("/bucket/%ff", nil, "InvalidURI"),
        ("k", nil, "InvalidURI"), ("/bucket/%252F", nil, "bucket %2F"),
    ]) func aPathNamesAResource(path: String, hostBucket: String?, expected: String) {
        var found: String
        do throws(S3Error) {
            switch try Resource(rawPath: path, hostBucket: hostBucket) {
            case .service: found = "service"
            case .bucket(let name): found = "bucket \(name)"
            case .object(let bucket, let key): found = "\(bucket) \(key.text)"
            }
        } catch { found = error.code.rawValue }
        #expect(found == expected)
    }

    @Test func keysThatLookTheSameAreNot() throws {
        #expect(try ObjectKey(Array("e\u{301}".utf8)) != ObjectKey(Array("\u{e9}".utf8)))
        #expect(throws: S3Error(.keyTooLong)) { try ObjectKey([UInt8](repeating: 0x61, count: 1025)) }
    }

    @Test(arguments: S3Operation.refusedSubresources) func aSubresourceThatIsNotImplementedSaysSo(name: String) throws {
        let target = try #require(RequestTarget("/bucket?\(name)"))
        #expect {
            try S3Operation(method: "GET", resource: .bucket("bucket"), target: target, fields: Fields())
        } throws: { ($0 as? S3Error)?.code == .notImplemented }
    }

    @Test func everyCodeHasAStatusAndASentence() {
        for code in S3Error.Code.allCases {
            #expect((300...599).contains(code.status))
            #expect(!S3Error(code).message.isEmpty)
        }
    }

    @Test(
        arguments: [
            ("Sat, 21 Nov 2026 08:13:41 GMT", 1_795_248_821), ("Saturday, 21-Nov-26 08:13:41 GMT", 1_795_248_821),
            ("Sat Nov 21 08:13:41 2026", 1_795_248_821),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Sat, 31 Apr 2026 08:13:41 GMT", nil), ("Sat, 21 Nov 2026 24:13:41 GMT", nil), ("Sat, 21 Nov 2026 08:13:41", nil),
            ("2026-11-21", nil), ("", nil),
        ] as [(String, Int64?)]) func aDateOfHTTP(text: String, seconds: Int64?)
    {
        #expect(Timestamp(httpDate: text, now: now)?.seconds == seconds)
    }

    @Test(arguments: Array(stride(from: Int64(-62_135_596_800), to: 253_402_300_800, by: 7_777_777_777))) func datesAreReadAsTheyAreWritten(
        seconds: Int64
    ) throws {
        let time = Timestamp(seconds: seconds)
        #expect(Timestamp(iso8601: time.iso8601) == time)
        #expect(Timestamp(basic: time.basic) == time)
        #expect(Timestamp(httpDate: time.httpDate, now: now) == time)
    }
}
