import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// What an answer says, before it is known how it is told.
struct Reply {
    var status: Int
    var headers = HTTPHeaders()
    /// A given text; the generated content where there is none.
    var text: ByteBuffer?
    /// Bytes of the body.
    var bytes: Int

    init(status: Int, bytes: Int) {
        self.status = status
        self.bytes = bytes
        headers.add(name: "Content-Type", value: "application/octet-stream")
    }

    init(status: Int, text: String) {
        self.status = status
        self.text = ByteBuffer(string: text)
        bytes = text.utf8.count
        headers.add(name: "Content-Type", value: "text/plain")
    }

    init(json: String) {
        self.init(status: 200, text: json)
        headers.replaceOrAdd(name: "Content-Type", value: "application/json")
    }
}

/// One answer on its way: waits, writes, misbehaves as told, and ends the job.
///
/// Lives on its channel's event loop, and as long as its work: longer than the connection where the work lingers.
/// A job ends in the same turn of the loop that gives the last byte to the kernel, or just before it, so that whoever sees
/// that byte and sends the next job at once is no violation.
final class Answer {
    private static let dribbles = 16

    private let reply: Reply
    private let work: Work
    private let job: Ledger.Job?
    private let ledger: Ledger
    private let isHead: Bool
    private let channel: any Channel
    private let onEnd: (Answer) -> Void
    private var keepsAlive: Bool
    private var content: Content
    private var timer: Scheduled<Void>?
    private var isOver = false
    private var callerIsGone = false

    /// Of the request's body. The caller of this type adds to it until the request is whole.
    var checksum = Checksum()

    init(
        _ reply: Reply, work: Work, job: Ledger.Job?, ledger: Ledger, isHead: Bool, keepsAlive: Bool, channel: any Channel,
        onEnd: @escaping (Answer) -> Void
    ) {
        self.reply = reply
        self.work = work
        self.job = job
        self.ledger = ledger
        self.isHead = isHead
        self.keepsAlive = keepsAlive
        self.channel = channel
        self.onEnd = onEnd
        content = Content(bytes: reply.bytes)
    }

    /// The request was read as far as it needs to be: the work begins.
    func requestIsWhole() {
        guard job != nil else { return writeHead() }
        if work.fault == .hang { return work.milliseconds > 0 ? after(work.milliseconds) { self.finish() } : () }
        if work.dribbles { return writeHead() }
        if work.milliseconds == 0 { return work.fault == .crashBefore ? crash() : writeHead() }
        after(work.milliseconds) { self.work.fault == .crashBefore ? self.crash() : self.writeHead() }
    }

    /// The caller will read no answer, or at least send nothing more. Work that lingers goes on.
    func callerLeft() {
        callerIsGone = !channel.isActive
        keepsAlive = false
        if !work.lingers || timer == nil && callerIsGone { finish() }
    }

    private func writeHead() {
        var headers = reply.headers
        if work.framing == .contentLength { headers.add(name: "Content-Length", value: "\(reply.bytes)") }
        headers.add(name: "Connection", value: keepsAlive ? "keep-alive" : "close")
        if job != nil { headers.add(name: "Worker-Body", value: "\(checksum.bytes) \(checksum.value)") }
        if work.hasTrailer { headers.add(name: "Trailer", value: "Worker-Trailer") }
        let version = work.framing == .untilClose ? HTTPVersion.http1_0 : .http1_1
        let head = HTTPResponseHead(version: version, status: HTTPResponseStatus(statusCode: reply.status), headers: headers)
        channel.write(HTTPServerResponsePart.head(head), promise: nil)
        if let text = reply.text, !isHead {
            channel.write(HTTPServerResponsePart.body(.byteBuffer(text)), promise: nil)
        }
        if isHead || reply.text != nil { return writeEnd() }
        if work.dribbles || work.fault != nil { channel.flush() }
        writePiece()
    }

    /// The next piece of generated content, one in flight at a time, so that a slow reader bounds our memory.
    private func writePiece() {
        guard !isOver else { return }
        var most = work.dribbles ? max(1, reply.bytes / Self.dribbles) : Int.max
        let sent = reply.bytes - content.left
        switch work.fault {
        case .crash? where sent >= reply.bytes / 2: return crash()
        case .crash?: most = min(most, reply.bytes / 2 - sent)
        case .cut(let limit)? where sent >= min(limit, reply.bytes): return cut()
        case .cut(let limit)?: most = min(most, limit - sent)
        case .crashBefore?, .hang?, .refuse?, nil: break
        }
        guard let piece = content.next(most: most) else { return writeEnd() }
        let pause = work.dribbles ? max(1, work.milliseconds / Self.dribbles) : 0
        write(.body(.byteBuffer(piece))) { written in
            if pause > 0 { return self.after(pause) { self.writePiece() } }
            guard written else { return self.finish() }
            if self.content.left == 0 && self.work.fault == nil { return self.writeEnd() }
            self.channel.eventLoop.assumeIsolated().execute { self.writePiece() }
        }
    }

    /// The work is done; at most the end of the framing is still to be written, and with it the caller may send the next job.
    private func writeEnd() {
        if let job { ledger.end(job) }
        write(.end(work.hasTrailer ? ["Worker-Trailer": "1"] : nil)) { _ in self.finish() }
    }

    private func write(_ part: HTTPServerResponsePart, then next: @escaping (Bool) -> Void) {
        channel.writeAndFlush(part).assumeIsolated().whenComplete { result in
            switch result {
            case .success: next(true)
            case .failure: next(false)
            }
        }
    }

    private func after(_ milliseconds: Int, _ next: @escaping () -> Void) {
        let scheduled = channel.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(milliseconds))) {
            self.timer = nil
            next()
        }
        timer = scheduled
    }

    /// What was written so far is in the kernel; the rest never comes.
    private func crash() {
        channel.flush()
        _exit(70)
    }

    /// Ends the connection in the middle of the body.
    private func cut() {
        keepsAlive = false
        if work.resets, let socket = channel as? any SocketOptionProvider {
            socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).assumeIsolated().whenComplete { _ in self.finish() }
        } else {
            finish()
        }
    }

    private func finish() {
        guard !isOver else { return }
        isOver = true
        timer?.cancel()
        if let job { ledger.end(job) }
        onEnd(self)
        if keepsAlive { return ledger.exitIfDrained() }
        let ledger = ledger
        if work.isEarly && !callerIsGone {
            // The request's body is still coming: a close would become a reset and could take our answer with it.
            channel.close(mode: .output, promise: nil)
            let channel = channel
            channel.eventLoop.assumeIsolated().scheduleTask(in: .seconds(2)) { channel.close(promise: nil) }
            return ledger.exitIfDrained()
        }
        channel.close().whenComplete { _ in ledger.exitIfDrained() }
    }
}
