import DispatcherCore
import Model
import Wire

/// What one job costs on a link: its ticket, its grant and its release, written and read.
func wireFigure(operations: Int) -> Figure {
    let pool = PoolID(name: "bench")
    let lease = LeaseID(epoch: 1_700_000_000, counter: 42)
    let endpoint = EndpointID(uid: "00000000-0000-4000-8000-000000000001")
    let ticket = LeasingRequest.ticket(Ticket(id: TicketID(rawValue: 7), pool: pool, budget: .seconds(30)))
    let grant = LeasingReply.grant(
        Grant(ticket: TicketID(rawValue: 7), lease: lease, pool: pool, endpoint: endpoint, address: SocketAddress(v4: 0x0a00_0001, port: 8080)))
    let release = LeasingRequest.release(lease, .served)
    return measure("wire: ticket, grant and release, written and read", size: 1, operations: operations) { count in
        var writer = ByteWriter()
        for _ in 0..<count {
            writer.removeAll()
            ticket.encode(into: &writer)
            release.encode(into: &writer)
            var requests = ByteReader(writer.bytes)
            keep(try? LeasingRequest.decode(from: &requests))
            keep(try? LeasingRequest.decode(from: &requests))
            writer.removeAll()
            grant.encode(into: &writer)
            var replies = ByteReader(writer.bytes)
            keep(try? LeasingReply.decode(from: &replies))
        }
    }
}

/// What a request's head costs: read, checked, and rewritten for the worker.
func headFigure(operations: Int) -> Figure {
    let request = Array(
        """
        GET /render?page=1 HTTP/1.1\r
        Host: shop.example.org\r
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r
        Accept-Encoding: gzip, deflate, br\r
        Accept-Language: en-GB,en;q=0.9\r
        Connection: keep-alive\r
        Cookie: session=0123456789abcdef0123456789abcdef\r
        \r\n
        """.utf8)
    let rules = HTTPRules()
    let peer = Peer(address: SocketAddress(v4: 0xc000_020a, port: 4711), believed: .anybody)
    let pool = Array("bench".utf8)
    var parser = RequestParser()
    var storage = [UInt8](repeating: 0, count: 4096)
    return measure("http: a request's head read and rewritten", size: request.count, operations: operations) { count in
        storage.withUnsafeMutableBytes { buffer in
            request.withUnsafeBytes { bytes in
                for turn in 0..<count {
                    guard case .request(let head) = parser.parse(bytes, from: peer, under: rules) else { fatalError("the benchmark's request is refused") }
                    var sink = ByteSink(buffer)
                    parser.rewrite(head, of: bytes, from: peer, to: .fresh, into: &sink)
                    pool.withUnsafeBytes { finishRequestHead(&sink, pool: $0, lease: LeaseID(epoch: 17, counter: UInt64(turn))) }
                    keep(sink.count)
                }
            }
        }
    }
}
