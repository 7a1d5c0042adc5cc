import Model

@testable import DispatcherCore

let rules = HTTPRules(upgrades: ["websocket", "Example/2", "h2c"], expose: [.lease, .timing, .endpoint])
let stranger = Peer(address: SocketAddress(v4: 0xc000_020a, port: 4711), believed: .anybody)
let friend = Peer(address: SocketAddress(v4: 0x0a00_0001, port: 4711), believed: .everything)

/// Text with the one-byte meaning of each character up to U+00FF.
func latin1(_ text: String) -> [UInt8] { text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) } }
func text(_ bytes: some Sequence<UInt8>) -> String { String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) })) }

func parseRequest(_ bytes: [UInt8], from peer: Peer = stranger, most: Int = HTTPLimits.headBytes, fields: Int = HTTPLimits.fields)
    -> RequestParse
{
    var parser = RequestParser(mostBytes: most, mostFields: fields)
    return bytes.withUnsafeBytes { parser.parse($0, from: peer, under: rules) }
}

func parseResponse(_ bytes: [UInt8], for traits: CallerTraits = .keepsAlive) -> ResponseParse {
    var parser = ResponseParser()
    return bytes.withUnsafeBytes { parser.parse($0, for: traits, under: rules) }
}

extension RequestParse {
    var head: RequestHead? { if case .request(let head) = self { head } else { nil } }
    var refusal: Reason? { if case .refused(let refusal) = self { refusal.reason } else { nil } }
    var wantsMore: Bool { if case .needMore = self { true } else { false } }
}

extension ResponseParse {
    var head: ResponseHead? { if case .response(let head) = self { head } else { nil } }
    var isRefused: Bool { if case .refused = self { true } else { false } }
    var wantsMore: Bool { if case .needMore = self { true } else { false } }
}

/// What a sink holds after `body`, and whether it overflowed.
func sunk(_ capacity: Int = 32 * 1024, _ body: (inout ByteSink) -> Void) -> (text: String, overflowed: Bool) {
    var storage = [UInt8](repeating: 0xaa, count: capacity + 1)
    return storage.withUnsafeMutableBytes { buffer in
        var sink = ByteSink(UnsafeMutableRawBufferPointer(rebasing: buffer[..<capacity]))
        body(&sink)
        precondition(buffer[capacity] == 0xaa && sink.count <= capacity, "wrote past the end")
        return (text(buffer[..<sink.count]), sink.overflowed)
    }
}

/// The finished head that a worker gets, or nil when the request is not valid.
func rewriteRequest(
    _ request: [UInt8], from peer: Peer = stranger, to connection: WorkerConnection = .fresh, capacity: Int = 32 * 1024
) -> String? {
    var parser = RequestParser()
    return request.withUnsafeBytes { bytes -> String? in
        guard case .request(let head) = parser.parse(bytes, from: peer, under: rules) else { return nil }
        let result = sunk(capacity) { sink in
            parser.rewrite(head, of: bytes, from: peer, to: connection, into: &sink)
            let before = sink.count
            Array("web".utf8).withUnsafeBytes { finishRequestHead(&sink, pool: $0, lease: LeaseID(epoch: 17, counter: 4)) }
            precondition(sink.count - before <= requestHeadEnding(poolNameBytes: 3))
        }
        return result.overflowed ? nil : result.text
    }
}

func rewriteResponse(_ response: [UInt8], for traits: CallerTraits = .keepsAlive, mayKeep: Bool = true) -> String? {
    var parser = ResponseParser()
    return response.withUnsafeBytes { bytes -> String? in
        guard case .response(let head) = parser.parse(bytes, for: traits, under: rules) else { return nil }
        return Array("web".utf8).withUnsafeBytes { pool in
            Array("pod-7".utf8).withUnsafeBytes { endpoint in
                let facts = LeaseFacts(
                    pool: pool, lease: LeaseID(epoch: 17, counter: 4), hold: .microseconds(12_345), dial: .microseconds(200),
                    endpoint: endpoint)
                return sunk { sink in
                    parser.rewrite(
                        head, of: bytes, for: traits, plan: head.plan(for: traits, mayKeep: mayKeep), facts: facts, under: rules,
                        into: &sink)
                }.text
            }
        }
    }
}
