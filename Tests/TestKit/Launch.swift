import CLinux
import Foundation
import Linux

/// Starting processes: in a process group of their own that ends with the test, whatever happens to the test.
public enum Launch {
    /// Where the built executables are: LEASEHOLD_BIN, or beside the test bundle.
    public static let bin: String = {
        if let given = ProcessInfo.processInfo.environment["LEASEHOLD_BIN"], !given.isEmpty { return given }
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return (own as NSString).deletingLastPathComponent
    }()

    /// Starts `program` in `group` (0: a new one), with standard output and error in `output` and `descriptors` at 3, 4, ….
    static func start(
        _ program: String, _ arguments: [String], environment: [String: String], input: Int32? = nil, output: String?, group: Int32,
        descriptors: [Int32] = []
    ) throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_addopen(&actions, 1, output ?? "/dev/null", O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // Numbers above the wanted ones first: none of them is overwritten before it was used.
        for (i, descriptor) in descriptors.enumerated() { posix_spawn_file_actions_adddup2(&actions, descriptor, 200 + Int32(i)) }
        for i in descriptors.indices {
            posix_spawn_file_actions_adddup2(&actions, 200 + Int32(i), 3 + Int32(i))
            posix_spawn_file_actions_addclose(&actions, 200 + Int32(i))
        }
        // Nothing else is inherited, whatever libraries in the test process forgot to mark close-on-exec (SwiftNIO's sockets).
        _ = try closeFrom(&actions, 3 + Int32(descriptors.count))
        var noSignals = sigset_t()
        var allSignals = sigset_t()
        sigemptyset(&noSignals)
        sigfillset(&allSignals)
        posix_spawnattr_setsigmask(&attributes, &noSignals)
        posix_spawnattr_setsigdefault(&attributes, &allSignals)
        posix_spawnattr_setpgroup(&attributes, group)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var pid: pid_t = 0
        let result = posix_spawn(&pid, program, &actions, &attributes, &argv, &envp)
        guard result == 0 else { throw TestFailure("cannot start \(program): errno \(result); is it built, and LEASEHOLD_BIN right?") }
        return pid
    }

    /// posix_spawn_file_actions_addclosefrom_np(3), of glibc 2.34 and later, which the headers hide from Swift.
    private static func closeFrom(_ actions: UnsafeMutablePointer<posix_spawn_file_actions_t>, _ first: Int32) throws -> Int32 {
        typealias Function = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32
        guard let address = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np") else { throw TestFailure("glibc is older than 2.34") }
        return unsafeBitCast(address, to: Function.self)(actions, first)
    }

    /// A process group and a directory that vanish with the test process: a guardian waits for the end of a pipe whose other end is
    /// ours alone, then kills the group and whoever else carries the directory's name in its environment (workers of the scaler are
    /// sessions of their own, so that nothing that ends the scaler ends them), and removes the directory.
    final class Guard: @unchecked Sendable {
        // Set in init, closed once.
        let group: Int32
        private let guardian: Int32
        private var pipe: Int32

        init(directory: String) throws {
            var ends: [Int32] = [-1, -1]
            guard lh_pipe(&ends) >= 0 else { throw TestFailure("pipe") }
            // A blocking end for the readers.
            _ = fcntl(ends[0], F_SETFL, 0)
            pipe = ends[1]
            defer { _ = lh_close(ends[0]) }
            group = try Launch.start("/bin/cat", [], environment: [:], input: ends[0], output: nil, group: 0)
            guardian = try Launch.start(
                "/bin/sh", ["-c", Self.script, "guardian", directory, "\(group)"],
                environment: ["PATH": "/usr/bin:/bin"], input: ends[0], output: nil, group: 0)
        }

        private static let script = """
            read _
            kill -9 -- -$2 2>/dev/null
            # One that is being started has no name in /proc yet: nobody must be found three times in a row.
            missed=0 passes=0
            while [ $missed -lt 3 ] && [ $passes -lt 1000 ]; do
                missed=$((missed + 1)) passes=$((passes + 1))
                for file in $(grep -slzxF "LEASEHOLD_FLEET=$1" /proc/[0-9]*/environ); do
                    pid=${file#/proc/}
                    kill -9 ${pid%/environ} 2>/dev/null && missed=0
                done
            done
            rm -rf -- "$1"
            """

        /// Kills what is left and removes the directory.
        func end() {
            guard pipe >= 0 else { return }
            _ = lh_close(pipe)
            pipe = -1
            var status: Int32 = 0
            // Both end at once: the pipe has no writer any more.
            _ = waitpid(group, &status, 0)
            _ = waitpid(guardian, &status, 0)
        }

        deinit { end() }
    }
}
