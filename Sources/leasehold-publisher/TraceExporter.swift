import AsyncHTTPClient
import Foundation
import Linux
import Logging
import NIOCore
import NIOPosix
import PublisherCore
import ServiceKit
import Synchronization
import Systemd
import Wire

/// Sends the spans of jobs to a collector: OTLP over HTTP, protobuf, in batches. What the collector does not take in time is dropped and
/// counted; there is no second try, because newer spans are worth more.
final class TraceExporter: Sendable {
    /// Most jobs that wait for the next batch.
    private static let most = 2048
    private static let batch = 256
    private static let rhythm = Duration.milliseconds(500)
    private static let timeout = TimeAmount.seconds(5)

    private let url: String
    private let client: HTTPClient
    private let board: Board
    private let logger: Logger
    private let waiting = Mutex<[SpanEncoder.Ended]>([])

    init(_ configuration: TraceConfiguration, group: MultiThreadedEventLoopGroup, board: Board, logger: Logger) {
        url = configuration.collector + "/v1/traces"
        client = HTTPClient(eventLoopGroup: group)
        self.board = board
        self.logger = logger
        // Lives as long as the process.
        Task { await self.run() }
    }

    /// By the loop that heard of it.
    func add(_ job: JobEnd, pool: String, at now: Int64) {
        let end = Date().timeIntervalSince1970 - job.age.inSeconds
        let ended = SpanEncoder.Ended(job: job, pool: pool, at: UInt64(max(0, end) * 1e9))
        let isTaken = waiting.withLock { waiting in
            guard waiting.count < Self.most else { return false }
            waiting.append(ended)
            return true
        }
        if !isTaken { board.spans(sent: 0, dropped: Self.spans(of: job)) }
    }

    private static func spans(of job: JobEnd) -> Int { job.lease == nil ? 2 : job.session > .zero ? 5 : 4 }

    private func run() async {
        var isAway = false
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.rhythm)  // ends early only when it is cancelled
            while true {
                let jobs = waiting.withLock { waiting in
                    let first = Array(waiting.prefix(Self.batch))
                    waiting.removeFirst(first.count)
                    return first
                }
                if jobs.isEmpty { break }
                let (bytes, spans) = SpanEncoder.encode(jobs, version: Version.current) { UInt64.random(in: 0 ... .max) }
                let problem = await send(bytes)
                board.spans(sent: problem == nil ? spans : 0, dropped: problem == nil ? 0 : spans)
                switch (problem, isAway) {
                case (.some(let problem), false):
                    logger.warning(
                        "The collector of traces does not take spans; they are dropped and counted, continuing",
                        metadata: ["collector": "\(url)", "problem": "\(problem)", LogKey.messageID: "\(MessageID.collectorAway)"])
                case (nil, true): logger.notice("The collector of traces takes spans again", metadata: [LogKey.messageID: "\(MessageID.collectorBack)"])
                case (.some, true), (nil, false): break
                }
                isAway = problem != nil
            }
        }
    }

    /// Nil when the collector took it.
    private func send(_ bytes: [UInt8]) async -> String? {
        do {
            var request = HTTPClientRequest(url: url)
            request.method = .POST
            request.headers.add(name: "Content-Type", value: "application/x-protobuf")
            request.headers.add(name: "User-Agent", value: "leasehold-publisher/\(Version.current)")
            request.body = .bytes(bytes)
            let response = try await client.execute(request, timeout: Self.timeout)
            _ = try await response.body.collect(upTo: 64 * 1024)
            return (200..<300).contains(response.status.code) ? nil : "it answered \(response.status.code)"
        } catch {
            return "\(error)"
        }
    }
}
