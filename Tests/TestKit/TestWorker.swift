import CLinux
import Foundation
import Linux
import Model
import Synchronization

/// A worker inside the test: raw sockets, a thread for each connection, and a script that says what happens on it.
///
/// It counts its jobs, and every job that began while another ran: what `begin()` and `end()` say, not what connections do.
public final class TestWorker: @unchecked Sendable {
    // The counts are behind the mutex; the rest is set before the accepting thread starts and never changes.

    /// One connection, with its place in order of acceptance, from 0.
    public final class Visit: RawStream, @unchecked Sendable {
        public let number: Int
        public let worker: TestWorker
        private var running = false

        init(owning descriptor: Int32, number: Int, worker: TestWorker) {
            self.number = number
            self.worker = worker
            super.init(owning: descriptor)
        }

        /// A job begins here.
        public func begin(_ name: String = "") {
            running = true
            worker.began(name)
        }

        /// The job of this connection is done.
        public func finish() {
            guard running else { return }
            running = false
            worker.finished()
        }
    }

    private struct Counts {
        var connections = 0
        var open = 0
        var jobs = 0
        var running = 0
        var violations = 0
        var most = 0
        var names: [String] = []
        var troubles: [String] = []
        var stopped = false
    }

    public let address: SocketAddress
    private let listener: Int32
    private let stopping = Gate()
    private let slots: Int
    private let counts = Mutex(Counts())
    /// Written once for every change of a count: `wait` polls it.
    private let changes: Int32

    /// Listens on a port of its own. `backlog` bounds what the kernel accepts on its own; `accepts: false` never accepts.
    public init(
        on host: String = "127.0.0.1", port: UInt16 = 0, backlog: Int32 = 512, slots: Int = 1, accepts: Bool = true,
        script: @escaping @Sendable (Visit) throws -> Void
    ) throws {
        guard let wanted = SocketAddress(ip: host, port: port) else { throw TestFailure("not an address: \(host)") }
        var socket = try Sockets.listen(wanted.forKernel, backlog: backlog)
        listener = socket.release()
        guard let bound = SocketAddress(from: lh_local_address(listener)) else { throw TestFailure("no address for a listener") }
        address = bound
        changes = Int32(lh_eventfd())
        self.slots = slots
        if accepts { Thread.detached("worker") { [self] in acceptAll(script) } }
    }

    /// Answers every request with what `respond` says; a job runs from the request's last byte to the answer.
    ///
    /// The connection is kept unless the request or the reply says `Connection: close`.
    public convenience init(
        on host: String = "127.0.0.1", port: UInt16 = 0, slots: Int = 1, http respond: @escaping @Sendable (HTTPMessage, Visit) throws -> String
    ) throws {
        try self.init(on: host, port: port, slots: slots) { visit in
            while true {
                guard let request = try? visit.readRequest() else { return }
                visit.begin(request.target)
                let reply = try respond(request, visit)
                visit.finish()
                try visit.send(reply)
                if request.has("Connection", "close") || reply.lowercased().contains("connection: close") { return }
            }
        }
    }

    deinit {
        stop()
        _ = lh_close(changes)
    }

    // MARK: What happened

    public var connections: Int { counts.withLock { $0.connections } }
    public var open: Int { counts.withLock { $0.open } }
    public var jobs: Int { counts.withLock { $0.jobs } }
    public var running: Int { counts.withLock { $0.running } }
    /// Jobs that began while all slots were taken.
    public var violations: Int { counts.withLock { $0.violations } }
    public var mostAtOnce: Int { counts.withLock { $0.most } }
    /// What `begin` was told, in order.
    public var names: [String] { counts.withLock { $0.names } }
    /// Scripts that failed, one line each.
    public var troubles: [String] { counts.withLock { $0.troubles } }

    /// Waits until the counts are as wanted.
    public func wait(_ what: String, _ condition: (TestWorker) -> Bool) throws {
        let deadline = Patience.deadline()
        while !condition(self) {
            try waitReady(changes, POLLIN, until: deadline, "\(what); \(jobs) jobs, \(running) running, \(connections) connections, \(troubles)")
            var count: UInt64 = 0
            // Only one thread waits for a worker at a time; EAGAIN is the next look.
            _ = lh_read(changes, &count, 8)
        }
    }

    /// Stops listening: new connections are refused. Open ones stay.
    public func stop() {
        let isFirst = counts.withLock { counts in
            defer { counts.stopped = true }
            return !counts.stopped
        }
        guard isFirst else { return }
        stopping.open()
        // shutdown(2) ends listening at once, also while the accepting thread still holds the number.
        _ = lh_shutdown(listener, Int32(SHUT_RDWR))
        _ = lh_close(listener)
    }

    private func changed(_ change: (inout Counts) -> Void) {
        counts.withLock { change(&$0) }
        var one: UInt64 = 1
        _ = lh_write(changes, &one, 8)
    }

    fileprivate func began(_ name: String) {
        changed {
            $0.jobs += 1
            $0.running += 1
            $0.most = max($0.most, $0.running)
            $0.names.append(name)
            if $0.running > slots { $0.violations += 1 }
        }
    }

    fileprivate func finished() { changed { $0.running -= 1 } }

    private func acceptAll(_ script: @escaping @Sendable (Visit) throws -> Void) {
        while true {
            var waits = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0), pollfd(fd: stopping.descriptor, events: Int16(POLLIN), revents: 0)]
            guard poll(&waits, 2, -1) > 0 else { continue }
            if waits[1].revents != 0 { return }
            var peer = lh_address()
            let raw = lh_accept(listener, &peer)
            if raw == Int(-EAGAIN) || raw == Int(-ECONNABORTED) { continue }
            guard raw >= 0 else { return }
            var number = 0
            changed {
                number = $0.connections
                $0.connections += 1
                $0.open += 1
            }
            let visit = Visit(owning: Int32(raw), number: number, worker: self)
            Thread.detached("visit") { [self] in
                do { try script(visit) } catch { changed { $0.troubles.append("\(error)") } }
                visit.finish()
                visit.closeInOrder()
                changed { $0.open -= 1 }
            }
        }
    }
}

extension Thread {
    static func detached(_ name: String, _ work: @escaping @Sendable () -> Void) {
        let thread = Thread(block: work)
        thread.name = name
        thread.stackSize = 512 * 1024
        thread.start()
    }
}

/// Replies as text.
public enum Reply {
    public static func ok(_ body: String = "ok", _ fields: String...) -> String {
        "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n" + fields.map { "\($0)\r\n" }.joined() + "\r\n" + body
    }
}
