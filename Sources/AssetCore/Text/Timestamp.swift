/// A point of the wall clock: milliseconds since 1970-01-01T00:00:00Z.
///
/// Written and read in the forms that HTTP (RFC 9110 §5.6.7) and S3 use. Years 0…9999.
public struct Timestamp: Hashable, Comparable, Sendable {
    public var milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public init(seconds: Int64) { milliseconds = seconds.multipliedReportingOverflow(by: 1000).partialValue }

    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }

    /// Whole seconds, rounded down: what an HTTP date can say.
    public var seconds: Int64 { milliseconds >= 0 ? milliseconds / 1000 : (milliseconds - 999) / 1000 }

    public func advanced(bySeconds seconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds &+ seconds &* 1000) }

    /// The first instant of this day, UTC.
    public var startOfDay: Timestamp { Timestamp(seconds: CivilDate(days: CivilDate.days(seconds)).days * 86_400) }

    // MARK: Writing

    /// `2026-11-21T08:13:41.000Z`
    public var iso8601: String {
        let (date, time) = split
        let fraction = milliseconds - seconds * 1000
        return "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))T\(clock(time)).\(padded(fraction, 3))Z"
    }

    /// `20261121T081341Z`, as `X-Amz-Date` has it.
    public var basic: String {
        "\(basicDay)T" + clock(split.second).filter { $0 != ":" } + "Z"
    }

    /// `20261121`, as a credential scope has it.
    public var basicDay: String {
        let (date, _) = split
        return "\(padded(date.year, 4))\(padded(date.month, 2))\(padded(date.day, 2))"
    }

    /// `Sat, 21 Nov 2026 08:13:41 GMT`
    public var httpDate: String {
        let (date, time) = split
        let weekday = Self.weekdays[Int(((date.days + 4) % 7 + 7) % 7)]
        return "\(weekday), \(padded(date.day, 2)) \(Self.months[Int(date.month) - 1]) \(padded(date.year, 4)) \(clock(time)) GMT"
    }

    private var split: (date: CivilDate, second: Int64) {
        let date = CivilDate(days: CivilDate.days(seconds))
        return (date, seconds - date.days * 86_400)
    }

    private func clock(_ second: Int64) -> String {
        "\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
    }

    private func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    // MARK: Reading

    /// `20261121T081341Z` only.
    public init?(basic text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 16, bytes[8] == UInt8(ascii: "T"), bytes[15] == UInt8(ascii: "Z") else { return nil }
        self.init(
            year: number(bytes[0..<4]), month: number(bytes[4..<6]), day: number(bytes[6..<8]), hour: number(bytes[9..<11]),
            minute: number(bytes[11..<13]), second: number(bytes[13..<15]))
    }

    /// `2026-11-21`, or with a time as `2026-11-21T08:13:41Z` and up to nine digits of a fraction. UTC only, as S3's XML has it.
    public init?(iso8601 text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count >= 10, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-") else { return nil }
        let (year, month, day) = (number(bytes[0..<4]), number(bytes[5..<7]), number(bytes[8..<10]))
        if bytes.count == 10 {
            self.init(year: year, month: month, day: day, hour: 0, minute: 0, second: 0)
            return
        }
        guard bytes.count >= 20, bytes[10] == UInt8(ascii: "T"), bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":") else {
            return nil
        }
        var rest = bytes[19...]
        var fraction: Int64 = 0
        if rest.first == UInt8(ascii: ".") {
            let digits = rest.dropFirst().prefix { (0x30...0x39).contains($0) }
            guard (1...9).contains(digits.count), let value = number((Array(digits) + [0x30, 0x30]).prefix(3)) else { return nil }
            fraction = value
            rest = rest.dropFirst(1 + digits.count)
        }
        let zone = String(decoding: rest, as: UTF8.self)
        guard zone == "Z" || zone == "+00:00" else { return nil }
        self.init(
            year: year, month: month, day: day, hour: number(bytes[11..<13]), minute: number(bytes[14..<16]), second: number(bytes[17..<19])
        )
        milliseconds += fraction
    }

    /// An HTTP date in any of its three forms: IMF-fixdate, RFC 850 and asctime. `now` places a year of two digits (RFC 9110 §5.6.7).
    public init?(httpDate text: String, now: Timestamp) {
        let words = text.split(separator: " ", omittingEmptySubsequences: true).map { Array($0.utf8) }
        func month(_ bytes: [UInt8]) -> Int64? {
            Self.months.firstIndex { Array($0.utf8) == bytes }.map { Int64($0) + 1 }
        }
        func isWeekday(_ bytes: ArraySlice<UInt8>) -> Bool {
            Self.weekdays.contains { Array($0.utf8) == Array(bytes.prefix(3)) }
        }
        func clock(_ bytes: [UInt8]) -> (Int64?, Int64?, Int64?) {
            guard bytes.count == 8, bytes[2] == UInt8(ascii: ":"), bytes[5] == UInt8(ascii: ":") else { return (nil, nil, nil) }
            return (number(bytes[0..<2]), number(bytes[3..<5]), number(bytes[6..<8]))
        }
        guard let first = words.first, isWeekday(first[...]) else { return nil }
        switch words.count {
        case 6 where words[5] == Array("GMT".utf8) && first.count == 4 && first.last == UInt8(ascii: ","):
            guard words[1].count == 2, words[3].count == 4 else { return nil }
            let (hour, minute, second) = clock(words[4])
            self.init(
                year: number(words[3][...]), month: month(words[2]), day: number(words[1][...]), hour: hour, minute: minute, second: second)
        case 4 where words[3] == Array("GMT".utf8) && first.last == UInt8(ascii: ","):
            let parts = words[1].split(separator: UInt8(ascii: "-")).map { Array($0) }
            guard parts.count == 3, parts[2].count == 2, let short = number(parts[2][...]) else { return nil }
            let (hour, minute, second) = clock(words[2])
            // A date more than fifty years ahead is one of the past century.
            let thisYear = CivilDate(days: CivilDate.days(now.seconds)).year
            var year = thisYear - thisYear % 100 + short
            if year > thisYear + 50 { year -= 100 }
            self.init(year: year, month: month(parts[1]), day: number(parts[0][...]), hour: hour, minute: minute, second: second)
        case 5 where first.count == 3 && words[4].count == 4:
            let (hour, minute, second) = clock(words[3])
            self.init(
                year: number(words[4][...]), month: month(words[1]), day: number(words[2][...]), hour: hour, minute: minute, second: second)
        default: return nil
        }
    }

    private init?(year: Int64?, month: Int64?, day: Int64?, hour: Int64?, minute: Int64?, second: Int64?) {
        guard let year, let month, let day, let hour, let minute, let second, (0...9999).contains(year), (1...12).contains(month),
            (1...31).contains(day), hour < 24, minute < 60, second <= 60
        else { return nil }
        let date = CivilDate(year: year, month: month, day: day)
        // 31 April is 1 May to the arithmetic, and a mistake to everybody else.
        guard CivilDate(days: date.days) == date else { return nil }
        self.init(seconds: date.days * 86_400 + hour * 3600 + minute * 60 + second)
    }
}

/// Digits only, at most 18 of them.
private func number(_ digits: ArraySlice<UInt8>) -> Int64? {
    guard (1...18).contains(digits.count) else { return nil }
    var value: Int64 = 0
    for digit in digits {
        guard (0x30...0x39).contains(digit) else { return nil }
        value = value * 10 + Int64(digit - 0x30)
    }
    return value
}

/// A day of the proleptic Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
private struct CivilDate: Equatable {
    var year: Int64
    var month: Int64
    var day: Int64

    init(year: Int64, month: Int64, day: Int64) {
        self.year = year
        self.month = month
        self.day = day
    }

    static func days(_ seconds: Int64) -> Int64 { seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400 }

    init(days: Int64) {
        let z = days + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shifted + 2) / 5 + 1
        month = shifted < 10 ? shifted + 3 : shifted - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    var days: Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
