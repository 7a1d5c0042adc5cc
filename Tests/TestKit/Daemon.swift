import CLinux
import Foundation
import Linux
import Synchronization

/// One started process: its pid, what it wrote, and what it told its manager.
public final class Daemon: @unchecked Sendable {
    // Used by the thread of its test.

    public enum Exit: Hashable, Sendable {
        case status(Int32)
        case signal(Int32)
    }

    public let name: String
    public let pid: Int32
    public let outputPath: String
    private let pidfd: Descriptor
    /// Read by a thread of its own, as a manager does: a notification blocks its sender while nobody reads (sd_notify(3)).
    private let notify: Descriptor
    private let notifications = Mutex<[String]>([])
    /// Written with every notification, and with the end of them.
    private let news: Int32
    public private(set) var exit: Exit?

    init(name: String, pid: Int32, outputPath: String, notify: consuming Descriptor) throws {
        self.name = name
        self.pid = pid
        self.outputPath = outputPath
        self.notify = notify
        let raw = lh_pidfd_open(pid)
        guard raw >= 0 else { throw TestFailure("pidfd_open \(name) \(pid): errno \(-raw)") }
        pidfd = Descriptor(owning: Int32(raw))
        news = Int32(lh_eventfd())
        let (socket, process) = (self.notify.raw, pidfd.raw)
        Thread.detached("notify") { [self] in readNotifications(socket, until: process) }
    }

    deinit { _ = lh_close(news) }

    private func readNotifications(_ socket: Int32, until process: Int32) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var waits = [pollfd(fd: socket, events: Int16(POLLIN), revents: 0), pollfd(fd: process, events: Int16(POLLIN), revents: 0)]
            _ = poll(&waits, 2, -1)
            let count = lh_recv(socket, &buffer, buffer.count, 0)
            if count > 0 {
                notifications.withLock { $0.append(String(decoding: buffer[..<count], as: UTF8.self)) }
            } else if waits[1].revents == 0 {
                continue
            }
            var one: UInt64 = 1
            _ = lh_write(news, &one, 8)
            // What a process said before it ended was read before this.
            if count <= 0 { return }
        }
    }

    /// Ready for POLLIN when the process has ended.
    public var pidfdNumber: Int32 { pidfd.raw }

    /// Standard output and error so far.
    public var output: String { (try? String(contentsOfFile: outputPath, encoding: .utf8)) ?? "" }

    public var isRunning: Bool { look() == nil }

    public func signal(_ number: Int32) {
        // ESRCH: it has ended, which is what most signals want.
        _ = lh_pidfd_signal(pidfd.raw, number)
    }

    public func kill() throws {
        signal(SIGKILL)
        _ = try waitForExit()
    }

    /// Reaps it if it has ended.
    @discardableResult
    public func look() -> Exit? {
        if exit != nil { return exit }
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
        let signal = status & 0x7f
        exit = signal == 0 ? .status((status >> 8) & 0xff) : .signal(signal)
        return exit
    }

    @discardableResult
    public func waitForExit() throws -> Exit {
        let deadline = Patience.deadline()
        while true {
            if let exit = look() { return exit }
            try waitReady(pidfd.raw, POLLIN, until: deadline, "\(name) (pid \(pid)) to end")
        }
    }

    /// Waits for a notification that contains `text`, such as `READY=1`.
    public func waitForNotification(_ text: String) throws {
        let deadline = Patience.deadline()
        while true {
            let found = notifications.withLock { list in
                guard let index = list.firstIndex(where: { $0.contains(text) }) else { return false }
                list.removeSubrange(...index)
                return true
            }
            if found { return }
            if let exit = look() { throw TestFailure("\(name) ended (\(exit)) before it said \(text):\n\(output)") }
            try waitReady(news, POLLIN, until: deadline, "\(name) to say \(text):\n\(output)")
            var count: UInt64 = 0
            _ = lh_read(news, &count, 8)
        }
    }

    /// Waits until `condition` holds. It is looked at again every few milliseconds, and at once when the process ends.
    public func wait(_ what: String, _ condition: () throws -> Bool) throws {
        let deadline = Patience.deadline()
        while try !condition() {
            guard monotonicNow() < deadline else { throw TestFailure("waited \(Patience.seconds) s for \(what)") }
            guard isRunning else { throw TestFailure("\(name) ended while it was waited for \(what):\n\(output)") }
            var one = pollfd(fd: pidfd.raw, events: Int16(POLLIN), revents: 0)
            _ = poll(&one, 1, 4)
        }
    }
}
