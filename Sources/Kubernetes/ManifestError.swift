/// What is wrong with a document, and where in it: `items[3].endpoints[0].addresses: expected a list`.
public struct ManifestError: Error, Hashable, Sendable, CustomStringConvertible {
    /// From the document's root.
    public var path: [Step]
    public var problem: String

    public init(path: [Step], problem: String) {
        self.path = path
        self.problem = problem
    }

    public enum Step: Hashable, Sendable {
        case field(String)
        case index(Int)
    }

    public var description: String { path.isEmpty ? problem : "\(pathText): \(problem)" }

    /// `items[3].endpoints[0]`; keys that contain dots are quoted.
    public var pathText: String {
        path.reduce(into: "") { text, step in
            switch step {
            case .field(let name):
                if !text.isEmpty { text += "." }
                text += name.contains(".") ? "\"\(name)\"" : name
            case .index(let index): text += "[\(index)]"
            }
        }
    }
}

extension ManifestError {
    /// Says in our words what a decoder found.
    public init(_ error: DecodingError) {
        switch error {
        case .typeMismatch(let type, let context):
            self.init(context, problem: "expected \(Self.words(for: type))")
        case .valueNotFound(let type, let context):
            self.init(context, problem: "is null; expected \(Self.words(for: type))")
        case .keyNotFound(let key, let context):
            self.init(context, adding: key, problem: "is missing")
        case .dataCorrupted(let context):
            self.init(context, problem: context.debugDescription)
        @unknown default:
            self.init(path: [], problem: "\(error)")
        }
    }

    private init(_ context: DecodingError.Context, adding key: (any CodingKey)? = nil, problem: String) {
        let keys = key.map { context.codingPath + [$0] } ?? context.codingPath
        self.init(path: keys.map { key in key.intValue.map(Step.index) ?? .field(key.stringValue) }, problem: problem)
    }

    private static func words(for type: any Any.Type) -> String {
        if type == String.self { return "text" }
        if type == Bool.self { return "true or false" }
        if type is any FixedWidthInteger.Type { return "a whole number" }
        let name = "\(type)"
        // YAML's decoder wants a scalar before it wants a certain one.
        if name == "Scalar" { return "a single value" }
        return name.hasPrefix("Array") || name.contains("Unkeyed") || name.contains("Sequence") ? "a list" : "a mapping"
    }
}
