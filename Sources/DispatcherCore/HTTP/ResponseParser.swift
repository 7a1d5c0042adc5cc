import Model

/// Reads response heads as strictly as ``RequestParser`` reads requests; one per thread.
///
/// It keeps the last head's field lines, so rewrite a head before the next is parsed. Allocates only in `init`.
public struct ResponseParser: ~Copyable {
    var fields: FieldTable
    private let mostBytes: Int

    /// The same limits as ``RequestParser``.
    public init(mostBytes: Int = HTTPLimits.headBytes, mostFields: Int = HTTPLimits.fields) {
        self.mostBytes = min(max(64, mostBytes), 1 << 30)
        fields = FieldTable(capacity: mostFields)
    }

    /// Reads the head at the front of `bytes`, from the beginning each time. `traits` are those of its request: a
    /// response's body depends on them, and 101 is valid only after an upgrade was asked for.
    public mutating func parse(_ bytes: UnsafeRawBufferPointer, for traits: CallerTraits, under rules: HTTPRules) -> ResponseParse {
        let view = bytes.slice(0, min(bytes.count, mostBytes))
        var head = ResponseHead()
        switch head.readStatusLine(view) {
        case .needMore: return view.count < mostBytes ? .needMore : .refused
        case .refused: return .refused
        case .end(let start):
            switch fields.scan(view, from: start) {
            case .needMore: return view.count < mostBytes ? .needMore : .refused
            case .bad, .tooMany: return .refused
            case .end(let end): head.length = end
            }
        }
        return readFields(&head, view, for: traits, under: rules) ? .response(head) : .refused
    }

    private mutating func readFields(
        _ head: inout ResponseHead, _ bytes: UnsafeRawBufferPointer, for traits: CallerTraits, under rules: HTTPRules
    ) -> Bool {
        var message = MessageFields(version: head.version)
        for index in 0..<fields.count {
            let name = fields[index].name
            if name == .other { continue }
            let value = fields.value(index, of: bytes)
            switch name {
            case .contentLength: guard message.readContentLength(value) else { return false }
            case .transferEncoding: guard message.readTransferEncoding(value) else { return false }
            case .connection: guard message.readConnection(value) else { return false }
            case .busy: if value.isExactly("1"), head.status == 409 || head.status == 503 { head.isBusy = true }
            case .upgrade:
                var protocols = ListElements(value)
                while let token = protocols.next(), head.upgrade.isEmpty {
                    guard rules.allowsUpgrade(to: token), let base = value.baseAddress, let start = token.baseAddress else { continue }
                    let offset = Int(fields[index].value.start) + (start - base)
                    head.upgrade = ByteRange(offset, offset + token.count)
                }
            case .other, .host, .keepAlive, .proxyConnection, .te, .http2Settings, .expect, .prefer, .priority, .forwarded, .forwardedFor,
                .forwardedHost, .forwardedProto, .forwardedOther, .tenant, .affinity, .traceparent, .leasehold:
                break
            }
        }
        guard message.nominate(&fields, bytes), let framing = message.responseFraming else { return false }
        let hasNoBody = head.isBare || head.status == 304 || traits.contains(.isHead)
        head.framing = hasNoBody ? .none : framing
        head.keepsAlive = message.keepsAlive && head.framing != .untilClose && !head.isSwitch
        if head.isSwitch {
            guard traits.contains(.upgrades), !head.upgrade.isEmpty, message.options.contains(.upgrade) else { return false }
        } else if head.status != 426 {
            head.upgrade = .none
        }
        return true
    }
}

extension ResponseHead {
    /// `HTTP-version SP 3DIGIT SP [ reason-phrase ] CRLF` (RFC 9112 §4); the last space may be missing, as many
    /// servers leave it out.
    mutating func readStatusLine(_ bytes: UnsafeRawBufferPointer) -> StartLine {
        let limit = bytes.count
        var i = 0
        while i < limit, i < 8 {
            guard RequestHead.isVersionByte(bytes[i], at: i) else { return .refused(.badResponse) }
            i += 1
        }
        while i < limit, i < 12 {
            guard i == 8 ? bytes[i] == .space : bytes[i].isDigit else { return .refused(.badResponse) }
            i += 1
        }
        guard i == 12 else { return .needMore }
        guard bytes[5] == 0x31 else { return .refused(.badResponse) }
        version = bytes[7] == 0x30 ? .v10 : .v11
        status = UInt16(bytes[9] - 0x30) * 100 + UInt16(bytes[10] - 0x30) * 10 + UInt16(bytes[11] - 0x30)
        guard (100...599).contains(status) else { return .refused(.badResponse) }
        guard i < limit else { return .needMore }
        if bytes[i] == .space {
            let end = bytes.endOfFieldContent(from: i + 1)
            reason = ByteRange(i + 1, end)
            i = end
        }
        guard i < limit else { return .needMore }
        guard bytes[i] == .cr else { return .refused(.badResponse) }
        guard i + 1 < limit else { return .needMore }
        return bytes[i + 1] == .lf ? .end(i + 2) : .refused(.badResponse)
    }
}
