import Model

extension RequestParser {
    /// Reads what the fields decide. Nil when the head is valid.
    mutating func readFields(
        _ head: inout RequestHead, _ bytes: UnsafeRawBufferPointer, from peer: Peer, under rules: HTTPRules
    ) -> Reason? {
        var message = MessageFields(version: head.version)
        var hosts = 0
        var expectsOther = false
        var asksForTrailers = false
        var urgency: Urgency?
        var traces = 0
        if !rules.tenantHeader.isEmpty { renameTenant(bytes, rules.tenantHeader) }
        for index in 0..<fields.count {
            let name = fields[index].name
            if name == .other { continue }
            let value = fields.value(index, of: bytes)
            switch name {
            case .other, .keepAlive, .proxyConnection, .http2Settings, .forwarded, .forwardedFor, .forwardedHost, .forwardedProto,
                .forwardedOther, .busy, .leasehold:
                break
            case .host:
                hosts += 1
                guard hosts == 1, Authority(value) != nil else { return .badRequest }
                if head.form == .absolute, !head.agrees(withHost: value, bytes) { return .badRequest }
                head.host = fields[index].value
            case .contentLength:
                guard message.readContentLength(value) else { return .badRequest }
            case .transferEncoding:
                guard message.readTransferEncoding(value) else { return .badRequest }
            case .connection:
                guard message.readConnection(value) else { return .badRequest }
            case .upgrade:
                message.hasUpgrade = true
            case .te:
                var codings = ListElements(value)
                while let coding = codings.next() {
                    if coding.isEqual(ignoringCase: "trailers") { asksForTrailers = true }
                }
            case .expect:
                if value.isEqual(ignoringCase: "100-continue") { head.traits.insert(.expectsContinue) } else { expectsOther = true }
            case .prefer:
                if head.preferWait == nil { head.preferWait = preferredWait(value) }
            case .priority:
                urgency = priorityUrgency(value) ?? urgency
            case .tenant:
                guard peer.believed.contains(.tenant) else { break }
                guard head.tenant.isEmpty else { return .badRequest }
                head.tenant = fields[index].value
            case .affinity:
                guard peer.believed.contains(.affinity) else { break }
                guard head.affinity.isEmpty else { return .badRequest }
                head.affinity = fields[index].value
            case .traceparent:
                traces += 1
                head.traceparent = traces == 1 ? fields[index].value : .none
            }
        }
        guard head.version == .v10 || hosts == 1 else { return .badRequest }
        guard message.nominate(&fields, bytes), let framing = message.requestFraming else { return .badRequest }
        if expectsOther { return .expectationFailed }
        head.framing = framing
        if message.keepsAlive { head.traits.insert(.keepsAlive) }
        if head.affinity.count > HTTPLimits.affinityBytes { head.affinity = .none }
        if let urgency { head.urgency = peer.believed.contains(.priority) ? urgency : max(urgency, .standard) }
        guard head.version == .v11 else {
            // A 1.0 caller cannot mean these (RFC 9110 §7.8, §10.1.1).
            head.traits.remove(.expectsContinue)
            return nil
        }
        if framing == .none || framing == .length(0) {
            head.traits.remove(.expectsContinue)
            if message.hasUpgrade, message.options.contains(.upgrade) { readUpgrade(&head, bytes, under: rules) }
        }
        if asksForTrailers { head.traits.insert(.takesTrailers) }
        return nil
    }

    /// The listener's own name stands for the tenant, and `Leasehold-Tenant` is as any other field of ours. A name that a worker may take
    /// for it (an underscore for a hyphen) goes the way of all `Leasehold-*`.
    private mutating func renameTenant(_ bytes: UnsafeRawBufferPointer, _ header: [UInt8]) {
        for index in 0..<fields.count {
            let field = fields[index].name
            if field == .tenant { fields.rename(index, .leasehold) }
            let name = fields.name(index, of: bytes)
            guard field == .other, name.count == header.count else { continue }
            var isExact = true
            var isAlike = true
            for i in 0..<header.count where name[i].lowercased != header[i] {
                isExact = false
                if (name[i] == 0x5f ? UInt8.hyphen : name[i].lowercased) != (header[i] == 0x5f ? UInt8.hyphen : header[i]) { isAlike = false }
            }
            if isExact { fields.rename(index, .tenant) } else if isAlike { fields.rename(index, .leasehold) }
        }
    }

    /// The first protocol asked for that the listener allows.
    private func readUpgrade(_ head: inout RequestHead, _ bytes: UnsafeRawBufferPointer, under rules: HTTPRules) {
        for index in 0..<fields.count where fields[index].name == .upgrade {
            let range = fields[index].value
            let value = bytes.slice(range)
            var protocols = ListElements(value)
            while let token = protocols.next() {
                guard rules.allowsUpgrade(to: token), let base = value.baseAddress, let start = token.baseAddress else { continue }
                let offset = Int(range.start) + (start - base)
                head.upgrade = ByteRange(offset, offset + token.count)
                head.traits.insert(.upgrades)
                return
            }
        }
    }
}

/// `wait` among preferences (RFC 7240 §4.3), clamped to 32 bits; nil when absent or not a number.
func preferredWait(_ value: UnsafeRawBufferPointer) -> UInt32? {
    var preferences = ListElements(value)
    while let preference = preferences.next() {
        guard let equals = preference.firstIndex(of: .equals), preference.slice(0, equals).trimmed().isEqual(ignoringCase: "wait") else {
            continue
        }
        let end = preference.firstIndex(of: .semicolon, from: equals) ?? preference.count
        var digits = preference.slice(equals + 1, end).trimmed()
        if digits.count >= 2, digits[0] == .quote, digits[digits.count - 1] == .quote { digits = digits.slice(1, digits.count - 1) }
        guard !digits.isEmpty, digits.allSatisfy(\.isDigit) else { return nil }
        return digits.decimal().map { UInt32(clamping: $0) } ?? .max
    }
    return nil
}

/// `u=0` … `u=7` in a Priority dictionary (RFC 9218 §4.1); the last one counts (RFC 8941 §3.2), anything else is ignored.
func priorityUrgency(_ value: UnsafeRawBufferPointer) -> Urgency? {
    var members = ListElements(value)
    var urgency: Urgency?
    while let member = members.next() {
        guard member.count >= 3, member[0] == 0x75, member[1] == .equals, member[2].isDigit else { continue }
        guard member.count == 3 || member[3] == .semicolon else { continue }
        urgency = Urgency(rawValue: member[2] - 0x30) ?? urgency
    }
    return urgency
}
