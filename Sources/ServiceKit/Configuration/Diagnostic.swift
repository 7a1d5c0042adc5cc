/// One thing that is wrong with a configuration file: where, what, and what to do about it.
public struct Diagnostic: Hashable, Sendable, CustomStringConvertible {
    public var file: String
    /// From 1; 0 when the error is about the file as a whole.
    public var line: Int
    /// From 1, in Unicode scalars; 0 when the error is about the file as a whole.
    public var column: Int
    /// The key's path, like `pools[0].hold.timeout`; empty when the error is about the file as a whole.
    public var key: String
    public var message: String
    /// What to write or do instead.
    public var remedy: String

    /// `FILE:LINE:COLUMN: error: KEY: MESSAGE; REMEDY`, the form that editors and CI recognise.
    public var description: String {
        let place = line > 0 ? "\(file):\(line):\(column)" : file
        let subject = key.isEmpty ? "" : "\(key): "
        return "\(place): error: \(subject)\(message); \(remedy)"
    }
}

/// A configuration file that cannot be used. The process that meets it ends with ``ExitStatus/configuration``.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Most diagnostics reported at a time: past these, the rest are usually echoes.
    public static let mostDiagnostics = 20

    /// In the order of the file; at most ``mostDiagnostics``.
    public var diagnostics: [Diagnostic]
    /// How many more there were.
    public var omitted: Int

    init(_ all: [Diagnostic]) {
        let sorted = all.sorted { ($0.line, $0.column, $0.key) < ($1.line, $1.column, $1.key) }
        diagnostics = Array(sorted.prefix(Self.mostDiagnostics))
        omitted = max(0, sorted.count - Self.mostDiagnostics)
    }

    /// One line for each diagnostic.
    public var description: String {
        var lines = diagnostics.map(\.description)
        if omitted > 0, let file = diagnostics.first?.file { lines.append("\(file): and \(omitted) more") }
        return lines.joined(separator: "\n")
    }
}
