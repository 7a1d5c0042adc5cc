import Model

// Nanoseconds per head of the pure HTTP sources, on one core. Built and run by scripts/bench-http.

func lines(_ text: String...) -> [UInt8] { Array((text.joined(separator: "\r\n") + "\r\n\r\n").utf8) }

/// 404 bytes, as a browser sends them.
let request = lines(
    "GET /render/page?id=12345&size=large HTTP/1.1", "Host: browsers.example.org",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Encoding: gzip, deflate, br",
    "Accept-Language: en-US,en;q=0.5", "Cookie: session=0123456789abcdef0123456789abcdef", "Connection: keep-alive")

/// 233 bytes, as nginx sends them.
let response = lines(
    "HTTP/1.1 200 OK", "Server: nginx/1.22.1", "Date: Mon, 01 Jan 2024 00:00:00 GMT", "Content-Type: text/html", "Content-Length: 612",
    "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT", "Connection: close", "ETag: \"65920080-264\"", "Accept-Ranges: bytes")

let host = Array("browsers.example.org:8080".utf8)
let path = Array("/render/page".utf8)
let poolName = Array("browsers".utf8)
let chunks = Array("400\r\n".utf8) + [UInt8](repeating: 0x61, count: 1024) + Array("\r\n0\r\n\r\n".utf8)

final class Bench {
    var requests = RequestParser()
    var responses = ResponseParser()
    let rules = HTTPRules()
    let peer = Peer(address: SocketAddress(v4: 0xc0a8_0a0b, port: 5), believed: .anybody)
    let lease = LeaseID(epoch: 1_700_000_000, counter: 12345)
    let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
    let routes: RouteTable
    /// Kept, so that no result is dead.
    var sum = 0

    init() throws {
        let pool = PoolID(name: "browsers")
        routes = try RouteTable([
            Route(host: "browsers.example.org", path: "/render", pool: pool), Route(host: "*.example.org", path: "/x", pool: pool),
            Route(pool: pool),
        ])
    }

    func parse(_ bytes: UnsafeRawBufferPointer) {
        if case .request(let head) = requests.parse(bytes, from: peer, under: rules) { sum &+= head.length }
    }

    func relay(request bytes: UnsafeRawBufferPointer) {
        guard case .request(let head) = requests.parse(bytes, from: peer, under: rules) else { return }
        var sink = ByteSink(output)
        requests.rewrite(head, of: bytes, from: peer, to: .fresh, into: &sink)
        poolName.withUnsafeBytes { finishRequestHead(&sink, pool: $0, lease: lease) }
        sum &+= sink.count
    }

    func relay(response bytes: UnsafeRawBufferPointer) {
        guard case .response(let head) = responses.parse(bytes, for: .keepsAlive, under: rules) else { return }
        var sink = ByteSink(output)
        poolName.withUnsafeBytes { pool in
            let facts = LeaseFacts(pool: pool, lease: lease, hold: .microseconds(123), dial: .microseconds(88))
            responses.rewrite(
                head, of: bytes, for: .keepsAlive, plan: head.plan(for: .keepsAlive), facts: facts, under: rules, into: &sink)
        }
        sum &+= sink.count
    }

    func route(_ path: UnsafeRawBufferPointer) {
        host.withUnsafeBytes { if case .route(let index) = routes.match(host: $0, path: path) { sum &+= index } }
    }

    func scan(_ bytes: UnsafeRawBufferPointer) {
        var scanner = ChunkScanner()
        if case .pass(let count) = scanner.run(bytes, as: .whole) { sum &+= Int(truncatingIfNeeded: count) }
    }

    func time(_ name: String, _ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) -> Void) {
        let rounds = 1_000_000
        bytes.withUnsafeBytes { bytes in
            let clock = ContinuousClock()
            var best = Duration.seconds(1000)
            for _ in 0..<3 { best = min(best, clock.measure { for _ in 0..<rounds { body(bytes) } }) }
            print("\(name): \(best.nanoseconds / Int64(rounds)) ns")
        }
    }
}

let bench = try Bench()
bench.time("request, \(request.count) bytes: parse", request, bench.parse)
bench.time("request, \(request.count) bytes: parse, rewrite, finish", request, bench.relay(request:))
bench.time("response, \(response.count) bytes: parse, rewrite", response, bench.relay(response:))
bench.time("route of three", path, bench.route)
bench.time("chunked body of one chunk", chunks, bench.scan)
print("checksum \(bench.sum)")
