import Yams

/// A mapping of a kubeconfig with its place, read key by key. JSON is YAML.
struct YAMLSection {
    let file: String
    /// For messages: `user kubernetes-admin`.
    let name: String
    private let mapping: Node.Mapping
    let line: Int

    init(_ text: String, file: String) throws(AccessError) {
        let node: Node?
        do { node = try Yams.compose(yaml: text) } catch let error as YamlError {
            throw AccessError(Self.place(file, error.line), "is not YAML: \(error.summary)", remedy: "correct it there")
        } catch {
            throw AccessError(file, "is not YAML", remedy: "write it anew with kubectl config view --flatten")
        }
        guard case .mapping(let mapping)? = node else {
            throw AccessError(file, "is no kubeconfig: it holds no mapping", remedy: "name a kubeconfig file")
        }
        self.init(file: file, name: "", mapping: mapping, line: 1)
    }

    private init(file: String, name: String, mapping: Node.Mapping, line: Int) {
        self.file = file
        self.name = name
        self.mapping = mapping
        self.line = line
    }

    static func place(_ file: String, _ line: Int?) -> String { line.map { $0 > 0 ? "\(file):\($0)" : file } ?? file }

    var place: String { Self.place(file, line) }

    /// `FILE:LINE` of a key that is there, else of the section.
    func place(of key: String) -> String { Self.place(file, self[key]?.mark?.line ?? line) }

    private subscript(key: String) -> Node? {
        mapping.first { pair in
            guard case .scalar(let scalar) = pair.key else { return false }
            return scalar.string == key
        }?.value
    }

    func has(_ key: String) -> Bool {
        guard let node = self[key] else { return false }
        if case .scalar(let scalar) = node, scalar.style == .plain || scalar.style == .any, ["", "~", "null"].contains(scalar.string) { return false }
        return true
    }

    /// A text value; nil when it is missing, null or empty.
    func text(_ key: String) throws(AccessError) -> String? {
        guard has(key) else { return nil }
        guard case .scalar(let scalar)? = self[key] else { throw wrong(key, "a text") }
        return scalar.string.isEmpty ? nil : scalar.string
    }

    func flag(_ key: String) throws(AccessError) -> Bool {
        switch try text(key) {
        case nil, "false": return false
        case "true": return true
        case .some: throw wrong(key, "true or false")
        }
    }

    func texts(_ key: String) throws(AccessError) -> [String] {
        guard has(key) else { return [] }
        guard case .sequence(let sequence)? = self[key] else { throw wrong(key, "a list of texts") }
        var out: [String] = []
        for node in sequence {
            guard case .scalar(let scalar) = node else { throw wrong(key, "a list of texts") }
            out.append(scalar.string)
        }
        return out
    }

    /// A section below; nil when it is missing.
    func section(_ key: String, _ name: String? = nil) throws(AccessError) -> YAMLSection? {
        guard has(key) else { return nil }
        guard case .mapping(let inner)? = self[key] else { throw wrong(key, "a section") }
        return YAMLSection(file: file, name: name ?? key, mapping: inner, line: self[key]?.mark?.line ?? line)
    }

    func sections(_ key: String) throws(AccessError) -> [YAMLSection] {
        guard has(key) else { return [] }
        guard case .sequence(let sequence)? = self[key] else { throw wrong(key, "a list") }
        var out: [YAMLSection] = []
        for node in sequence {
            guard case .mapping(let inner) = node else { throw wrong(key, "a list of sections") }
            out.append(YAMLSection(file: file, name: key, mapping: inner, line: node.mark?.line ?? line))
        }
        return out
    }

    private func wrong(_ key: String, _ expected: String) -> AccessError {
        AccessError(place(of: key), "\(name.isEmpty ? "" : "\(name): ")\(key) is not \(expected)", remedy: "write \(expected)")
    }
}

extension YamlError {
    fileprivate var line: Int? {
        switch self {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): mark.line
        default: nil  // open: the library's enum; the others have no place
        }
    }

    /// Without the text around the place, which may be a secret.
    fileprivate var summary: String {
        switch self {
        case .scanner(_, let problem, _, _), .parser(_, let problem, _, _), .composer(_, let problem, _, _): problem
        default: "it cannot be parsed"  // open: as above
        }
    }
}
