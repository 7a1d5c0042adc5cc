/// RFC 9218 urgency: 0 is the most urgent, 7 the least.
public struct Urgency: Hashable, Sendable, Comparable {
    public var rawValue: UInt8

    public init?(rawValue: UInt8) {
        guard rawValue < 8 else { return nil }
        self.rawValue = rawValue
    }

    private init(known rawValue: UInt8) { self.rawValue = rawValue }

    public static let highest = Urgency(known: 0)
    public static let standard = Urgency(known: 3)
    public static func < (a: Urgency, b: Urgency) -> Bool { a.rawValue < b.rawValue }
}
