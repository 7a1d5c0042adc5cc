import CLinux

/// A child process to be started.
public struct Spawn {
    /// The executable's path; see ``Executable/find(_:)``.
    public var path: String
    /// The first one is the program's name.
    public var arguments: [String]
    /// `NAME=value`.
    public var environment: [String]
    /// Becomes standard output and standard error; nil inherits both. Standard input is /dev/null.
    public var output: Int32?
    /// Becomes standard error where that is not ``output``.
    public var errors: Int32?
    /// Become 3, 4, … in the child; a non-empty list adds LISTEN_FDS and LISTEN_PID to the environment (sd_listen_fds(3)).
    public var passed: [Int32] = []
    /// A session and process group of its own.
    public var newSession = false
    /// The child is sent this signal when the *thread* that started it ends (PR_SET_PDEATHSIG, prctl(2)).
    public var deathSignal: Int32?
    /// Most descriptors that can be passed.
    public static let mostPassed = 64

    public init(path: String, arguments: [String], environment: [String]) {
        self.path = path
        self.arguments = arguments
        self.environment = environment
    }

    /// Starts the process and returns its pid. The error is that of fork or exec; then there is no process.
    public func start() throws(SystemError) -> Int32 {
        var variables = environment
        var ownPid: Int?
        if !passed.isEmpty {
            variables.append("LISTEN_FDS=\(passed.count)")
            ownPid = variables.count
            variables.append("LISTEN_PID=" + String(repeating: " ", count: 12))
        }
        let argv = CStrings(arguments)
        let envp = CStrings(variables)
        let pidText = ownPid.flatMap { envp.pointer[$0] }.map { $0 + "LISTEN_PID=".utf8.count }
        let result = path.withCString { path in
            passed.withUnsafeBufferPointer { passed in
                var what = lh_spawn(
                    path: path, argv: argv.pointer, envp: envp.pointer, output: output ?? -1, errors: errors ?? -1, passed: passed.baseAddress,
                    passed_count: Int32(passed.count), new_session: newSession ? 1 : 0, death_signal: deathSignal ?? 0, own_pid: pidText)
                return lh_spawn_process(&what)
            }
        }
        return Int32(try check(result, "start", path))
    }
}

/// A null-terminated array of C strings, for argv and envp.
final class CStrings {
    let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointer = .allocate(capacity: count + 1)
        for (i, string) in strings.enumerated() { pointer[i] = strdup(string) }
        pointer[count] = nil
    }

    deinit {
        for i in 0..<count { free(pointer[i]) }
        pointer.deallocate()
    }
}

/// Finding programs.
public enum Executable {
    /// The directory of the running program, without a slash at its end; empty when /proc does not tell.
    public static func ownDirectory() -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard length > 0 else { return "" }
        let path = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    /// The path of a program: as it is when it has a slash, else beside the running program, else in PATH; nil when it is nowhere.
    public static func find(_ name: String) -> String? {
        if name.contains("/") { return name }
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
        let directories = [ownDirectory()] + path.split(separator: ":").map(String.init)
        return directories.lazy.filter { !$0.isEmpty }.map { "\($0)/\(name)" }.first { candidate in
            var info = stat()
            return access(candidate, X_OK) == 0 && stat(candidate, &info) == 0 && info.st_mode & 0o170000 == 0o100000
        }
    }
}

/// This process's environment as `NAME=value`.
public func environmentVariables(without names: Set<String> = []) -> [String] {
    var out: [String] = []
    var next = lh_environment()
    while let entry = next?.pointee {
        let text = String(cString: entry)
        if let name = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).first, !names.contains(String(name)) {
            out.append(text)
        }
        next = next?.advanced(by: 1)
    }
    return out
}
