import Yams

/// The keys of one section, each bound to its property.
struct Section<Root: Hashable & Sendable>: Sendable {
    /// What a section holds that says nothing: the source of every default.
    let initial: Root
    let keys: [Key<Root>]
    /// What any other key means; nil is an error.
    let named: NamedKeys<Root>?

    /// Keys that would do nothing beside the others, as paths from here: they are not printed.
    let inapplicable: @Sendable (Root) -> [String]

    init(initial: Root, inapplicable: @escaping @Sendable (Root) -> [String] = { _ in [] }, _ declare: (inout KeyTable<Root>) -> Void) {
        var table = KeyTable(initial: initial)
        declare(&table)
        self.initial = initial
        self.inapplicable = inapplicable
        keys = table.keys
        named = table.named
    }

    /// The section's keys and what is below them.
    var documentation: [ConfigurationKey] { keys.flatMap(\.documentation) + (named?.documentation ?? []) }

    /// Applies what the file says to `root`, which begins as ``initial`` or as what `defaults:` gave.
    ///
    /// - Parameter checksRequired: false where `defaults:` may have given what is missing here.
    func read(
        _ node: Node, at path: String, into root: inout Root, _ reading: inout ConfigurationReading, checksRequired: Bool = true,
        onlyDefaults: Bool = false
    ) {
        guard case .mapping(let mapping) = node else {
            let found = node.isAbsent ? "nothing" : node.kindName
            reading.complain(
                at: node.mark, path, Complaint("expected a section, found \(found)", remedy: "write its keys below it, indented"))
            return
        }
        let keys = onlyDefaults ? self.keys.filter { !$0.traits.contains(.individual) } : self.keys
        var refused = false
        for (keyNode, valueNode) in mapping {
            guard case .scalar(let scalar) = keyNode else {
                reading.complain(at: keyNode.mark, path, Complaint("a key is \(keyNode.kindName)", remedy: "write a name and a colon"))
                continue
            }
            if let key = keys.first(where: { $0.name == scalar.string }) {
                refused = refused || key.traits.contains(.refused)
            } else if let named, isNamed(scalar.string, valueNode) {
                guard let name = ValueType<String>.name.read(keyNode, path, &reading) else { continue }
                reading.marks["\(path).\(name)"] = valueNode.isAbsent ? keyNode.mark : valueNode.mark
                named.read(valueNode, name, "\(path).\(name)", &root, &reading)
            } else {
                complainAboutUnknown(scalar.string, among: keys, at: keyNode.mark, path, onlyDefaults, &reading)
                refused = true
            }
        }
        // In the order of the table, so that `defaults` is known before what it is for.
        for key in keys {
            let keyPath = path.isEmpty ? key.name : "\(path).\(key.name)"
            let pair = mapping.first { pair in
                guard case .scalar(let scalar) = pair.key else { return false }
                return scalar.string == key.name
            }
            if let pair {
                reading.marks[keyPath] = pair.value.isAbsent ? pair.key.mark : pair.value.mark
                key.read(pair.value, keyPath, &root, &reading)
            } else if key.traits.contains(.required), checksRequired, !refused {
                let remedy = key.example.isEmpty ? "add it" : "add \(key.name): \(key.example)"
                reading.complain(at: node.mark, path, Complaint("has no \(key.name)", remedy: remedy))
            }
        }
    }

    /// Whether a key that the table does not have names an item: a single value beside a key that looks like it is a misspelt key.
    private func isNamed(_ word: String, _ value: Node) -> Bool {
        guard case .scalar = value else { return true }
        return nearestWord(to: word, among: keys.map(\.name)) == nil
    }

    private func complainAboutUnknown(
        _ word: String, among keys: [Key<Root>], at mark: Mark?, _ path: String, _ onlyDefaults: Bool, _ reading: inout ConfigurationReading
    ) {
        let shown = word.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f } && word.utf8.count <= 60 ? word : quoted(word)
        let key = path.isEmpty ? shown : "\(path).\(shown)"
        if onlyDefaults, self.keys.contains(where: { $0.name == word }) {
            reading.complain(
                at: mark, key, Complaint("this key cannot have a default", remedy: "give it where it belongs, one by one"))
            return
        }
        let names = keys.map(\.name)
        let remedy: String
        if let near = nearestWord(to: word, among: names) {
            remedy = "did you mean \(near)?"
        } else if let deeper = keys.lazy.flatMap(\.documentation).first(where: { $0.path.hasSuffix(".\(word)") && !$0.path.contains("[]") })
        {
            remedy = "did you mean \(deeper.path)?"
        } else {
            remedy = "valid here: \(names.joined(separator: ", "))"
        }
        reading.complain(at: mark, key, Complaint("there is no such key", remedy: remedy))
    }

    /// What is in force, keys in the order of the table.
    func render(_ root: Root) -> ConfigurationValue {
        let entries = keys.compactMap { key in key.render(root).map { ConfigurationValue.Entry(key: key.name, value: $0) } }
        return ConfigurationValue.mapping(entries + (named?.render(root) ?? [])).without(Set(inapplicable(root)))
    }
}

/// What is special about a key.
struct KeyTraits: OptionSet, Sendable {
    let rawValue: Int
    static let required = KeyTraits(rawValue: 1)
    /// A change takes effect only after a restart.
    static let restart = KeyTraits(rawValue: 2)
    /// Belongs to one pool or listener and cannot stand under `defaults`.
    static let individual = KeyTraits(rawValue: 4)
    /// Known from later versions, refused by this one.
    static let refused = KeyTraits(rawValue: 8)
    /// For `protocol: http` listeners only.
    static let http = KeyTraits(rawValue: 16)
    /// For `protocol: tcp` listeners only.
    static let tcp = KeyTraits(rawValue: 32)
}

/// One key: declared once, for reading, printing, comparing and the reference.
struct Key<Root: Hashable & Sendable>: Sendable {
    let name: String
    let traits: KeyTraits
    /// For the remedy of a missing key.
    let example: String
    let read: @Sendable (_ node: Node, _ key: String, _ root: inout Root, _ reading: inout ConfigurationReading) -> Void
    /// Nil: not in force, nothing to print.
    let render: @Sendable (Root) -> ConfigurationValue?
    /// The key itself and what is below it.
    let documentation: [ConfigurationKey]
    /// Paths and values below this key that need a restart.
    let restartValues: @Sendable (_ root: Root, _ key: String) -> [(String, ConfigurationValue)]
}

/// Items of one kind that stand in a section under names of their own, beside its keys.
struct NamedKeys<Root: Hashable & Sendable>: Sendable {
    let read: @Sendable (_ node: Node, _ name: String, _ key: String, _ root: inout Root, _ reading: inout ConfigurationReading) -> Void
    let render: @Sendable (Root) -> [ConfigurationValue.Entry]
    let documentation: [ConfigurationKey]
}

/// One row of the configuration reference.
public struct ConfigurationKey: Hashable, Sendable {
    /// `pools[].hold.timeout`.
    public var path: String
    public var type: String
    /// As the file would write it; empty when the key is required or has no default.
    public var defaultText: String
    public var isRequired: Bool
    /// A change takes effect only after a restart.
    public var needsRestart: Bool
    /// Where else it can stand: under `defaults`.
    public var canHaveDefault: Bool
    /// Empty, or the only listener protocol it is for.
    public var onlyProtocol: String
    public var sentence: String

    /// The same key seen from the section around its own, with what holds for all of that section.
    func below(_ prefix: String, _ traits: KeyTraits) -> ConfigurationKey {
        var copy = self
        copy.path = "\(prefix).\(path)"
        if traits.contains(.individual) { copy.canHaveDefault = false }
        if traits.contains(.http) { copy.onlyProtocol = "http" }
        if traits.contains(.tcp) { copy.onlyProtocol = "tcp" }
        return copy
    }
}

/// The keys of a section while they are being declared, one statement each.
struct KeyTable<Root: Hashable & Sendable> {
    let initial: Root
    var keys: [Key<Root>] = []
    var named: NamedKeys<Root>?
}

extension KeyTable {
    private func row(_ name: String, _ type: String, _ traits: KeyTraits, _ defaultText: String, _ sentence: String) -> ConfigurationKey {
        ConfigurationKey(
            path: name, type: type, defaultText: traits.contains(.required) ? "" : defaultText, isRequired: traits.contains(.required),
            needsRestart: traits.contains(.restart), canHaveDefault: !traits.contains(.individual),
            onlyProtocol: traits.contains(.http) ? "http" : traits.contains(.tcp) ? "tcp" : "", sentence: sentence)
    }

    /// A key with one value, which is always there.
    mutating func value<Value>(
        _ name: String, _ property: WritableKeyPath<Root, Value> & Sendable, _ type: ValueType<Value>,
        traits: KeyTraits = [], example: String = "", absent: String? = nil, _ sentence: String
    ) {
        let key = Key<Root>(
            name: name, traits: traits, example: example,
            read: { node, key, root, reading in
                if let value = type.read(node, key, &reading) { root[keyPath: property] = value }
            },
            render: { root in
                let value = type.render(root[keyPath: property])
                return value == .text("") ? nil : value
            },
            documentation: [row(name, type.name, traits, absent ?? type.render(initial[keyPath: property]).inline, sentence)],
            restartValues: { root, key in traits.contains(.restart) ? [(key, type.render(root[keyPath: property]))] : [] })
        keys.append(key)
    }

    /// A key with one value that may be missing. `absent` tells what holds then; `inForce` prints it.
    mutating func optional<Value>(
        _ name: String, _ property: WritableKeyPath<Root, Value?> & Sendable, _ type: ValueType<Value>, traits: KeyTraits = [],
        absent: String, inForce: (@Sendable (Root) -> Value?)? = nil, _ sentence: String
    ) {
        let effective = inForce ?? { $0[keyPath: property] }
        let key = Key<Root>(
            name: name, traits: traits, example: "",
            read: { node, key, root, reading in
                if let value = type.read(node, key, &reading) { root[keyPath: property] = value }
            },
            render: { effective($0).map(type.render) },
            documentation: [row(name, type.name, traits, absent, sentence)],
            restartValues: { root, key in
                guard traits.contains(.restart), let value = effective(root) else { return [] }
                return [(key, type.render(value))]
            })
        keys.append(key)
    }

    /// Keys below a key.
    mutating func section<Part>(
        _ name: String, _ property: WritableKeyPath<Root, Part> & Sendable, _ section: Section<Part>, traits: KeyTraits = [],
        _ sentence: String
    ) {
        let key = Key<Root>(
            name: name, traits: traits, example: "",
            read: { node, key, root, reading in section.read(node, at: key, into: &root[keyPath: property], &reading) },
            render: { section.render($0[keyPath: property]) },
            documentation: [row(name, "section", traits, "", sentence)]
                + section.documentation.map { $0.below(name, traits) },
            restartValues: { root, key in section.restartValues(root[keyPath: property], key) })
        keys.append(key)
    }

    /// Keys below a key that means something by being there.
    mutating func optionalSection<Part>(
        _ name: String, _ property: WritableKeyPath<Root, Part?> & Sendable, _ section: Section<Part>, traits: KeyTraits = [],
        _ sentence: String
    ) {
        let key = Key<Root>(
            name: name, traits: traits, example: "",
            read: { node, key, root, reading in
                let given = root[keyPath: property]
                var part = given ?? section.initial
                section.read(node, at: key, into: &part, &reading, checksRequired: given == nil)
                root[keyPath: property] = part
            },
            render: { $0[keyPath: property].map(section.render) },
            documentation: [row(name, "section", traits, "", sentence)]
                + section.documentation.map { $0.below(name, traits) },
            restartValues: { root, key in root[keyPath: property].map { section.restartValues($0, key) } ?? [] })
        keys.append(key)
    }

    /// The same, where one word may stand for a section that says nothing.
    mutating func sectionOrWord<Part>(
        _ name: String, _ property: WritableKeyPath<Root, Part?> & Sendable, _ section: Section<Part>, word: String, traits: KeyTraits = [],
        _ sentence: String
    ) {
        optionalSection(name, property, section, traits: traits, sentence)
        guard let whole = keys.popLast() else { return }
        let key = Key<Root>(
            name: name, traits: traits, example: word,
            read: { node, key, root, reading in
                guard case .scalar(let scalar) = node, !node.isAbsent else { return whole.read(node, key, &root, &reading) }
                guard scalar.string == word else {
                    reading.complain(
                        at: node.mark, key, Complaint("\(quoted(scalar.string)) is not known here", remedy: "write \(word), or a section"))
                    return
                }
                root[keyPath: property] = section.initial
            },
            render: whole.render,
            documentation: whole.documentation.map { row in
                var row = row
                if row.path == name { row.type = "\(word) | section" }
                return row
            },
            restartValues: { root, key in
                // Whether it is there at all counts too.
                whole.restartValues(root, key)
            })
        keys.append(key)
    }

    /// Sections under names that the file chooses: every key that is none of the table's. `placeholder` stands for the name in the
    /// reference. Printed in the order of the names.
    mutating func namedSections<Item>(
        _ placeholder: String, _ property: WritableKeyPath<Root, [String: Item]> & Sendable, _ section: Section<Item>, _ sentence: String
    ) {
        named = NamedKeys(
            read: { node, name, key, root, reading in
                section.read(node, at: key, into: &root[keyPath: property][name, default: section.initial], &reading)
            },
            render: { root in
                root[keyPath: property].sorted { $0.key < $1.key }
                    .map { ConfigurationValue.Entry(key: $0.key, value: section.render($0.value)) }
            },
            documentation: [row(placeholder, "section", [], "", sentence)] + section.documentation.map { $0.below(placeholder, []) })
    }

    /// A list of sections, each beginning with `start`.
    mutating func sections<Item>(
        _ name: String, _ property: WritableKeyPath<Root, [Item]> & Sendable, _ section: Section<Item>, traits: KeyTraits = [],
        example: String = "", start: @escaping @Sendable (ConfigurationReading) -> Item,
        label: @escaping @Sendable (Item) -> String?, _ sentence: String
    ) {
        let key = Key<Root>(
            name: name, traits: traits, example: example,
            read: { node, key, root, reading in
                guard case .sequence(let sequence) = node else {
                    let found = node.isAbsent ? "nothing" : node.kindName
                    reading.complain(
                        at: node.mark, key,
                        Complaint("expected a list, found \(found)", remedy: "write its items below it, each after a dash"))
                    return
                }
                for (i, element) in sequence.enumerated() {
                    let path = "\(key)[\(i)]"
                    reading.marks[path] = element.mark
                    var item = start(reading)
                    section.read(element, at: path, into: &item, &reading)
                    root[keyPath: property].append(item)
                }
            },
            render: { root in
                let items = root[keyPath: property]
                return items.isEmpty ? nil : .list(items.map(section.render))
            },
            documentation: [row(name, "list of sections", traits, "", sentence)]
                + section.documentation.map { $0.below("\(name)[]", traits) },
            restartValues: { root, key in
                // Their set and order count as well, where anything in them needs a restart.
                let labels = root[keyPath: property].compactMap(label)
                let below = root[keyPath: property].flatMap { item in
                    label(item).map { section.restartValues(item, "\(key)[\($0)]") } ?? []
                }
                let counts = section.keys.contains { $0.traits.contains(.restart) }
                return (counts ? [(key, .list(labels.map(ConfigurationValue.text)))] : []) + below
            })
        keys.append(key)
    }

    /// A key that the design has and this version does not: refused with what to do instead.
    mutating func refused(_ name: String, remedy: String) {
        let key = Key<Root>(
            name: name, traits: .refused, example: "",
            read: { node, key, _, reading in
                reading.complain(about: key, "is not supported by this version", remedy: remedy)
            },
            render: { _ in nil }, documentation: [], restartValues: { _, _ in [] })
        keys.append(key)
    }
}

extension Section {
    func restartValues(_ root: Root, _ path: String) -> [(String, ConfigurationValue)] {
        keys.flatMap { $0.restartValues(root, path.isEmpty ? $0.name : "\(path).\($0.name)") }
    }
}
