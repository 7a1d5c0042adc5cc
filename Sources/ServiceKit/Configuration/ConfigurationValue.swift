/// A piece of the configuration that is in force, ready to be printed as YAML or JSON.
public indirect enum ConfigurationValue: Hashable, Sendable {
    /// Text that stands for itself: a name, a duration with its unit, an address.
    case text(String)
    case number(Int)
    case flag(Bool)
    case list([ConfigurationValue])
    /// Keys in the order of the reference.
    case mapping([Entry])

    public struct Entry: Hashable, Sendable {
        public var key: String
        public var value: ConfigurationValue
    }

    /// The mapping without the keys at those paths, and without sections that are empty then.
    func without(_ paths: Set<String>, below prefix: String = "") -> ConfigurationValue {
        guard case .mapping(let entries) = self, !paths.isEmpty else { return self }
        return .mapping(
            entries.compactMap { entry in
                guard !paths.contains(prefix + entry.key) else { return nil }
                let value = entry.value.without(paths, below: "\(prefix)\(entry.key).")
                return value == .mapping([]) ? nil : Entry(key: entry.key, value: value)
            })
    }

    /// On one line: `[a, b]`, `{ key: value }`. Valid YAML.
    public var inline: String {
        switch self {
        case .text(let text): Self.yamlText(text)
        case .number(let number): String(number)
        case .flag(let flag): flag ? "true" : "false"
        case .list(let items): "[" + items.map(\.inline).joined(separator: ", ") + "]"
        case .mapping(let entries):
            entries.isEmpty ? "{}" : "{ " + entries.map { "\(Self.yamlText($0.key)): \($0.value.inline)" }.joined(separator: ", ") + " }"
        }
    }

    /// A YAML document, two spaces of indentation.
    public var yaml: String {
        var out = ""
        writeYAML(into: &out, indentation: 0)
        return out
    }

    private func writeYAML(into out: inout String, indentation: Int) {
        switch self {
        case .text, .number, .flag:
            out += inline + "\n"
        case .list(let items):
            for item in items {
                out += String(repeating: " ", count: indentation) + "- "
                item.writeNested(into: &out, indentation: indentation + 2)
            }
        case .mapping(let entries):
            for (i, entry) in entries.enumerated() {
                if i > 0 { out += String(repeating: " ", count: indentation) }
                entry.writeYAML(into: &out, indentation: indentation)
            }
        }
    }

    /// After `- `: the first line stands where the cursor is.
    private func writeNested(into out: inout String, indentation: Int) {
        switch self {
        case .mapping(let entries) where !entries.isEmpty: writeYAML(into: &out, indentation: indentation)
        case .text, .number, .flag, .list, .mapping: out += inline + "\n"
        }
    }

    /// Quoted whenever plain text could be read as something else.
    fileprivate static func yamlText(_ text: String) -> String {
        let plain = text.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || "-_./:".utf8.contains(byte)
        }
        let first = text.utf8.first ?? 0
        let startsPlain = first == UInt8(ascii: "/") || first == UInt8(ascii: ".") || (0x30...0x7a).contains(first)
        let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        if plain, startsPlain, first != UInt8(ascii: ":"), text.utf8.last != UInt8(ascii: ":"), !words.contains(text.lowercased()) {
            return text
        }
        return jsonText(text)
    }

    /// A JSON document without line breaks.
    public var json: String {
        switch self {
        case .text(let text): Self.jsonText(text)
        case .number(let number): String(number)
        case .flag(let flag): flag ? "true" : "false"
        case .list(let items): "[" + items.map(\.json).joined(separator: ",") + "]"
        case .mapping(let entries): "{" + entries.map { Self.jsonText($0.key) + ":" + $0.value.json }.joined(separator: ",") + "}"
        }
    }

    /// A JSON string (RFC 8259 §7), which is a double-quoted YAML scalar too.
    static func jsonText(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case "\r": out += "\\r"
            case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{2028}", "\u{2029}":
                let hex = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}

extension ConfigurationValue.Entry {
    fileprivate func writeYAML(into out: inout String, indentation: Int) {
        switch value {
        case .mapping(let entries) where !entries.isEmpty && !isShort:
            out += "\(ConfigurationValue.yamlText(key)):\n" + String(repeating: " ", count: indentation + 2)
            value.writeEntries(into: &out, indentation: indentation + 2)
        case .list(let items) where items.contains(where: \.isMapping):
            out += "\(ConfigurationValue.yamlText(key)):\n"
            value.writeEntries(into: &out, indentation: indentation + 2)
        case .text, .number, .flag, .list, .mapping:
            out += "\(ConfigurationValue.yamlText(key)): \(value.inline)\n"
        }
    }

    /// A mapping of scalars that fits on its line is easier to read there.
    private var isShort: Bool {
        guard case .mapping(let entries) = value else { return true }
        return entries.allSatisfy { !$0.value.isMapping && !$0.value.isListOfMappings } && value.inline.utf8.count <= 100
    }
}

extension ConfigurationValue {
    fileprivate var isMapping: Bool { if case .mapping = self { true } else { false } }
    fileprivate var isListOfMappings: Bool { if case .list(let items) = self { items.contains(where: \.isMapping) } else { false } }
    fileprivate func writeEntries(into out: inout String, indentation: Int) { writeYAML(into: &out, indentation: indentation) }
}
