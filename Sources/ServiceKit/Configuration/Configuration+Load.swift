import Glibc
import Yams

extension Configuration {
    /// Where the file is when nobody says otherwise.
    public static let standardPath = "/etc/leasehold/leasehold.yaml"

    /// A larger file is not a configuration.
    public static let mostBytes = 4 << 20

    /// Reads and checks a configuration file. Every relative path in it starts at the file's own directory.
    public static func load(path: String) throws(ConfigurationError) -> Configuration {
        let bytes: [UInt8]
        switch contents(of: path) {
        case .success(let read): bytes = read
        case .failure(let failure):
            let remedy =
                switch failure.code {
                case ENOENT: "create it, or name another with --config"
                case EACCES, EPERM: "let this user read it, or run as one that may"
                case EISDIR: "name a file in it"
                case EFBIG: "a configuration has at most \(sizeText(mostBytes))"
                default: "check the file system"
                }
            throw ConfigurationError([
                Diagnostic(
                    file: path, line: 0, column: 0, key: "", message: "cannot read it: \(String(cString: strerror(failure.code)))",
                    remedy: remedy)
            ])
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError([
                Diagnostic(file: path, line: 0, column: 0, key: "", message: "is not UTF-8 text", remedy: "save it as UTF-8")
            ])
        }
        return try parse(text, file: path)
    }

    /// Reads and checks the text of a configuration file; `file` is for messages and relative paths.
    public static func parse(_ text: String, file: String) throws(ConfigurationError) -> Configuration {
        var reading = ConfigurationReading(file: file, directory: directory(of: file))
        var configuration = Configuration()
        let root: Node?
        do {
            root = try Parser(yaml: text).singleRoot()
        } catch {
            throw ConfigurationError([Diagnostic(error, file: file)])
        }
        guard let root, !root.isAbsent else {
            throw ConfigurationError([
                Diagnostic(
                    file: file, line: 0, column: 0, key: "", message: "is empty",
                    remedy: "begin with `pools:`; docs/configuration.md has examples")
            ])
        }
        reading.marks[""] = root.mark
        schema.read(root, at: "", into: &configuration, &reading)
        configuration.check(&reading)
        guard reading.diagnostics.isEmpty else { throw ConfigurationError(reading.diagnostics) }
        return configuration
    }

    /// Absolute, so that what is in force does not depend on where a process was started.
    private static func directory(of file: String) -> String {
        var directory = file.lastIndex(of: "/").map { String(file[..<$0]) } ?? "."
        if file.hasPrefix("/") { return normalisedPath(directory) }
        if let here = getcwd(nil, 0) {
            directory = String(cString: here) + "/" + directory
            free(here)
        }
        return normalisedPath(directory)
    }

    private struct ReadFailure: Error { var code: Int32 }

    private static func contents(of path: String) -> Result<[UInt8], ReadFailure> {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return .failure(ReadFailure(code: errno)) }
        // Only read from: closing cannot lose anything.
        defer { _ = close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count == 0 { return .success(bytes) }
            if count < 0 {
                if errno == EINTR { continue }
                return .failure(ReadFailure(code: errno))
            }
            bytes += chunk[..<count]
            if bytes.count > mostBytes { return .failure(ReadFailure(code: EFBIG)) }
        }
    }
}

extension Diagnostic {
    /// What the YAML parser found wrong.
    fileprivate init(_ error: any Error, file: String) {
        self.init(file: file, line: 0, column: 0, key: "", message: "is not YAML", remedy: "check quotes, brackets and indentation")
        guard let error = error as? YamlError else { return }
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            line = mark.line
            column = mark.column
            message = context.map { "\($0.text) (from line \($0.mark.line)): \(problem)" } ?? problem
            if problem.contains("another document") { remedy = "keep one document; remove the line with ---" }
            if problem.contains("cannot start any token") {
                remedy = "indent with spaces, not tabs; quote text that begins with a special character"
            }
            if problem.contains("undefined alias") || context?.text.contains("alias") == true {
                remedy = "quote text that begins with *, like \"*\""
            }
        case .duplicatedKeysInMapping(let duplicates, let context):
            line = context.mark.line
            column = context.mark.column
            message = "the key \(duplicates.sorted().joined(separator: ", ")) stands twice in one section"
            remedy = "keep one of them"
        case .reader(let problem, _, _, _):
            message = problem
            remedy = "save it as UTF-8 text without control characters"
        case .writer(let problem), .emitter(let problem), .representer(let problem):
            message = problem
        case .no, .memory, .dataCouldNotBeDecoded:
            break
        }
    }
}
