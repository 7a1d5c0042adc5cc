import Model
import Testing

/// One request head and its verdict; nil means valid.
struct RequestCase: Sendable, CustomTestStringConvertible {
    var name: String
    var bytes: [UInt8]
    var verdict: Reason?

    init(_ name: String, _ text: String, _ verdict: Reason? = nil) {
        self.name = name
        self.bytes = latin1(text)
        self.verdict = verdict
    }

    var testDescription: String { name }

    /// A POST with these field lines behind Host; each must end with its own line end.
    static func fields(_ name: String, _ lines: String, _ verdict: Reason? = .badRequest) -> RequestCase {
        RequestCase(name, "POST /a HTTP/1.1\r\nHost: x\r\n\(lines)\r\n", verdict)
    }

    static func line(_ name: String, _ line: String, _ verdict: Reason? = .badRequest) -> RequestCase {
        RequestCase(name, "\(line)\r\nHost: x\r\n\r\n", verdict)
    }
}

/// Ways to make two readers disagree about where a request ends, and what we say.
let smugglingCases: [RequestCase] = [
    .fields("CL and TE", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
    .fields("TE and CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
    .fields("two CLs that differ", "Content-Length: 4\r\nContent-Length: 5\r\n"),
    .fields("two CLs that agree", "Content-Length: 4\r\nContent-Length: 4\r\n"),
    .fields("two CLs in different case", "Content-Length: 4\r\ncontent-length: 5\r\n"),
    .fields("CL list", "Content-Length: 4, 4\r\n"),
    .fields("CL list that differs", "Content-Length: 4, 5\r\n"),
    .fields("CL empty", "Content-Length:\r\n"),
    .fields("CL with plus", "Content-Length: +4\r\n"),
    .fields("CL with minus", "Content-Length: -4\r\n"),
    .fields("CL hexadecimal", "Content-Length: 0x4\r\n"),
    .fields("CL with underscore digits", "Content-Length: 1_0\r\n"),
    .fields("CL with blank inside", "Content-Length: 4 2\r\n"),
    .fields("CL with vertical tab", "Content-Length: \u{0b}4\r\n"),
    .fields("CL with form feed", "Content-Length: 4\u{0c}\r\n"),
    .fields("CL with no-break space", "Content-Length: \u{a0}4\r\n"),
    .fields("CL decimal point", "Content-Length: 4.0\r\n"),
    .fields("CL with semicolon", "Content-Length: 4;\r\n"),
    .fields("CL of 2^63", "Content-Length: 9223372036854775808\r\n"),
    .fields("CL of 2^64", "Content-Length: 18446744073709551616\r\n"),
    .fields("CL of 2^64 and more digits", "Content-Length: 184467440737095516160\r\n"),
    .fields("CL of 21 digits", "Content-Length: 000000000000000000004\r\n"),
    .fields("CL of 2^60 + 1", "Content-Length: 1152921504606846977\r\n"),
    .fields("CL of 2^60", "Content-Length: 1152921504606846976\r\n", nil),
    .fields("CL with leading zeros", "Content-Length: 0004\r\n", nil),
    .fields("CL in tabs", "Content-Length:\t4\t\r\n", nil),
    .fields("CL without blank", "Content-Length:4\r\n", nil),
    .fields("TE chunked", "Transfer-Encoding: chunked\r\n", nil),
    .fields("TE in upper case", "TRANSFER-ENCODING: CHUNKED\r\n", nil),
    .fields("TE in tabs", "Transfer-Encoding:\tchunked\t \r\n", nil),
    .fields("TE twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    .fields("TE chunked, chunked", "Transfer-Encoding: chunked, chunked\r\n"),
    .fields("TE xchunked", "Transfer-Encoding: xchunked\r\n"),
    .fields("TE chunkedx", "Transfer-Encoding: chunkedx\r\n"),
    .fields("TE chunked;q=1", "Transfer-Encoding: chunked;q=1\r\n"),
    .fields("TE identity", "Transfer-Encoding: identity\r\n"),
    .fields("TE gzip", "Transfer-Encoding: gzip\r\n"),
    .fields("TE gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n"),
    .fields("TE chunked, gzip", "Transfer-Encoding: chunked, gzip\r\n"),
    .fields("TE chunked and identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    .fields("TE identity and chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    .fields("TE empty", "Transfer-Encoding:\r\n"),
    .fields("TE comma", "Transfer-Encoding: ,chunked\r\n"),
    .fields("TE quoted", "Transfer-Encoding: \"chunked\"\r\n"),
    .fields("TE apostrophes", "Transfer-Encoding: 'chunked'\r\n"),
    .fields("TE behind a vertical tab", "Transfer-Encoding: \u{0b}chunked\r\n"),
    .fields("TE behind NUL", "Transfer-Encoding: \u{00}chunked\r\n"),
    .fields("TE behind DEL", "Transfer-Encoding: \u{7f}chunked\r\n"),
    .fields("TE behind 0xff", "Transfer-Encoding: \u{ff}chunked\r\n"),
    .fields("TE with blank before colon", "Transfer-Encoding : chunked\r\n"),
    .fields("TE with tab before colon", "Transfer-Encoding\t: chunked\r\n"),
    .fields("TE folded", "Transfer-Encoding:\r\n chunked\r\n"),
    .fields("TE behind a blank", " Transfer-Encoding: chunked\r\n"),
    .fields("TE behind a bare CR", "X: y\rTransfer-Encoding: chunked\r\n"),
    .fields("TE behind a bare LF", "X: y\nTransfer-Encoding: chunked\r\n"),
    .fields("TE with bare LF at its end", "Transfer-Encoding: chunked\n"),
    .fields("TE with CR CR LF", "Transfer-Encoding: chunked\r\r\n"),
    .fields("TE with NUL in its name", "Transfer\u{00}-Encoding: chunked\r\n"),
    .fields("TE with 0xff in its name", "Transfer-Encoding\u{ff}: chunked\r\n"),
    RequestCase("TE in 1.0", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", .badRequest),
    .fields("Connection names Host", "Connection: Host\r\n"),
    .fields("Connection names Content-Length", "Connection: close, content-length\r\nContent-Length: 4\r\n"),
    .fields("Connection names Transfer-Encoding", "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n"),
    .fields("Connection names Forwarded", "Connection: FORWARDED\r\n"),
    .fields("Connection names X-Forwarded-For", "Connection: x-forwarded-for\r\n"),
    .fields("Connection names X-Forwarded-Anything", "Connection: x-forwarded-anything\r\n"),
    .fields("Connection names X_Forwarded_For", "Connection: x_forwarded_for\r\n"),
    .fields("Connection names Leasehold-Tenant", "Connection: Leasehold-Tenant\r\n"),
    .fields("Connection names Leasehold-Anything", "Connection: Leasehold-Anything\r\n"),
    .fields("Connection in a second field names Host", "Connection: close\r\nConnection: x, host\r\n"),
    .fields("Connection with a quoted option", "Connection: \"Host\"\r\n"),
    .fields("Connection with a blank inside", "Connection: keep alive\r\n"),
    .fields("Connection names too many", "Connection: \((0..<33).map { "h\($0)" }.joined(separator: ","))\r\n"),
    .fields("Connection names many", "Connection: \((0..<32).map { "h\($0)" }.joined(separator: ","))\r\n", nil),
    .fields("Connection with empty elements", "Connection: , close,,\t,\r\n", nil),
    .fields("header name empty", ": value\r\n"),
    .fields("header without colon", "Header\r\n"),
    .fields("NUL in a value", "X: a\u{00}b\r\n"),
    .fields("DEL in a value", "X: a\u{7f}b\r\n"),
    .fields("escape in a value", "X: a\u{1b}b\r\n"),
    .fields("bare CR in a long value", "X: abcdefghijklmnop\rqrstuvwxyz\r\n"),
    .fields("bare LF in a long value", "X: abcdefghijklmnop\nqrstuvwxyz\r\n"),
    .fields("obs-fold", "X: a\r\n b\r\n"),
    .fields("obs-fold with tab", "X: a\r\n\tb\r\n"),
    .fields("empty value", "X:\r\nY: \t \r\n", nil),
    .fields("obs-text and tab in a value", "X: a\u{e4}\tb\u{80}\u{ff}\r\n", nil),
    .fields("all token characters in a name", "!#$%&'*+-.^_`|~09azAZ: x\r\n", nil),
    RequestCase("blank line before the first field", "GET / HTTP/1.1\r\n\r\nHost: x\r\n\r\n", .badRequest),
    RequestCase("whitespace before the first field", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", .badRequest),
    RequestCase("only LF", "GET / HTTP/1.1\nHost: x\n\n", .badRequest),
    RequestCase("LF behind the last field", "GET / HTTP/1.1\r\nHost: x\r\n\n", .badRequest),
    RequestCase("CR alone before the end", "GET / HTTP/1.1\r\nHost: x\r\n\r\r\n", .badRequest),
]

/// Start lines, hosts and expectations.
let requestCases: [RequestCase] = [
    .line("origin-form", "GET /a/b?c=d HTTP/1.1", nil),
    .line("unknown method", "PROPFIND /a HTTP/1.1", nil),
    .line("method is case-sensitive", "get /a HTTP/1.1", nil),
    .line("later minor version counts as 1.1", "GET / HTTP/1.7", nil),
    .line("version 1.0", "GET / HTTP/1.0", nil),
    .line("version 2.0", "GET / HTTP/2.0", .versionNotSupported),
    .line("version 0.9", "GET / HTTP/0.9", .versionNotSupported),
    RequestCase("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .versionNotSupported),
    .line("version of two digits", "GET / HTTP/1.10", .badRequest),
    .line("version without minor", "GET / HTTP/1", .badRequest),
    .line("version in lower case", "GET / http/1.1", .badRequest),
    .line("another protocol", "GET / ICAP/1.0", .badRequest),
    .line("no version", "GET /", .badRequest),
    .line("blank behind the version", "GET / HTTP/1.1 ", .badRequest),
    .line("two blanks", "GET  / HTTP/1.1", .badRequest),
    .line("tab for a blank", "GET\t/ HTTP/1.1", .badRequest),
    .line("blank before the method", " GET / HTTP/1.1", .badRequest),
    .line("bad byte in the method", "GE(T / HTTP/1.1", .badRequest),
    .line("no target", "GET HTTP/1.1", .badRequest),
    .line("blank in the target", "GET /a b HTTP/1.1", .badRequest),
    .line("fragment in the target", "GET /a#b HTTP/1.1", .badRequest),
    .line("raw UTF-8 in the target", "GET /\u{c3}\u{a4} HTTP/1.1", .badRequest),
    .line("NUL in the target", "GET /a\u{00} HTTP/1.1", .badRequest),
    .line("DEL in the target", "GET /a\u{7f} HTTP/1.1", .badRequest),
    .line("target that is neither", "GET a/b HTTP/1.1", .badRequest),
    .line("CONNECT", "CONNECT x:80 HTTP/1.1", .notImplemented),
    .line("CONNECT with a path", "CONNECT / HTTP/1.1", .notImplemented),
    .line("TRACE", "TRACE / HTTP/1.1", .methodNotAllowed),
    .line("OPTIONS *", "OPTIONS * HTTP/1.1", nil),
    .line("GET *", "GET * HTTP/1.1", .badRequest),
    .line("OPTIONS **", "OPTIONS ** HTTP/1.1", .badRequest),
    .line("authority-form", "GET x:80 HTTP/1.1", .badRequest),
    .line("absolute-form", "GET http://x/a HTTP/1.1", nil),
    .line("absolute-form in upper case", "GET HTTP://X/a HTTP/1.1", nil),
    .line("absolute-form with the standard port", "GET http://x:80/a HTTP/1.1", nil),
    .line("absolute-form without path", "GET http://x?q HTTP/1.1", nil),
    .line("absolute-form that disagrees", "GET http://y/a HTTP/1.1", .badRequest),
    .line("absolute-form that disagrees in the port", "GET http://x:81/a HTTP/1.1", .badRequest),
    .line("absolute-form with the port of https", "GET https://x:443/a HTTP/1.1", nil),
    .line("absolute-form with the wrong standard port", "GET https://x:80/a HTTP/1.1", .badRequest),
    .line("absolute-form with a user", "GET http://u@x/a HTTP/1.1", .badRequest),
    .line("absolute-form with an empty host", "GET http:///a HTTP/1.1", .badRequest),
    .line("absolute-form of another scheme", "GET ftp://x/a HTTP/1.1", .badRequest),
    RequestCase("one empty line first", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    RequestCase("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", .badRequest),
    RequestCase("bare LF first", "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", .badRequest),
    RequestCase("no Host in 1.1", "GET / HTTP/1.1\r\n\r\n", .badRequest),
    RequestCase("no Host in 1.1, absolute-form", "GET http://x/ HTTP/1.1\r\n\r\n", .badRequest),
    RequestCase("no Host in 1.0", "GET / HTTP/1.0\r\n\r\n"),
    RequestCase("two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", .badRequest),
    RequestCase("two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", .badRequest),
    RequestCase("TLS", "\u{16}\u{03}\u{01}\u{02}\u{00}", .badRequest),
    .fields("Expect: 100-continue", "Expect: 100-Continue\r\nContent-Length: 4\r\n", nil),
    .fields("another expectation", "Expect: 200-ok\r\n", .expectationFailed),
    .fields("100-continue with a parameter", "Expect: 100-continue;a=b\r\n", .expectationFailed),
    .fields("expectation list", "Expect: 100-continue, x\r\n", .expectationFailed),
    .fields("expectation empty", "Expect:\r\n", .expectationFailed),
    .fields("two affinities", "Leasehold-Affinity: a\r\nLeasehold-Affinity: b\r\n"),
    .fields("two tenants of one who is not believed", "Leasehold-Tenant: a\r\nLeasehold-Tenant: b\r\n", nil),
]

let hostCases: [RequestCase] = [
    ("x", true), ("a.example.org", true), ("a.example.org.", true), ("A_b-c.example:8080", true), ("x:", true), ("x:65535", true),
    ("127.0.0.1:80", true), ("[::1]", true), ("[2001:db8::1]:8080", true), ("[::ffff:1.2.3.4]", true),
    ("", false), (":80", false), ("x:65536", false), ("x:8a", false), ("x:-1", false), ("x:80:80", false), ("a b", false), ("a,b", false),
    ("a/b", false), ("u@x", false), ("a%41", false), ("[::1", false), ("::1", false), ("[::1]x", false), ("[1]", false), ("[g::1]", false),
    ("[::1%25eth0]", false), ("x\u{e4}", false), ("x?y", false), ("x#y", false), ("x\"y", false), ("<x>", false),
    (String(repeating: "a", count: 255), true), (String(repeating: "a", count: 256), false),
].map { host, isValid in
    RequestCase("Host: \(host.prefix(40))", "GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n", isValid ? nil : .badRequest)
}

let allRequestCases = smugglingCases + requestCases + hostCases
