import Yams

/// How the text of one kind of value becomes the value, and back.
struct ValueType<Value: Hashable & Sendable>: Sendable {
    /// As the reference names it: `duration`, `size`, `http | tcp`.
    let name: String
    /// Reports what is wrong itself and then returns nil.
    let read: @Sendable (_ node: Node, _ key: String, _ reading: inout ConfigurationReading) -> Value?
    let render: @Sendable (Value) -> ConfigurationValue
}

extension ValueType {
    /// A value that is one YAML scalar.
    static func scalar(
        _ name: String,
        parse: @escaping @Sendable (_ text: String, _ directory: String) throws(Complaint) -> Value,
        render: @escaping @Sendable (Value) -> ConfigurationValue
    ) -> ValueType {
        ValueType(
            name: name,
            read: { node, key, reading in
                guard case .scalar(let scalar) = node else {
                    reading.complain(
                        at: node.mark, key,
                        Complaint("expected one value (\(name)), found \(node.kindName)", remedy: "write it on the key's own line"))
                    return nil
                }
                if node.isAbsent {
                    reading.complain(
                        at: node.mark, key, Complaint("has no value", remedy: "give it one, or remove the key for its default"))
                    return nil
                }
                do throws(Complaint) {
                    return try parse(scalar.string, reading.directory)
                } catch {
                    reading.complain(at: node.mark, key, error)
                    return nil
                }
            },
            render: render)
    }

    /// One of a few words. `refused` are words that the design knows and this version does not: word and remedy.
    static func choice(_ words: [(String, Value)], refused: [(String, String)] = []) -> ValueType {
        let names = words.map(\.0)
        return .scalar(
            names.joined(separator: " | "),
            parse: { (text, _) throws(Complaint) in
                if let match = words.first(where: { $0.0 == text }) { return match.1 }
                if let known = refused.first(where: { $0.0 == text }) {
                    throw Complaint("\(quoted(text)) is not supported by this version", remedy: known.1)
                }
                let valid = names.joined(separator: ", ")
                if let near = nearestWord(to: text, among: names) {
                    throw Complaint("\(quoted(text)) is not one of \(valid)", remedy: "did you mean \(near)?")
                }
                throw Complaint("\(quoted(text)) is not known here", remedy: names.count == 1 ? "write \(valid)" : "write one of \(valid)")
            },
            render: { value in .text(words.first { $0.1 == value }?.0 ?? "") })
    }

    /// A YAML list of such values. `unique` refuses a second equal one.
    static func list<Item>(of item: ValueType<Item>, unique: Bool = true, atLeast: Int = 0, atMost: Int = 256) -> ValueType
    where Value == [Item] {
        ValueType(
            name: "list of \(item.name.contains(" | ") ? "(\(item.name))" : item.name)",
            read: { node, key, reading in
                guard case .sequence(let sequence) = node else {
                    reading.complain(
                        at: node.mark, key,
                        Complaint(
                            "expected a list, found \(node.isAbsent ? "nothing" : node.kindName)", remedy: "write [a, b], or [] for none"))
                    return nil
                }
                guard (atLeast...atMost).contains(sequence.count) else {
                    let message = sequence.count < atLeast ? "the list is too short" : "the list has \(sequence.count) items"
                    let remedy = sequence.count < atLeast ? "give at least \(atLeast)" : "give at most \(atMost)"
                    reading.complain(at: node.mark, key, Complaint(message, remedy: remedy))
                    return nil
                }
                var items: [Item] = []
                for (i, element) in sequence.enumerated() {
                    let path = "\(key)[\(i)]"
                    reading.marks[path] = element.mark
                    guard let value = item.read(element, path, &reading) else { continue }
                    if unique, items.contains(value) {
                        reading.complain(
                            at: element.mark, path,
                            Complaint("\(item.render(value).inline) is in the list twice", remedy: "remove one of them"))
                    }
                    items.append(value)
                }
                return items
            },
            render: { .list($0.map(item.render)) })
    }
}

/// Text from a file inside a message: control characters escaped, shortened, in quotes.
func quoted(_ text: String) -> String {
    let shown = text.count > 60 ? text.prefix(60) + "…" : text[...]
    return ConfigurationValue.jsonText(String(shown))
}
