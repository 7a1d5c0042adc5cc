import DispatcherCore
import Model

// The bytes of a caller and of a worker: heads, chunked bodies, PROXY headers. The verdict on a head must not depend on how it was cut.

nonisolated(unsafe) private var requests = RequestParser()  // libFuzzer calls from one thread
nonisolated(unsafe) private var responses = ResponseParser()
private let rules = HTTPRules(upgrades: ["websocket"], expose: [.lease, .timing, .endpoint])
private let caller = Peer(address: SocketAddress(v4: 0xc000_020a, port: 4711), believed: .anybody)

private func verdict(_ parse: RequestParse) -> String? {
    switch parse {
    case .needMore: nil
    case .refused(let refusal): "refused \(refusal.reason)"
    case .request(let head): "\(head)"
    }
}

private func verdict(_ parse: ResponseParse) -> String? {
    switch parse {
    case .needMore: nil
    case .refused: "refused"
    case .response(let head): "\(head)"
    }
}

/// The bytes that pass through a scanner that is shown `window` bytes at a time, and whether the body was accepted.
private func scan(_ bytes: UnsafeRawBufferPointer, window: Int, as treatment: ChunkTreatment) -> (passed: [UInt8], accepted: Bool, at: Int) {
    var scanner = ChunkScanner()
    var passed: [UInt8] = []
    var position = 0
    var shown = window
    while true {
        let end = min(bytes.count, position + shown)
        switch scanner.run(UnsafeRawBufferPointer(rebasing: bytes[position..<end]), as: treatment) {
        case .pass(let count):
            let most = min(Int(clamping: count), bytes.count - position)
            passed += bytes[position..<position + most]
            if UInt64(most) < count { return (passed, false, bytes.count) }
            position += most
            shown = window
        case .drop(let count):
            precondition(Int(count) <= end - position, "drops what was not shown")
            position += Int(count)
            shown = window
        case .needMore:
            if end == bytes.count { return (passed, false, position) }
            shown += window
        case .end: return (passed, true, position)
        case .refused: return (passed, false, -1)
        }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHeads(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = UnsafeRawBufferPointer(start: start, count: count)
    guard input.count > 2 else { return 0 }
    let (choice, cut) = (input[0], Int(input[1]))
    let bytes = UnsafeRawBufferPointer(rebasing: input.dropFirst(2))
    let part = UnsafeRawBufferPointer(rebasing: bytes.prefix(cut))
    switch choice % 4 {
    case 0:
        if let early = verdict(requests.parse(part, from: caller, under: rules)) {
            let whole = verdict(requests.parse(bytes, from: caller, under: rules))
            precondition(early == whole, "cut at \(cut): \(early), whole: \(whole ?? "needs more")")
        }
        guard case .request(let head) = requests.parse(bytes, from: caller, under: rules) else { return 0 }
        precondition(head.length <= bytes.count, "a head is longer than what was read")
        var storage = [UInt8](repeating: 0, count: 4096)
        storage.withUnsafeMutableBytes { buffer in
            var sink = ByteSink(buffer)
            requests.rewrite(head, of: bytes, from: caller, to: .fresh, into: &sink)
        }
    case 1:
        let traits = CallerTraits(rawValue: choice >> 2)
        if let early = verdict(responses.parse(part, for: traits, under: rules)) {
            let whole = verdict(responses.parse(bytes, for: traits, under: rules))
            precondition(early == whole, "cut at \(cut): \(early), whole: \(whole ?? "needs more")")
        }
    case 2:
        guard let treatment = ChunkTreatment(rawValue: (choice >> 2) % 3) else { return 0 }
        let whole = scan(bytes, window: bytes.count, as: treatment)
        let dripped = scan(bytes, window: max(1, cut), as: treatment)
        precondition(whole.accepted == dripped.accepted, "the verdict depends on the window \(cut)")
        if whole.accepted { precondition(whole.passed == dripped.passed && whole.at == dripped.at, "the bytes depend on the window \(cut)") }
    default:
        _ = ProxyHeader.parse(bytes)
    }
    return 0
}
