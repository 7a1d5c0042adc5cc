import Model
import Testing

@testable import DispatcherCore

private func parse(_ bytes: [UInt8]) -> ProxyParse { bytes.withUnsafeBytes { ProxyHeader.parse($0) } }

private func v4(_ text: String, _ port: UInt16) -> SocketAddress? { SocketAddress(ip: text, port: port) }

private let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
private let tcp4: [UInt8] = signature + [0x21, 0x11, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0x34, 0, 80]
private let longText = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n"

private let valid: [(String, [UInt8], SocketAddress?, SocketAddress?)] = [
    ("text TCP4", latin1("PROXY TCP4 1.2.3.4 5.6.7.8 56324 443\r\n"), v4("1.2.3.4", 56324), v4("5.6.7.8", 443)),
    ("text TCP6", latin1("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), v4("2001:db8::1", 1), v4("::1", 2)),
    ("text UNKNOWN", latin1("PROXY UNKNOWN\r\n"), nil, nil),
    ("text UNKNOWN with more", latin1("PROXY UNKNOWN ffff::1 x 1 2\r\n"), nil, nil),
    (
        "longest TCP6", latin1(longText), v4("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
        v4("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 65535)
    ),
    ("binary TCP4", tcp4, v4("1.2.3.4", 0x1234), v4("5.6.7.8", 80)),
    (
        "binary TCP6",
        signature + [0x21, 0x21, 0, 36] + [UInt8](repeating: 0, count: 15) + [1] + [0x20, 1] + [UInt8](repeating: 0, count: 14) + [
            0, 1, 0, 2,
        ],
        v4("::1", 1), v4("2001::", 2)
    ),
    (
        "binary TCP4 with TLVs", signature + [0x21, 0x11, 0, 17, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2, 4, 0, 2, 9, 9], v4("1.2.3.4", 1),
        v4("5.6.7.8", 2)
    ),
    ("binary LOCAL", signature + [0x20, 0x00, 0, 0], nil, nil),
    ("binary LOCAL with addresses", signature + [0x20, 0x11, 0, 12] + [UInt8](repeating: 1, count: 12), nil, nil),
    ("binary UNSPEC", signature + [0x21, 0x00, 0, 3, 1, 2, 3], nil, nil),
    ("binary UDP4", signature + [0x21, 0x12, 0, 12] + [UInt8](repeating: 1, count: 12), nil, nil),
    ("binary Unix", signature + [0x21, 0x31, 0, 216] + [UInt8](repeating: 1, count: 216), nil, nil),
]

private let invalid: [(String, [UInt8])] = [
    ("HTTP", latin1("GET / HTTP/1.1\r\n")),
    ("lower case", latin1("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n")),
    ("other family", latin1("PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n")),
    ("TCP4 with IPv6", latin1("PROXY TCP4 ::1 ::1 1 2\r\n")),
    ("TCP6 with IPv4", latin1("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n")),
    ("two blanks", latin1("PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n")),
    ("blank at the end", latin1("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n")),
    ("port missing", latin1("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n")),
    ("port too large", latin1("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n")),
    ("port with zero", latin1("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n")),
    ("address bad", latin1("PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n")),
    ("bare LF", latin1("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n")),
    ("CR without LF", latin1("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rX")),
    ("too long", latin1("PROXY UNKNOWN " + String(repeating: "x", count: 92) + "\r\n")),
    ("never ends", latin1("PROXY UNKNOWN " + String(repeating: "x", count: 200))),
    ("no word", latin1("PROXY \r\n")),
    ("binary version 1", signature + [0x11, 0x11, 0, 12] + [UInt8](repeating: 1, count: 12)),
    ("binary command 2", signature + [0x22, 0x11, 0, 12] + [UInt8](repeating: 1, count: 12)),
    ("binary family 4", signature + [0x21, 0x41, 0, 12] + [UInt8](repeating: 1, count: 12)),
    ("binary transport 3", signature + [0x21, 0x13, 0, 12] + [UInt8](repeating: 1, count: 12)),
    ("binary too short for IPv4", signature + [0x21, 0x11, 0, 11] + [UInt8](repeating: 1, count: 11)),
    ("binary too short for IPv6", signature + [0x21, 0x21, 0, 35] + [UInt8](repeating: 1, count: 35)),
    ("binary longer than we take", signature + [0x21, 0x11, 0x10, 0x01]),
    ("bad signature", [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0b]),
]

struct ProxyHeaderTests {
    @Test func validHeaders() {
        for (name, bytes, source, destination) in valid {
            let expected = ProxyParse.header(ProxyHeader(length: bytes.count, source: source, destination: destination))
            #expect(parse(bytes) == expected, "\(name)")
            #expect(parse(bytes + latin1("GET / HTTP/1.1\r\n")) == expected, "\(name)")
            for count in 0..<bytes.count { #expect(parse(Array(bytes[..<count])) == .needMore, "\(name) after \(count)") }
        }
    }

    @Test func invalidHeaders() {
        for (name, bytes) in invalid {
            #expect(parse(bytes) == .refused, "\(name)")
            for count in 0..<bytes.count {
                let result = parse(Array(bytes[..<count]))
                #expect(result == .needMore || result == .refused, "\(name) after \(count)")
            }
        }
    }

    @Test func whatIsWrittenIsReadAsTheSame() throws {
        let addresses = [v4("1.2.3.4", 1), v4("5.6.7.8", 65535), v4("2001:db8::1", 3), v4("::1", 4), v4("::ffff:9.9.9.9", 5), nil]
        for source in addresses {
            for destination in addresses {
                for withLease in [false, true] {
                    let bytes = latin1("web").withUnsafeBytes { pool in
                        latin1(
                            sunk { sink in
                                sink.appendProxyHeader(
                                    source: source, destination: destination,
                                    lease: withLease ? (pool, LeaseID(epoch: 17, counter: 4)) : nil)
                            }.text)
                    }
                    guard case .header(let header) = parse(bytes) else {
                        Issue.record("not a header")
                        continue
                    }
                    #expect(header.length == bytes.count)
                    let isKnown = source != nil && destination != nil
                    #expect(header.source?.unmapped == (isKnown ? source?.unmapped : nil))
                    #expect(header.destination?.unmapped == (isKnown ? destination?.unmapped : nil))
                    if withLease { #expect(bytes.suffix(11) == [proxyLeaseType, 0, 8] + latin1("web/17.4")) }
                }
            }
        }
    }
}
