import Model
import TestKit

/// A PROXY v2 header as a worker reads it.
struct ProxyV2 {
    var source = ""
    var lease = ""

    init(_ visit: RawStream) throws {
        let fixed = try visit.receive(16)
        guard fixed.prefix(12).elementsEqual("\r\n\r\n\0\r\nQUIT\n".utf8), fixed[12] == 0x21 else {
            throw TestFailure("not PROXY v2: \(fixed)")
        }
        var rest = try visit.receive(Int(fixed[14]) << 8 | Int(fixed[15]))[...]
        func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        switch fixed[13] {
        case 0x11:
            let start = rest.startIndex
            source =
                SocketAddress(v4: UInt32(number(rest[start..<start + 4])), port: UInt16(number(rest[start + 8..<start + 10]))).description
            rest = rest.dropFirst(12)
        case 0x21:
            let start = rest.startIndex
            source =
                SocketAddress(
                    family: .v6, high: number(rest[start..<start + 8]), low: number(rest[start + 8..<start + 16]),
                    port: UInt16(number(rest[start + 32..<start + 34]))
                ).description
            rest = rest.dropFirst(36)
        default: source = "unspecified"
        }
        while rest.count >= 3 {
            let length = Int(number(rest.dropFirst().prefix(2)))
            if rest.first == 0xe0 { lease = String(decoding: rest.dropFirst(3).prefix(length), as: UTF8.self) }
            rest = rest.dropFirst(3 + length)
        }
    }
}
