import CLinux
import Foundation
import Linux

/// One run of a credential plug-in: bounded in time and output, with nothing of it left behind.
struct PluginRun: Sendable {
    let plugin: ExecPlugin
    /// Ours, which the plug-in's own adds to.
    let environment: [String: String]
    let timeout: Duration

    /// client-go waits for ever; a watcher must not.
    static let timeout = Duration.seconds(60)
    /// Larger than any credential.
    static let outputLimit = 1 << 20
    static let errorsLimit = 4 << 10

    /// What it wrote to standard output, when it ended with status 0.
    func output() async throws(AccessError) -> [UInt8] {
        let result: Result<[UInt8], AccessError> = await withCheckedContinuation { continuation in
            // Blocks for as long as the program runs: no thread of the pool's.
            Thread.detachNewThread {
                let outcome: Result<[UInt8], AccessError>
                do throws(AccessError) { outcome = .success(try run()) } catch { outcome = .failure(error) }
                continuation.resume(returning: outcome)
            }
        }
        return try result.get()
    }

    private var name: String { (plugin.command as NSString).lastPathComponent }

    private func failure(_ problem: String, remedy: String = "run it by hand as this user and look at what it prints") -> AccessError {
        AccessError(plugin.place, "the credential plug-in \(name) \(problem)", remedy: plugin.installHint.map { "\(remedy) (\($0.oneLine))" } ?? remedy)
    }

    private func run() throws(AccessError) -> [UInt8] {
        guard let path = Executable.find(plugin.command) else {
            throw failure("is not in PATH", remedy: "install it, or give its path as command")
        }
        var all = environment
        all.merge(plugin.environment) { $1 }
        all["KUBERNETES_EXEC_INFO"] = plugin.info
        var spawn = Spawn(path: path, arguments: [plugin.command] + plugin.arguments, environment: all.map { "\($0.key)=\($0.value)" })
        spawn.newSession = true
        let ended: Ended
        do throws(SystemError) {
            var output = try Pipe()
            var errors = try Pipe()
            spawn.output = output.write.raw
            spawn.errors = errors.write.raw
            let pid = try spawn.start()
            output.write.close()
            errors.write.close()
            ended = wait(pid, output.read.raw, errors.read.raw)
        } catch {
            throw failure("cannot be run: \(String(cString: strerror(error.errno)))", remedy: "make \(path) executable for this user")
        }
        switch ended.reason {
        case .tooSlow: throw failure("did not answer within \(timeout.components.seconds) s")
        case .tooMuch: throw failure("wrote more than \(Self.outputLimit >> 20) MiB")
        case .status(0): return ended.output
        case .status(let status):
            let words = ended.lastWords
            throw failure(
                status < 0 ? "was killed by signal \(-status)" : "ended with status \(status)\(words.isEmpty ? "" : ": \(words)")",
                remedy: "log in with it again, or run it by hand as this user")
        }
    }

    private struct Ended {
        enum Reason {
            /// As of exit(3); a signal negated.
            case status(Int32)
            case tooSlow
            case tooMuch
        }
        var reason: Reason
        var output: [UInt8]
        /// The last line of what it wrote to standard error.
        var lastWords: String
    }

    private struct Pipe: ~Copyable {
        var read: Descriptor
        var write: Descriptor

        init() throws(SystemError) {
            var ends: [Int32] = [-1, -1]
            _ = try check(lh_pipe(&ends), "pipe2")
            read = Descriptor(owning: ends[0])
            write = Descriptor(owning: ends[1])
            // The child's end: programs expect one that blocks. It cannot fail for a pipe that is there.
            _ = lh_fcntl_block(ends[1])
        }
    }

    /// Reads both pipes until the program has ended, and reaps it. What it started lives in its session and is killed with it.
    private func wait(_ pid: Int32, _ output: Int32, _ errors: Int32) -> Ended {
        let pidfd = Descriptor(owning: Int32(clamping: lh_pidfd_open(pid)))
        let deadline = monotonicNow() + timeout.wholeNanoseconds
        var (out, err): ([UInt8], [UInt8]) = ([], [])
        var reason: Ended.Reason?
        while reason == nil {
            var waits = [output, errors, pidfd.raw].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            let left = (deadline - monotonicNow()) / 1_000_000
            if left <= 0 {
                reason = .tooSlow
                break
            }
            _ = poll(&waits, 3, Int32(clamping: left))
            Self.drain(output, into: &out)
            Self.drain(errors, into: &err)
            if err.count > Self.errorsLimit { err.removeFirst(err.count - Self.errorsLimit) }
            if out.count > Self.outputLimit { reason = .tooMuch }
            if waits[2].revents != 0 { break }
            // A pipe whose other end is closed stays ready: only the end of the process is left to wait for.
            if waits[0].revents == Int16(POLLHUP), waits[1].revents == Int16(POLLHUP) {
                var end = pollfd(fd: pidfd.raw, events: Int16(POLLIN), revents: 0)
                _ = poll(&end, 1, Int32(clamping: left))
            }
        }
        // The group also holds whatever it left in the background with our pipes.
        _ = lh_kill(-pid, SIGKILL)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        Self.drain(output, into: &out)
        let signal = status & 0x7f
        let words = String(decoding: err, as: UTF8.self).split(whereSeparator: \.isNewline).last.map { String($0.prefix(300)).oneLine }
        return Ended(reason: reason ?? .status(signal == 0 ? (status >> 8) & 0xff : -signal), output: out, lastWords: words ?? "")
    }

    private static func drain(_ descriptor: Int32, into bytes: inout [UInt8]) {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while bytes.count <= outputLimit {
            let count = lh_read(descriptor, &buffer, buffer.count)
            // 0 is its end, everything else means later.
            guard count > 0 else { return }
            bytes += buffer[..<count]
        }
    }
}

extension Duration {
    var wholeNanoseconds: Int64 {
        let (seconds, overflow) = components.seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : seconds &+ components.attoseconds / 1_000_000_000
    }
}

extension String {
    /// Control characters made visible.
    var oneLine: String {
        guard unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else { return self }
        return unicodeScalars.map { $0.properties.generalCategory == .control ? "\\u{\(String($0.value, radix: 16))}" : String($0) }.joined()
    }
}
