import Model

extension ValueType where Value == Duration {
    /// `250ms`, `2s`, `5m`, `1h`.
    static func duration(atLeast: Duration, atMost: Duration = .seconds(366 * 86_400)) -> ValueType {
        .scalar(
            "duration",
            parse: { (text, _) throws(Complaint) in
                let value = try parseDuration(text)
                guard value >= atLeast else {
                    throw Complaint("\(text) is too short", remedy: "write at least \(durationText(atLeast))")
                }
                guard value <= atMost else {
                    throw Complaint("\(text) is too long", remedy: "write at most \(durationText(atMost))")
                }
                return value
            },
            render: { .text(durationText($0)) })
    }
}

extension ValueType where Value == Duration? {
    /// A deadline that 0 switches off.
    static var deadline: ValueType {
        .scalar(
            "duration, 0 for off",
            parse: { (text, _) throws(Complaint) in
                let value = try parseDuration(text)
                return value == .zero ? nil : value
            },
            render: { .text(durationText($0 ?? .zero)) })
    }
}

extension ValueType where Value == Int {
    /// `64KiB`, `1MiB`, or plain bytes.
    static func size(_ range: ClosedRange<Int>) -> ValueType {
        .scalar(
            "size",
            parse: { (text, _) throws(Complaint) in
                let value = try parseSize(text)
                guard value >= range.lowerBound else {
                    throw Complaint("\(text) is too small", remedy: "write at least \(sizeText(range.lowerBound))")
                }
                guard value <= range.upperBound else {
                    throw Complaint("\(text) is too large", remedy: "write at most \(sizeText(range.upperBound))")
                }
                return value
            },
            render: { .text(sizeText($0)) })
    }

    /// `50%`.
    static var percent: ValueType {
        .scalar(
            "percentage",
            parse: { (text, _) throws(Complaint) in
                guard text.hasSuffix("%") else {
                    throw Complaint("\(quoted(text)) is not a percentage", remedy: "write a whole number with a percent sign, like 50%")
                }
                return try parseCount(String(text.dropLast()), 0...100)
            },
            render: { .text("\($0)%") })
    }

    static func count(_ range: ClosedRange<Int>) -> ValueType {
        .scalar("number", parse: { (text, _) throws(Complaint) in try parseCount(text, range) }, render: { .number($0) })
    }
}

extension ValueType where Value == Urgency {
    /// RFC 9218.
    static var urgency: ValueType {
        .scalar(
            "0 to 7",
            parse: { (text, _) throws(Complaint) in
                let count = try parseCount(text, 0...7)
                guard let urgency = Urgency(rawValue: UInt8(count)) else { throw Complaint("\(count) is no urgency", remedy: "write 0 to 7") }
                return urgency
            },
            render: { .number(Int($0.rawValue)) })
    }
}

extension ValueType where Value == Int? {
    /// A bound that 0 switches off.
    static var sizeLimit: ValueType {
        .scalar(
            "size, 0 for no limit",
            parse: { (text, _) throws(Complaint) in
                let value = try parseSize(text)
                return value == 0 ? nil : value
            },
            render: { .text(sizeText($0 ?? 0)) })
    }
}

extension ValueType where Value == Bool {
    static var flag: ValueType {
        .scalar(
            "true | false",
            parse: { (text, _) throws(Complaint) in
                switch text {
                case "true": return true
                case "false": return false
                default: throw Complaint("\(quoted(text)) is neither true nor false", remedy: "write true or false")
                }
            },
            render: { .flag($0) })
    }
}

extension ValueType where Value == LogJobs {
    static var logJobs: ValueType {
        .scalar(
            "all | errors | 1/N",
            parse: { (text, _) throws(Complaint) in
                if text == "all" { return .all }
                if text == "errors" { return .errors }
                if text.hasPrefix("1/"), let n = Int(text.dropFirst(2)), (1...1_000_000_000).contains(n) { return .sample(n) }
                throw Complaint("\(quoted(text)) is not known here", remedy: "write all, errors, or a share like 1/100")
            },
            render: { value in
                switch value {
                case .all: .text("all")
                case .errors: .text("errors")
                case .sample(let n): .text("1/\(n)")
                }
            })
    }
}

private let durationUnits: [(name: String, duration: Duration)] = [
    ("ms", .milliseconds(1)), ("s", .seconds(1)), ("m", .seconds(60)), ("h", .seconds(3_600)),
]

/// Digits and one unit. Everything else is answered with what it should have been.
func parseDuration(_ text: String) throws(Complaint) -> Duration {
    if text == "0" { return .zero }
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count)
    guard !digits.isEmpty else {
        throw Complaint(
            "\(quoted(text)) is not a duration",
            remedy: text.hasPrefix("-") ? "write 0 or more, like 2s" : "write a number with a unit, like 250ms, 2s, 5m or 1h")
    }
    guard let count = Int64(digits), count <= 1_000_000_000_000 else {
        throw Complaint("\(quoted(text)) is too long", remedy: "write at most \(durationText(.seconds(366 * 86_400)))")
    }
    if unit.isEmpty {
        throw Complaint("\(quoted(text)) has no unit", remedy: "write \(digits)s for seconds or \(digits)ms for milliseconds")
    }
    if let known = durationUnits.first(where: { $0.name == unit }) { return known.duration * count }
    if unit.first == "." {
        throw Complaint("\(quoted(text)) is not a whole number", remedy: "use a smaller unit, like 1500ms for 1.5s")
    }
    let bare = unit.trimmingPrefix { $0 == " " }.lowercased()
    let spellings = [
        "ms": "ms", "msec": "ms", "millis": "ms", "milliseconds": "ms", "s": "s", "sec": "s", "secs": "s", "second": "s",
        "seconds": "s", "m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m", "h": "h", "hr": "h", "hour": "h", "hours": "h",
    ]
    if let meant = spellings[bare] { throw Complaint("\(quoted(text)) has an unknown unit", remedy: "write \(digits)\(meant)") }
    if ["d", "day", "days"].contains(bare), count <= 366 {
        throw Complaint("\(quoted(text)) has an unknown unit", remedy: "write \(count * 24)h")
    }
    throw Complaint("\(quoted(text)) has an unknown unit", remedy: "use one of ms, s, m, h, like \(digits)s")
}

/// In the largest unit that keeps it whole; `0` for zero.
func durationText(_ duration: Duration) -> String {
    let milliseconds = duration.milliseconds
    if milliseconds == 0 { return "0" }
    for (name, unit) in durationUnits.reversed() where milliseconds % unit.milliseconds == 0 {
        return "\(milliseconds / unit.milliseconds)\(name)"
    }
    return "\(milliseconds)ms"
}

private let sizeUnits: [(name: String, bytes: Int)] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)]

private func parseSize(_ text: String) throws(Complaint) -> Int {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count)
    guard !digits.isEmpty else {
        throw Complaint("\(quoted(text)) is not a size", remedy: "write bytes, or a number with a unit, like 64KiB or 1MiB")
    }
    guard let count = Int(digits) else { throw Complaint("\(quoted(text)) is too large", remedy: "write a smaller size") }
    if unit.isEmpty { return count }
    if let known = sizeUnits.first(where: { $0.name == unit }) {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: known.bytes)
        guard !overflow else { throw Complaint("\(quoted(text)) is too large", remedy: "write a smaller size") }
        return bytes
    }
    if unit.first == "." {
        throw Complaint("\(quoted(text)) is not a whole number", remedy: "use a smaller unit, like 1536KiB for 1.5MiB")
    }
    let bare = unit.trimmingPrefix { $0 == " " }.lowercased()
    if bare == "b" || bare == "bytes" { throw Complaint("\(quoted(text)) has an unknown unit", remedy: "write \(digits) for bytes") }
    if let first = bare.first, let meant = sizeUnits.first(where: { $0.name.lowercased().first == first }) {
        throw Complaint("\(quoted(text)) has an unknown unit", remedy: "write \(digits)\(meant.name), which is times \(meant.bytes)")
    }
    throw Complaint("\(quoted(text)) has an unknown unit", remedy: "use one of KiB, MiB, GiB, TiB, like \(digits)KiB")
}

/// In the largest unit that keeps it whole; bytes have none.
func sizeText(_ bytes: Int) -> String {
    for (name, unit) in sizeUnits.reversed() where bytes != 0 && bytes % unit == 0 { return "\(bytes / unit)\(name)" }
    return String(bytes)
}

func parseCount(_ text: String, _ range: ClosedRange<Int>) throws(Complaint) -> Int {
    let isPlain = !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    guard isPlain, let value = Int(text) else {
        throw Complaint(
            "\(quoted(text)) is not a whole number", remedy: "write digits only, from \(range.lowerBound) to \(range.upperBound)")
    }
    guard range.contains(value) else {
        throw Complaint("\(value) is out of range", remedy: "write a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
}
