extension Duration {
    /// Since 1970, from RFC 3339 text as Kubernetes writes it (`2026-11-21T03:31:34Z`, with or without a fraction); nil for anything else.
    public init?(sinceEpochOf text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.count <= 40, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            bytes[10] == UInt8(ascii: "T"), bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"), bytes.last == UInt8(ascii: "Z"),
            let year = bytes.number(0..<4), let month = bytes.number(5..<7), let day = bytes.number(8..<10),
            let hour = bytes.number(11..<13), let minute = bytes.number(14..<16), let second = bytes.number(17..<19),
            1...12 ~= month, 1...31 ~= day, hour < 24, minute < 60, second <= 60
        else { return nil }
        var nanoseconds = 0
        if bytes[19] == UInt8(ascii: ".") {
            let digits = bytes.count - 21
            guard 1...9 ~= digits, var fraction = bytes.number(20..<20 + digits) else { return nil }
            for _ in digits..<9 { fraction *= 10 }
            nanoseconds = fraction
        } else if bytes.count != 20 {
            return nil
        }
        // Days of the civil calendar: years begin in March, so that the leap day comes last (Hinnant, "chrono-compatible low-level date algorithms").
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        self = .seconds(days * 86_400 + hour * 3600 + minute * 60 + second) + .nanoseconds(nanoseconds)
    }
}

extension [UInt8] {
    /// Decimal digits, at most nine; nil for anything else.
    fileprivate func number(_ range: Range<Int>) -> Int? {
        var value = 0
        for byte in self[range] {
            guard case let digit = byte &- 0x30, digit < 10 else { return nil }
            value = value * 10 + Int(digit)
        }
        return value
    }
}
