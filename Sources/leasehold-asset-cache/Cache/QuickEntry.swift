import AssetCore
import NIOCore
import NIOHTTP1

/// A response that is served from memory as often as not: its head but for the age, and its body, as bytes.
struct QuickEntry: Sendable {
    /// Status line and fields, without the empty line.
    let head: ByteBuffer
    let body: ByteBuffer
    let freshness: Freshness
    let id: Int64
    let host: String

    /// Nil for what depends on the request, or is not here whole.
    init?(_ entry: CachedEntry, _ url: String) {
        guard entry.stored.status == 200, entry.stored.vary.isEmpty, !entry.stored.freshness.control.flags.contains(.noCache),
            let body = entry.body
        else { return nil }
        var head = ByteBuffer(string: "HTTP/1.1 200 OK\r\n")
        for field in entry.stored.fields.all { head.writeString("\(field.name): \(field.value)\r\n") }
        head.writeString("content-length: \(body.readableBytes)\r\nvia: 1.1 leasehold\r\n")
        self.head = head
        self.body = body
        freshness = entry.stored.freshness
        id = entry.id
        host = TargetURL(url.hasPrefix("reverse ") ? String(url.dropFirst(8)) : url)?.host ?? ""
    }
}

extension CacheService {
    /// Answers plain requests for what is small, fresh and in memory; everything else goes the long way. `base` stands before the target.
    func quickAnswer(base: String) -> HTTPServer.QuickAnswer {
        { [self] head in
            guard head.method == .GET, head.version == .http1_1, head.isKeepAlive, Self.isPlain(head.headers),
                let entry = hot.quick(base.isEmpty ? head.uri : base + head.uri)
            else { return nil }
            let age = entry.freshness.age(at: wallClock())
            guard age < entry.freshness.lifetime else { return nil }
            store.touched(entry.id)
            count { figures in
                figures.hits += 1
                figures.bytesOut += UInt64(entry.body.readableBytes)
                figures.bytesSaved += UInt64(entry.body.readableBytes)
                figures.hosts.count(entry.host, isHit: true)
            }
            var response = ByteBufferAllocator().buffer(capacity: entry.head.readableBytes + entry.body.readableBytes + 96)
            response.writeImmutableBuffer(entry.head)
            response.writeStaticString("age: ")
            response.writeString(String(age))
            response.writeStaticString("\r\ncache-status: leasehold; hit; ttl=")
            response.writeString(String(entry.freshness.lifetime - age))
            response.writeStaticString("\r\n\r\n")
            response.writeImmutableBuffer(entry.body)
            return response
        }
    }

    /// Whether nothing in a request asks for more than the stored bytes: no conditions, ranges, directives, loops or body.
    static func isPlain(_ headers: HTTPHeaders) -> Bool {
        for (name, _) in headers {
            let bytes = name.utf8
            guard let first = bytes.first else { return false }
            switch (first | 0x20, bytes.count) {
            case (UInt8(ascii: "i"), _) where name.lowercased().hasPrefix("if-"): return false
            case (UInt8(ascii: "c"), 13), (UInt8(ascii: "c"), 14), (UInt8(ascii: "c"), 8): return false
            case (UInt8(ascii: "p"), 6), (UInt8(ascii: "r"), 5), (UInt8(ascii: "v"), 3), (UInt8(ascii: "t"), 17), (UInt8(ascii: "e"), 6):
                return false
            default: continue
            }
        }
        return true
    }
}
