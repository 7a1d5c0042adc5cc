import Foundation
import Linux
import Model

/// A `leasehold-example-worker` process, which itself counts every second concurrent job.
public final class ExampleWorker: @unchecked Sendable {
    // Used by the thread of its test.

    public struct Stats: Decodable, Sendable {
        public var pid: Int32
        public var jobs: Int
        public var concurrent: Int
        public var concurrentSecondJobs: Int
        public var maxConcurrent: Int
    }

    public let daemon: Daemon
    public let address: SocketAddress
    public let uid: String

    init(_ fleet: Fleet, _ uid: String, _ options: [String]) throws {
        self.uid = uid
        let ready = "\(fleet.directory)/\(uid).ready"
        let daemon = try fleet.spawn(
            uid, "\(Launch.bin)/leasehold-example-worker",
            ["--port", "0", "--ready-file", ready, "--violations", "\(fleet.directory)/violations"] + options)
        var words: [Substring] = []
        try daemon.wait("\(uid) to listen") {
            // Written at once or not at all, as far as one small write goes: a line with its end is whole.
            let text = (try? String(contentsOfFile: ready, encoding: .utf8)) ?? ""
            words = text.split(whereSeparator: \.isWhitespace)
            return text.hasSuffix("\n") && words.count == 3
        }
        guard let port = UInt16(words[1]), let address = SocketAddress(ip: words[0], port: port) else {
            throw TestFailure("not a ready file: \(words)")
        }
        self.daemon = daemon
        self.address = address
    }

    public var pod: Pod { Pod(uid, at: address) }

    public func stats() throws -> Stats {
        let caller = try RawCaller(to: address)
        try caller.send("GET /stats HTTP/1.1\r\nHost: stats\r\nConnection: close\r\n\r\n")
        return try JSONDecoder().decode(Stats.self, from: Data(caller.readResponse().body))
    }
}

extension Fleet {
    /// Starts so many example workers, named w0, w1, ….
    public func exampleWorkers(_ count: Int, _ options: String...) throws -> [ExampleWorker] {
        try (0..<count).map { try ExampleWorker(self, "w\($0)", options) }
    }

    /// What the example workers wrote of second concurrent jobs, one line each.
    public var violations: [String] {
        let text = (try? String(contentsOfFile: "\(directory)/violations", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }
}
