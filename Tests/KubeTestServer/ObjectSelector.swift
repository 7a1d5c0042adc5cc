/// `labelSelector` and `fieldSelector` of a request: equality, inequality and sets.
struct ObjectSelector: Sendable {
    private struct Term: Sendable {
        var key: String
        var values: Set<String>
        var isNegated: Bool
    }
    private var labels: [Term]
    private var fields: [Term]

    init(labels: String, fields: String) {
        self.labels = Self.terms(labels)
        self.fields = Self.terms(fields)
    }

    func fits(_ object: TestObject) -> Bool {
        labels.allSatisfy { term in
            let isIn = object.labels[term.key].map(term.values.contains) ?? false
            return isIn != term.isNegated
        }
            && fields.allSatisfy { term in
                let value = term.key == "metadata.name" ? object.key.name : term.key == "metadata.namespace" ? object.key.namespace : ""
                return term.values.contains(value) != term.isNegated
            }
    }

    private static func terms(_ text: String) -> [Term] {
        var parts: [String] = [""]
        var depth = 0
        for character in text {
            if character == "(" { depth += 1 }
            if character == ")" { depth -= 1 }
            if character == ",", depth == 0 { parts.append("") } else { parts[parts.count - 1].append(character) }
        }
        return parts.compactMap { part in
            let words = part.split(separator: " ").map(String.init)
            if words.count >= 3, words[1] == "in" || words[1] == "notin" {
                let list = words[2...].joined().filter { $0 != "(" && $0 != ")" }
                return Term(key: words[0], values: Set(list.split(separator: ",").map(String.init)), isNegated: words[1] == "notin")
            }
            guard let sign = part.firstIndex(of: "=") else { return nil }
            var key = part[..<sign]
            let isNegated = key.hasSuffix("!")
            if isNegated { key.removeLast() }
            let value = part[sign...].drop { $0 == "=" }
            return Term(key: String(key).filter { $0 != " " }, values: [String(value).filter { $0 != " " }], isNegated: isNegated)
        }
    }
}
