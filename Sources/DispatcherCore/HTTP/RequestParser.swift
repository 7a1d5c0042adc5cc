import Model

/// Reads request heads (RFC 9112), one after the other; one per thread. Where the RFC lets a recipient be
/// lenient it is strict, because what is lenient here and strict behind us is a smuggled request.
///
/// It keeps the last head's field lines, so rewrite a head before the next is parsed. Allocates only in `init`.
public struct RequestParser: ~Copyable {
    var fields: FieldTable
    private let mostBytes: Int

    /// - Parameters:
    ///   - mostBytes: longest head with its empty line; the buffers passed to ``parse`` must be able to hold it.
    ///   - mostFields: most field lines.
    public init(mostBytes: Int = HTTPLimits.headBytes, mostFields: Int = HTTPLimits.fields) {
        // Offsets are 32 bits wide.
        self.mostBytes = min(max(64, mostBytes), 1 << 30)
        fields = FieldTable(capacity: mostFields)
    }

    /// Reads the head at the front of `bytes`, from the beginning each time. Bytes behind the head are not read.
    /// The verdict on a head never depends on how it was cut: a prefix needs more, or is refused as the whole is.
    public mutating func parse(_ bytes: UnsafeRawBufferPointer, from peer: Peer, under rules: HTTPRules) -> RequestParse {
        let view = bytes.slice(0, min(bytes.count, mostBytes))
        var head = RequestHead()
        switch head.readRequestLine(view) {
        case .needMore: return needMore(view, head)
        case .refused(let reason): return .refused(HeadRefusal(reason, head.traits))
        case .end(let start):
            switch fields.scan(view, from: start) {
            case .needMore: return needMore(view, head)
            case .bad: return .refused(HeadRefusal(.badRequest, head.traits))
            case .tooMany: return .refused(HeadRefusal(.headTooLarge, head.traits))
            case .end(let end): head.length = end
            }
        }
        if let reason = readFields(&head, view, from: peer, under: rules) { return .refused(HeadRefusal(reason, head.traits)) }
        return .request(head)
    }

    private func needMore(_ view: UnsafeRawBufferPointer, _ head: RequestHead) -> RequestParse {
        view.count < mostBytes ? .needMore : .refused(HeadRefusal(.headTooLarge, head.traits))
    }
}

/// How far a start line was read.
enum StartLine {
    case needMore
    case refused(Reason)
    /// Where the first field line begins.
    case end(Int)
}

extension RequestHead {
    /// `method SP request-target SP HTTP-version CRLF`, after at most one empty line (RFC 9112 §2.2, §3).
    mutating func readRequestLine(_ bytes: UnsafeRawBufferPointer) -> StartLine {
        let limit = bytes.count
        var i = 0
        guard limit > 0 else { return .needMore }
        if bytes[0] == .cr {
            guard limit > 1 else { return .needMore }
            guard bytes[1] == .lf else { return .refused(.badRequest) }
            i = 2
        }
        let methodStart = i
        while i < limit, bytes[i].isToken { i += 1 }
        guard i < limit else { return .needMore }
        guard bytes[i] == .space, i > methodStart else { return .refused(.badRequest) }
        methodRange = ByteRange(methodStart, i)
        method = HTTPMethod(bytes.slice(methodRange))
        if method == .head { traits.insert(.isHead) }
        i += 1

        // Visible ASCII but `#`: a fragment is never sent (RFC 9112 §3.2), and raw UTF-8 is no URI.
        let targetStart = i
        while i < limit, bytes[i] &- 0x21 < 0x5e, bytes[i] != 0x23 { i += 1 }
        guard i < limit else { return .needMore }
        guard bytes[i] == .space, i > targetStart else { return .refused(.badRequest) }
        target = ByteRange(targetStart, i)
        i += 1

        let versionStart = i
        while i < limit, i - versionStart < 10 {
            guard Self.isVersionByte(bytes[i], at: i - versionStart) else { return .refused(.badRequest) }
            i += 1
        }
        guard i - versionStart == 10 else { return .needMore }
        guard bytes[versionStart + 5] == 0x31 else { return .refused(.versionNotSupported) }
        if bytes[versionStart + 7] == 0x30 {
            version = .v10
            traits.insert(.isHTTP10)
        }
        if method == .connect { return .refused(.notImplemented) }
        if method == .trace { return .refused(.methodNotAllowed) }
        return readTarget(bytes) ? .end(i) : .refused(.badRequest)
    }

    /// `HTTP/d.d` and CRLF.
    @inline(__always) static func isVersionByte(_ byte: UInt8, at index: Int) -> Bool {
        switch index {
        case 0: byte == 0x48
        case 1, 2: byte == 0x54
        case 3: byte == 0x50
        case 4: byte == .slash
        case 5, 7: byte.isDigit
        case 6: byte == .dot
        case 8: byte == .cr
        case 9: byte == .lf
        default: false
        }
    }
}
