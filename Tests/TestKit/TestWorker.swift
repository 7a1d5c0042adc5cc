import CLinux
import Foundation
import Linux
import Model
import Synchronization

/// A worker inside the test: raw sockets, a thread for each connection, and a script that says what happens on it.
///
/// Its jobs are what `begin()` and `finish()` say, not what connections do.
public final class TestWorker: @unchecked Sendable {
    // Everything is set before the accepting thread starts and never changes, but for the ledger and `isStopped`, which are locked.

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
            worker.ledger.began(name)
        }

        /// The job of this connection is done.
        public func finish() {
            guard running else { return }
            running = false
            worker.ledger.finished()
        }
    }

    public let address: SocketAddress
    private let listener: Int32
    private let stopping = Gate()
    private let isStopped = Mutex(false)
    /// What the jobs are counted in; several workers may share one, as several ports of one pod do.
    public let ledger: JobLedger

    /// Listens on a port of its own. `backlog` bounds what the kernel accepts on its own; `accepts: false` never accepts.
    public init(
        on host: String = "127.0.0.1", port: UInt16 = 0, backlog: Int32 = 512, ledger: JobLedger = JobLedger(), accepts: Bool = true,
        script: @escaping @Sendable (Visit) throws -> Void
    ) throws {
        guard let wanted = SocketAddress(ip: host, port: port) else { throw TestFailure("not an address: \(host)") }
        var socket = try Sockets.listen(wanted.forKernel, backlog: backlog)
        listener = socket.release()
        guard let bound = SocketAddress(from: lh_local_address(listener)) else { throw TestFailure("no address for a listener") }
        address = bound
        self.ledger = ledger
        if accepts { Thread.detached("worker") { [self] in acceptAll(script) } }
    }

    /// Answers every request with what `respond` says; a job runs from the request's last byte to the answer.
    ///
    /// The connection is kept unless the request or the reply says `Connection: close`.
    public convenience init(
        on host: String = "127.0.0.1", port: UInt16 = 0, ledger: JobLedger = JobLedger(),
        http respond: @escaping @Sendable (HTTPMessage, Visit) throws -> String
    ) throws {
        try self.init(on: host, port: port, ledger: ledger) { visit in
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

    deinit { stop() }

    // MARK: What happened

    public var connections: Int { ledger.counts.connections }
    public var open: Int { ledger.counts.open }
    public var jobs: Int { ledger.counts.jobs }
    public var running: Int { ledger.counts.running }
    public var violations: Int { ledger.counts.violations }
    /// What `begin` was told, in order.
    public var names: [String] { ledger.counts.names }
    /// Scripts that failed, one line each.
    public var troubles: [String] { ledger.counts.troubles }

    /// Waits until the counts are as wanted.
    public func wait(_ what: String, _ condition: (JobLedger.Counts) -> Bool) throws { try ledger.wait(what, condition) }

    /// Stops listening: new connections are refused. Open ones stay.
    public func stop() {
        let isFirst = isStopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard isFirst else { return }
        stopping.open()
        // shutdown(2) ends listening at once, also while the accepting thread still holds the number.
        _ = lh_shutdown(listener, Int32(SHUT_RDWR))
        _ = lh_close(listener)
    }

    private func acceptAll(_ script: @escaping @Sendable (Visit) throws -> Void) {
        while true {
            var waits = [
                pollfd(fd: listener, events: Int16(POLLIN), revents: 0), pollfd(fd: stopping.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&waits, 2, -1) > 0 else { continue }
            if waits[1].revents != 0 { return }
            var peer = lh_address()
            let raw = lh_accept(listener, &peer)
            if raw == Int(-EAGAIN) || raw == Int(-ECONNABORTED) { continue }
            guard raw >= 0 else { return }
            var number = 0
            ledger.changed {
                number = $0.connections
                $0.connections += 1
                $0.open += 1
            }
            let visit = Visit(owning: Int32(raw), number: number, worker: self)
            Thread.detached("visit") { [self] in
                do { try script(visit) } catch { ledger.changed { $0.troubles.append("\(error)") } }
                visit.finish()
                visit.closeInOrder()
                ledger.changed { $0.open -= 1 }
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
