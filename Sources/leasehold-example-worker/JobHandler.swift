import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// One connection: reads requests, begins a job for each, and hands it to an `Answer`, which ends it.
///
/// The job begins when the head was read and ends when its work is done, also when the caller has left meanwhile.
final class JobHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// Between requests. Leaves to `reading`, `discarding` or `upgraded`.
        case idle
        /// The head was read, the body is coming. Leaves to `answering`.
        case reading(Answer)
        /// The request is whole. Leaves to `idle`.
        case answering(Answer)
        /// Answered before the body came: what still comes is thrown away. Leaves to the end of the connection.
        case discarding
        /// A WebSocket was asked for; its request ends with the next part. Leaves to `upgraded`.
        case upgrading(HTTPRequestHead, Ledger.Job)
        /// The bytes are none of ours any more. Final.
        case upgraded
    }

    private let ledger: Ledger
    private let defaults: Work
    private let alwaysCloses: Bool
    private var state = State.idle
    private var inputClosed = false

    init(ledger: Ledger, defaults: Work, alwaysCloses: Bool) {
        self.ledger = ledger
        self.defaults = defaults
        self.alwaysCloses = alwaysCloses
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .upgraded = state { return context.fireChannelRead(data) }
        switch unwrapInboundIn(data) {
        case .head(let head): begin(head, context)
        case .body(let bytes):
            if case .reading(let answer) = state { answer.checksum.add(bytes) }
        case .end:
            switch state {
            case .reading(let answer):
                state = .answering(answer)
                answer.requestIsWhole()
            case .upgrading(let head, let job): upgrade(head, job, context)
            case .idle, .answering, .discarding, .upgraded: break
            }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .inputClosed? = event as? ChannelEvent else { return context.fireUserInboundEventTriggered(event) }
        inputClosed = true
        switch state {
        case .idle, .reading, .discarding, .upgrading, .upgraded: context.close(promise: nil)
        case .answering(let answer): answer.callerLeft()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        switch state {
        case .reading(let answer), .answering(let answer): answer.callerLeft()
        case .idle, .discarding, .upgrading, .upgraded: break
        }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)  // the peer's fault, or its departure: the connection is over either way
    }

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = String(parts[0])
        if path == "/stats" || path == "/healthz" {
            return answer(Reply(json: ledger.counters.json), to: head, job: nil, work: Work(), context)
        }
        var work = defaults
        do {
            try work.apply(query: parts.count == 2 ? parts[1] : "")
        } catch {
            return answer(Reply(status: 400, text: "\(error)\n"), to: head, job: nil, work: Work(), context)
        }
        if case .refuse(let status)? = work.fault {
            work.isEarly = true
            var reply = Reply(status: status, text: "busy\n")
            reply.headers.add(name: "Leasehold-Busy", value: "1")
            return answer(reply, to: head, job: nil, work: work, context)
        }
        let job = ledger.begin("\(head.method) \(head.uri) \(head.headers.first(name: "Leasehold-Lease") ?? "without a lease")")
        if path == "/echo", work.fault == nil, head.headers[canonicalForm: "upgrade"].contains(where: { $0.lowercased() == "websocket" }) {
            state = .upgrading(head, job)
            return
        }
        var reply = Reply(status: work.status, bytes: work.bytes)
        if work.showsHead {
            let fields = head.headers.map { "\($0): \($1)\n" }.joined()
            reply = Reply(status: work.status, text: "\(head.method) \(head.uri) \(head.version)\n\(fields)")
        } else if path == "/" && parts.count == 1 {
            reply = Reply(json: ledger.counters.json)
        }
        reply.headers.add(contentsOf: head.worker)
        answer(reply, to: head, job: job, work: work, context)
    }

    private func answer(_ reply: Reply, to head: HTTPRequestHead, job: Ledger.Job?, work: Work, _ context: ChannelHandlerContext) {
        let keepsAlive = head.isKeepAlive && !alwaysCloses && !work.isEarly && work.framing != .untilClose && !ledger.isDraining
        let answer = Answer(
            reply, work: work, job: job, ledger: ledger, isHead: head.method == .HEAD, keepsAlive: keepsAlive, channel: context.channel
        ) { [self] answer in
            // A pipelined request may have begun while the end of this answer was written.
            if case .answering(let current) = state, current === answer { state = .idle }
        }
        if work.isEarly {
            state = .discarding
            return answer.requestIsWhole()
        }
        state = .reading(answer)
        if head.headers["Expect"].contains(where: { $0.lowercased() == "100-continue" }) {
            context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
        }
    }

    /// Turns the connection into an echo. The whole session is the job, until the connection is closed.
    private func upgrade(_ request: HTTPRequestHead, _ job: Ledger.Job, _ context: ChannelHandlerContext) {
        let ledger = ledger
        context.channel.closeFuture.whenComplete { _ in
            ledger.end(job)
            ledger.exitIfDrained()
        }
        state = .upgraded
        EchoHandler.install(answering: request, adding: request.worker, context: context)
    }
}

extension HTTPRequestHead {
    /// The fields that every answer to a job carries.
    fileprivate var worker: HTTPHeaders {
        var fields = HTTPHeaders([("Worker-Pid", "\(getpid())")])
        if let lease = headers.first(name: "Leasehold-Lease") { fields.add(name: "Worker-Lease", value: lease) }
        return fields
    }
}

extension Ledger.Counters {
    /// One line of JSON.
    fileprivate var json: String {
        "{\"pid\": \(getpid()), \"jobs\": \(jobs), \"concurrent\": \(concurrent), "
            + "\"concurrentSecondJobs\": \(concurrentSecondJobs), \"maxConcurrent\": \(maxConcurrent)}\n"
    }
}
