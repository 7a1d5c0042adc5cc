import NIOCore
import Synchronization

/// A responder that a trouble stands in the way of.
final class Outlet: Sendable {
    private let responder: Responder
    private let trouble: Trouble?

    private struct State {
        var sent = 0
        var isShut = false
        /// Of a slow answer.
        var queue: [UInt8] = []
        var ends = false
        var isRunning = false
    }
    private let state = Mutex(State())

    init(_ responder: Responder, _ trouble: Trouble?) {
        self.responder = responder
        self.trouble = trouble
    }

    func onClose(_ action: @escaping @Sendable () -> Void) { responder.onClose(action) }
    var eventLoop: any EventLoop { responder.eventLoop }

    func head(_ status: Int, type: String, length: Int? = nil, retryAfter: Int? = nil) {
        responder.head(status, type: type, length: length, retryAfter: retryAfter)
    }

    func whole(_ status: Int, _ body: [UInt8], type: String, retryAfter: Int? = nil) {
        head(status, type: type, length: body.count, retryAfter: retryAfter)
        self.body(body)
        end()
    }

    func body(_ bytes: [UInt8]) {
        switch trouble {
        case .silence(let limit): limited(bytes, limit, thenCut: false)
        case .cut(let limit): limited(bytes, limit, thenCut: true)
        case .slow(let size, let milliseconds):
            let starts = state.withLock { state in
                state.queue += bytes
                defer { state.isRunning = true }
                return !state.isRunning
            }
            if starts { drip(size, milliseconds) }
        case nil, .status, .hang, .emptyWatch, .line: responder.body(bytes)
        }
    }

    func end() {
        switch trouble {
        case .silence: break
        case .slow:
            let endsNow = state.withLock { state in
                state.ends = true
                return !state.isRunning
            }
            if endsNow { responder.end() }
        case nil, .status, .hang, .emptyWatch, .line, .cut: responder.end()
        }
    }

    func close() { responder.close() }

    private func limited(_ bytes: [UInt8], _ limit: Int, thenCut cuts: Bool) {
        let (piece, isLast) = state.withLock { state -> (ArraySlice<UInt8>, Bool) in
            if state.isShut { return ([], false) }
            let piece = bytes.prefix(max(0, limit - state.sent))
            state.sent += piece.count
            state.isShut = state.sent >= limit
            return (piece, state.isShut)
        }
        if !piece.isEmpty { responder.body(piece) }
        if isLast, cuts { responder.close() }
    }

    private func drip(_ size: Int, _ milliseconds: Int64) {
        responder.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { [self] in
            let (piece, ends) = state.withLock { state -> (ArraySlice<UInt8>, Bool) in
                let piece = state.queue.prefix(size)
                state.queue.removeFirst(piece.count)
                if piece.isEmpty { state.isRunning = false }
                return (piece, state.queue.isEmpty && state.ends)
            }
            if !piece.isEmpty { responder.body(piece) }
            if ends { return responder.end() }
            if !piece.isEmpty { drip(size, milliseconds) }
        }
    }
}
