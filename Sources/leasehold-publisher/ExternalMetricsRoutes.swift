import HTTPTypes
import Hummingbird
import Linux
import Logging
import NIOCore
import PublisherCore
import ServiceKit
import Synchronization
import Systemd

/// Answers for Kubernetes' aggregator, all of them worked out by ``ExternalMetricsAPI`` from the board.
final class ExternalMetricsRoutes: Sendable {
    private let board: Board
    private let api: ExternalMetricsAPI
    private let frontProxy: FrontProxy
    private let logger: Logger
    /// When a refusal was last told, on the monotonic clock.
    private let said = Mutex<Int64?>(nil)

    /// From one line about refusals to the next.
    private static let quiet: Int64 = 60_000_000_000

    init(_ configuration: ExternalMetricsConfiguration, board: Board, logger: Logger) throws {
        self.board = board
        self.logger = logger
        api = ExternalMetricsAPI(mostAge: configuration.maxAge)
        frontProxy = try FrontProxy(configuration, logger: logger)
        board.opensExternalMetrics()
    }

    func responder() -> Door.Responder { { [self] request, channel in await answer(request, channel) } }

    private func answer(_ request: Request, _ channel: any Channel) async -> Response {
        let asker = await frontProxy.asker(request, on: channel)
        let (now, wall) = Board.now()
        let answer = api.answer(
            ExternalMetricsAPI.Request(
                method: request.method.rawValue, target: request.head.path ?? "", accept: request.headers[.accept],
                ifNoneMatch: request.headers[.ifNoneMatch], asker: asker), board.publication, isDraining: board.isDraining, at: now,
            wall: wall)
        if let result = answer.result { board.asked(result) }
        switch asker {
        case .user(let user): logger.debug("Asked by the aggregator", metadata: ["user": "\(user.name)", "status": "\(answer.status)"])
        case .nobody(let why): if answer.status == 401 { tell(why) }
        case .notAllowed(let name): if answer.status == 403 { tell("the name \(name) is not in allowed-names") }
        }
        return Self.response(answer, isHead: request.method == .head)
    }

    private func tell(_ why: String) {
        let now = monotonicNow()
        let isDue = said.withLock { said in
            if let said, now - said < Self.quiet { return false }
            said = now
            return true
        }
        guard isDue else { return }
        logger.warning(
            "Somebody was refused at the External Metrics API",
            metadata: ["problem": "\(why)", LogKey.messageID: "\(MessageID.askerRefused)"])
    }

    private static func response(_ answer: ExternalMetricsAPI.Answer, isHead: Bool) -> Response {
        var headers: HTTPFields = [.contentType: answer.contentType, .cacheControl: "no-cache, private", .xContentTypeOptions: "nosniff"]
        for header in answer.headers {
            if let name = HTTPField.Name(header.name) { headers.append(HTTPField(name: name, value: header.value)) }
        }
        let hasBody = answer.status != 304
        let response = Response(
            status: .init(code: answer.status), headers: headers,
            body: hasBody ? .init(byteBuffer: ByteBuffer(bytes: answer.body)) : .init())
        return isHead ? response.createHeadResponse() : response
    }
}
