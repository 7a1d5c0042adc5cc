import Yams

/// What one pass over a configuration file has found so far: its errors, and where each key stands.
struct ConfigurationReading {
    let file: String
    /// The directory that relative paths start from: the file's own.
    let directory: String
    var diagnostics: [Diagnostic] = []
    /// Where each value begins that the file itself gives, by path. What only has a default is not in here.
    var marks: [String: Mark] = [:]
    /// What `defaults:` says, to begin each pool and listener with.
    var poolDefaults = PoolConfiguration()
    var listenerDefaults = ListenerConfiguration()

    mutating func complain(at mark: Mark?, _ key: String, _ complaint: Complaint) {
        diagnostics.append(
            Diagnostic(
                file: file, line: mark?.line ?? 0, column: mark?.column ?? 0, key: key, message: complaint.message,
                remedy: complaint.remedy))
    }

    /// About a value that was read: at its own place, or at that of the nearest section around it.
    mutating func complain(about key: String, _ message: String, remedy: String) {
        complain(at: mark(of: key), key, Complaint(message, remedy: remedy))
    }

    /// Whether the file as a whole is no section, or a key at its top is misspelt: what seems missing may be just that.
    var hasUnknownKeys: Bool {
        diagnostics.contains { $0.key.isEmpty || ($0.message == "there is no such key" && !$0.key.contains(".")) }
    }

    func isGiven(_ key: String) -> Bool { marks[key] != nil }

    private func mark(of key: String) -> Mark? {
        var path = key[...]
        while true {
            if let mark = marks[String(path)] { return mark }
            guard let cut = path.lastIndex(where: { $0 == "." || $0 == "[" }) else { return marks[""] }
            path = path[..<cut]
        }
    }
}

/// What is wrong with one value, and what to write instead.
struct Complaint: Error {
    var message: String
    var remedy: String

    init(_ message: String, remedy: String) {
        self.message = message
        self.remedy = remedy
    }
}

extension Node {
    /// A key without a value, or a plain `null` or `~`.
    var isAbsent: Bool {
        guard case .scalar(let scalar) = self else { return false }
        return scalar.style != .singleQuoted && scalar.style != .doubleQuoted && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    /// For messages: what kind of thing stands here.
    var kindName: String {
        switch self {
        case .scalar: "a single value"
        case .mapping: "a section"
        case .sequence: "a list"
        case .alias: "an alias"
        }
    }
}
