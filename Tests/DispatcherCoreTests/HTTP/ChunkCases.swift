/// One chunked body and whether it is valid; a valid one ends exactly at its end.
struct ChunkCase: Sendable {
    var name: String
    var bytes: [UInt8]
    var isValid: Bool

    init(_ name: String, _ text: String, _ isValid: Bool) {
        self.name = name
        self.bytes = latin1(text)
        self.isValid = isValid
    }
}

let chunkCases: [ChunkCase] =
    [
        ChunkCase("empty", "0\r\n\r\n", true),
        ChunkCase("one chunk", "5\r\nhello\r\n0\r\n\r\n", true),
        ChunkCase("hexadecimal in both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", true),
        ChunkCase("data that looks like framing", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", true),
        ChunkCase("leading zeros", "0005\r\nhello\r\n0000000000000000\r\n\r\n", true),
        ChunkCase("sixteen digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", true),
        ChunkCase("seventeen digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("2^60 + 1", "1000000000000001\r\n", false),
        ChunkCase("2^63", "8000000000000000\r\n", false),
        ChunkCase("2^64 - 1", "ffffffffffffffff\r\n", false),
        ChunkCase("2^64 + 5", "10000000000000005\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("no size", "\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("size with sign", "+5\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("negative size", "-1\r\n", false),
        ChunkCase("size with 0x", "0x5\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("size that is no number", "g\r\n", false),
        ChunkCase("blank before the size", " 5\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("blank behind the size", "5 \r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("blank inside the size", "1 0\r\n0123456789abcdef\r\n0\r\n\r\n", false),
        ChunkCase("underscore in the size", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", false),
        ChunkCase("bare LF behind the size", "5\nhello\r\n0\r\n\r\n", false),
        ChunkCase("bare CR behind the size", "5\rhello\r\n0\r\n\r\n", false),
        ChunkCase("CR CR LF behind the size", "5\r\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("bare LF behind the data", "5\r\nhello\n0\r\n\r\n", false),
        ChunkCase("no CRLF behind the data", "5\r\nhello0\r\n\r\n", false),
        ChunkCase("data longer than its size", "4\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("data shorter than its size", "6\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("bare LF behind the last chunk", "0\n\r\n", false),
        ChunkCase("bare LF at the end", "0\r\n\n", false),
        ChunkCase("CR without LF at the end", "0\r\n\rX", false),
        ChunkCase("extension", "5;a\r\nhello\r\n0;b\r\n\r\n", true),
        ChunkCase("extension with value", "5;a=b;c=\"d e\"\r\nhello\r\n0\r\n\r\n", true),
        ChunkCase("extension with blanks", "5;a = b ; c\r\nhello\r\n0\r\n\r\n", true),
        ChunkCase("extension with quoted semicolon and quote", "5;a=\";\\\"\"\r\nhello\r\n0\r\n\r\n", true),
        ChunkCase("extension with open quote", "5;a=\"b\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("extension with bare LF", "5;a\nhello\r\n0\r\n\r\n", false),
        ChunkCase("extension with bare LF and more", "5;a\nb\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("extension with bare CR", "5;a\rb\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("extension with NUL", "5;a\u{00}\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("extension with 0xff", "5;\u{ff}\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("extension with CR in quotes", "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("extension of 256 bytes", "5;\(String(repeating: "e", count: 255))\r\nhello\r\n0\r\n\r\n", true),
        ChunkCase("extension of 257 bytes", "5;\(String(repeating: "e", count: 256))\r\nhello\r\n0\r\n\r\n", false),
        ChunkCase("trailers", "5\r\nhello\r\n0\r\nX-Sum: 1\r\nServer-Timing: a\r\n\r\n", true),
        ChunkCase("trailer with empty value", "0\r\nX-Sum:\r\n\r\n", true),
        ChunkCase("trailer folded", "0\r\nX-Sum: 1\r\n 2\r\n\r\n", false),
        ChunkCase("trailer with blank before colon", "0\r\nX-Sum : 1\r\n\r\n", false),
        ChunkCase("trailer without colon", "0\r\nX-Sum\r\n\r\n", false),
        ChunkCase("trailer with bare LF", "0\r\nX-Sum: 1\nY: 2\r\n\r\n", false),
        ChunkCase("trailer with bare CR", "0\r\nX-Sum: 1\rY: 2\r\n\r\n", false),
        ChunkCase("trailer with NUL", "0\r\nX-Sum: \u{00}\r\n\r\n", false),
        ChunkCase("request in the trailers", "0\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", false),
        ChunkCase("8 KiB of trailers", "0\r\nX: \(String(repeating: "t", count: 8 * 1024 - 5))\r\n\r\n", true),
        ChunkCase("more than 8 KiB of trailers", "0\r\nX: \(String(repeating: "t", count: 8 * 1024 - 4))\r\n\r\n", false),
        ChunkCase(
            "more than 8 KiB of trailer lines", "0\r\n\(String(repeating: "X: \(String(repeating: "t", count: 100))\r\n", count: 80))\r\n",
            false),
    ]
    + [
        "Content-Length", "transfer-encoding", "HOST", "Connection", "Keep-Alive", "TE", "Upgrade", "Trailer", "Expect", "Authorization",
        "Proxy-Authorization", "Proxy-Anything", "Cookie", "Set-Cookie", "WWW-Authenticate", "Forwarded", "X-Forwarded-For",
        "X-Forwarded-Any",
        "Leasehold-Lease", "Leasehold-Any", "Content-Type", "Content-Encoding", "Content-Range", "Range", "Max-Forwards", "Cache-Control",
    ].map { ChunkCase("trailer \($0)", "0\r\n\($0): 1\r\n\r\n", false) }
