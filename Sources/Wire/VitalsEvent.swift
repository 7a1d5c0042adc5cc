/// Something that the journal was told, at notice or above.
public struct VitalsEvent: Hashable, Sendable {
    public enum Level: UInt8, Hashable, Sendable, CaseIterable {
        case notice = 1
        case warning
        case error
        case critical

        public var name: String {
            switch self {
            case .notice: "notice"
            case .warning: "warning"
            case .error: "error"
            case .critical: "critical"
            }
        }
    }

    public struct Fact: Hashable, Sendable {
        public var name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    public var level: Level
    /// Constant text: what varies is in the facts.
    public var text: String
    /// At most ``Bounds/eventFacts``.
    public var facts: [Fact]
    /// Since it happened.
    public var age: Duration

    public init(level: Level, text: String, facts: [Fact] = [], age: Duration = .zero) {
        self.level = level
        self.text = text
        self.facts = facts
        self.age = age
    }

    func encode(into writer: inout ByteWriter) {
        writer.integer(level.rawValue)
        writer.string(text.cut(at: Self.textBytes))
        let kept = facts.prefix(Bounds.eventFacts)
        writer.integer(UInt8(kept.count))
        for fact in kept {
            writer.string(fact.name.cut(at: Bounds.labelBytes))
            writer.string(fact.value.cut(at: Self.textBytes))
        }
        writer.duration(age)
    }

    /// What people read in one line.
    private static let textBytes = 512

    static func decode(from reader: inout ByteReader) throws(WireError) -> VitalsEvent {
        let level = try reader.byte(Level.self, "level")
        let text = try reader.string("event")
        let count = Int(try reader.integer(UInt8.self))
        guard count <= Bounds.eventFacts else { throw .tooLong(field: "facts", count: count) }
        var facts: [Fact] = []
        for _ in 0..<count { facts.append(Fact(name: try reader.string("fact"), value: try reader.string("fact's value"))) }
        return VitalsEvent(level: level, text: text, facts: facts, age: try reader.duration("age"))
    }
}
