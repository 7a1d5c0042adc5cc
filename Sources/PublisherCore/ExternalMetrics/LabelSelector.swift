/// A label selector of Kubernetes, as text in a query: `pool in (a, b), !canary`.
///
/// The grammar is that of apimachinery's `labels.Parse`: what a client of Kubernetes sends is read here as its API server reads it.
public struct LabelSelector: Hashable, Sendable {
    /// What one requirement asks of its key.
    public enum Test: Hashable, Sendable {
        /// `=`, `==`, `in`
        case oneOf(Set<String>)
        /// `!=`, `notin`; a label that is not there passes.
        case noneOf(Set<String>)
        case exists
        case absent
        case above(Int64)
        case below(Int64)
    }

    public struct Requirement: Hashable, Sendable {
        public var key: String
        public var test: Test
    }

    /// The text is no selector.
    public struct Malformed: Error, Hashable, CustomStringConvertible {
        public var description: String
    }

    /// All of them are to be met; none: everything matches.
    public private(set) var requirements: [Requirement] = []

    public init(_ text: String) throws(Malformed) {
        var parser = Parser(text)
        requirements = try parser.requirements()
    }

    public func matches(_ labels: [String: String]) -> Bool {
        requirements.allSatisfy { requirement in
            let value = labels[requirement.key]
            switch requirement.test {
            case .oneOf(let values): return value.map(values.contains) ?? false
            case .noneOf(let values): return !(value.map(values.contains) ?? false)
            case .exists: return value != nil
            case .absent: return value == nil
            case .above(let bound): return value.flatMap { Int64($0) }.map { $0 > bound } ?? false
            case .below(let bound): return value.flatMap { Int64($0) }.map { $0 < bound } ?? false
            }
        }
    }
}

extension LabelSelector {
    fileprivate enum Token: Hashable {
        case end, open, close, comma, not, equal, notEqual, above, below, oneOf, noneOf
        case word(String)
        /// Signs that mean nothing.
        case unknown(String)

        var text: String {
            switch self {
            case .end: ""
            case .open: "("
            case .close: ")"
            case .comma: ","
            case .not: "!"
            case .equal: "="
            case .notEqual: "!="
            case .above: ">"
            case .below: "<"
            case .oneOf: "in"
            case .noneOf: "notin"
            case .word(let text), .unknown(let text): text
            }
        }
    }

    fileprivate struct Parser {
        private let bytes: [UInt8]
        private var place = 0

        init(_ text: String) { bytes = Array(text.utf8) }

        // MARK: Tokens

        /// `in` and `notin` are words but where an operator is expected.
        private mutating func next(operators: Bool = false) -> Token {
            while place < bytes.count, Self.isBlank(bytes[place]) { place += 1 }
            guard place < bytes.count else { return .end }
            let start = place
            if Self.isSign(bytes[place]) { return sign() }
            while place < bytes.count, !Self.isBlank(bytes[place]), !Self.isSign(bytes[place]) { place += 1 }
            let word = String(decoding: bytes[start..<place], as: UTF8.self)
            switch (operators, word) {
            case (true, "in"): return .oneOf
            case (true, "notin"): return .noneOf
            default: return .word(word)
            }
        }

        private mutating func sign() -> Token {
            let first = bytes[place]
            let second = place + 1 < bytes.count ? bytes[place + 1] : 0
            place += 1
            switch (first, second) {
            case (UInt8(ascii: "="), UInt8(ascii: "=")), (UInt8(ascii: "!"), UInt8(ascii: "=")):
                place += 1
                return first == UInt8(ascii: "!") ? .notEqual : .equal
            case (UInt8(ascii: "="), _): return .equal
            case (UInt8(ascii: "!"), _): return .not
            case (UInt8(ascii: "("), _): return .open
            case (UInt8(ascii: ")"), _): return .close
            case (UInt8(ascii: ","), _): return .comma
            case (UInt8(ascii: ">"), _): return .above
            case (UInt8(ascii: "<"), _): return .below
            default: return .unknown(String(decoding: [first], as: UTF8.self))
            }
        }

        private func peek() -> Token {
            var copy = self
            return copy.next()
        }

        private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d || byte == 0x0a }
        private static func isSign(_ byte: UInt8) -> Bool { "=!(),><".utf8.contains(byte) }

        // MARK: Grammar

        mutating func requirements() throws(Malformed) -> [Requirement] {
            var out: [Requirement] = []
            if peek() == .end { return [] }
            while true {
                out.append(try requirement())
                switch next() {
                case .end: return out
                case .comma: continue
                case let other: throw Malformed(description: "found '\(other.text)', expected: ',' or 'end of string'")
                }
            }
        }

        private mutating func requirement() throws(Malformed) -> Requirement {
            var token = next()
            let isNegated = token == .not
            if isNegated { token = next() }
            guard case .word(let key) = token else {
                throw Malformed(
                    description: "found '\(token.text)', expected: \(isNegated ? "identifier" : "!, identifier, or 'end of string'")")
            }
            guard Self.isKey(key) else { throw Malformed(description: "'\(key)' is not a valid label key") }
            if isNegated { return Requirement(key: key, test: .absent) }
            switch peek() {
            case .end, .comma: return Requirement(key: key, test: .exists)
            case .open, .close, .not, .equal, .notEqual, .above, .below, .oneOf, .noneOf, .word, .unknown: break
            }
            return Requirement(key: key, test: try test())
        }

        private mutating func test() throws(Malformed) -> Test {
            let sign = next(operators: true)
            switch sign {
            case .equal: return .oneOf([try value()])
            case .notEqual: return .noneOf([try value()])
            case .oneOf: return .oneOf(try values())
            case .noneOf: return .noneOf(try values())
            case .above: return .above(try number())
            case .below: return .below(try number())
            case .end, .open, .close, .comma, .not, .word, .unknown:
                throw Malformed(description: "found '\(sign.text)', expected: in, notin, =, ==, !=, >, <")
            }
        }

        /// After a sign: a word, or nothing.
        private mutating func value() throws(Malformed) -> String {
            switch peek() {
            case .end, .comma: return ""
            case .word(let text):
                _ = next()
                return try Self.checked(text)
            case let other: throw Malformed(description: "found '\(other.text)', expected: identifier")
            }
        }

        private mutating func number() throws(Malformed) -> Int64 {
            let text = try value()
            guard let number = Int64(text) else { throw Malformed(description: "'\(text)' is not a whole number") }
            return number
        }

        /// `(a, b)`; between two commas is the empty value.
        private mutating func values() throws(Malformed) -> Set<String> {
            let first = next()
            guard first == .open else { throw Malformed(description: "found '\(first.text)', expected: '('") }
            var out: Set<String> = []
            var isEmpty = true
            var wantsValue = true
            while true {
                switch next() {
                case .word(let text) where wantsValue:
                    out.insert(try Self.checked(text))
                    (isEmpty, wantsValue) = (false, false)
                case .comma:
                    if wantsValue { out.insert("") }
                    (isEmpty, wantsValue) = (false, true)
                case .close:
                    guard !isEmpty else { throw Malformed(description: "for 'in', 'notin' operators, values set can't be empty") }
                    if wantsValue { out.insert("") }
                    return out
                case let other: throw Malformed(description: "found '\(other.text)', expected: ',' or ')'")
                }
            }
        }

        // MARK: Names

        private static func checked(_ value: String) throws(Malformed) -> String {
            guard value.isEmpty || isName(value[...]) else { throw Malformed(description: "'\(value)' is not a valid label value") }
            return value
        }

        /// A name, perhaps behind a DNS name and a slash.
        private static func isKey(_ key: String) -> Bool {
            let parts = key.split(separator: "/", omittingEmptySubsequences: false)
            guard let name = parts.last, isName(name) else { return false }
            switch parts.count {
            case 1: return true
            case 2:
                let labels = parts[0].split(separator: ".", omittingEmptySubsequences: false)
                return parts[0].utf8.count <= 253
                    && labels.allSatisfy { label in
                        label.utf8.allSatisfy { isLower($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
                            && label.utf8.first.map { $0 != UInt8(ascii: "-") } == true
                            && label.utf8.last != UInt8(ascii: "-")
                    }
            default: return false
            }
        }

        /// At most 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends.
        private static func isName(_ text: Substring) -> Bool {
            guard let first = text.utf8.first, let last = text.utf8.last, text.utf8.count <= 63 else { return false }
            return isAlphanumeric(first) && isAlphanumeric(last) && text.utf8.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) }
        }

        private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
        private static func isLower(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte) }
        private static func isAlphanumeric(_ byte: UInt8) -> Bool { isDigit(byte) || isLower(byte) || (0x41...0x5a).contains(byte) }
    }
}
