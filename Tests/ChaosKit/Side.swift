import CLinux
import Linux
import Model
import TestKit

/// Who a side belongs to: a session's caller or a worker's visit.
protocol Party: AnyObject {
    func received(_ bytes: UnsafeRawBufferPointer, on side: Side)
    /// The other side's bytes ended, or the connection broke; nothing is received after that.
    func ended(_ end: RawStream.End, on side: Side)
    /// Everything that was to be sent is in the socket.
    func sentAll(on side: Side)
}

/// One end of a TCP connection in the arena: sends text and a flow at its pace, receives at its pace.
final class Side {
    private let arena: Arena
    private var id: UInt64 = 0
    private(set) var descriptor: Int32
    private unowned var party: any Party
    private var interest: UInt32?

    // Sending.
    private var text: [UInt8] = []
    private var textSent = 0
    private var flow: Flow?
    private var isChunked = false
    private var piece = 0
    private var nextBurst: Int64 = 0
    private var alarmSet = false
    private var isBlocked = false
    private var hasSentAll = true

    // Receiving.
    /// Whose pace the reading follows; nil reads as it comes.
    var reading: Flow?
    private var sinceStall = 0
    private var isPaused = false
    private var finSeen = false

    /// Takes a connected (or connecting) socket.
    init(_ arena: Arena, owning descriptor: Int32, party: any Party) {
        self.arena = arena
        self.descriptor = descriptor
        self.party = party
        id = arena.enrol(self)
        update()
    }

    /// Begins to connect; a failure is a reset.
    static func connect(_ arena: Arena, to address: SocketAddress, party: any Party, receiveBuffer: Int32?, sendBuffer: Int32?) throws -> Side {
        let raw = lh_socket(AF_INET, Int32(SOCK_STREAM.rawValue))
        guard raw >= 0 else { throw TestFailure("socket: errno \(-raw)") }
        let descriptor = Int32(raw)
        _ = lh_set_option(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        if let receiveBuffer { _ = lh_set_option(descriptor, SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        if let sendBuffer { _ = lh_set_option(descriptor, SOL_SOCKET, SO_SNDBUF, sendBuffer) }
        var system = address.inKernelForm
        let result = lh_connect(descriptor, &system)
        guard result >= 0 || result == Int(-EINPROGRESS) else {
            _ = lh_close(descriptor)
            throw TestFailure("connect \(address): errno \(-result)")
        }
        return Side(arena, owning: descriptor, party: party)
    }

    var isClosed: Bool { descriptor < 0 }

    func close() {
        guard !isClosed else { return }
        arena.interest(descriptor, id, from: interest, to: nil)
        interest = nil
        arena.dismiss(id)
        _ = lh_close(descriptor)
        descriptor = -1
    }

    /// RST.
    func reset() {
        guard !isClosed else { return }
        _ = lh_disconnect(descriptor)
        close()
    }

    func halfClose() {
        guard !isClosed else { return }
        _ = lh_shutdown(descriptor, Int32(SHUT_WR))
    }

    // MARK: Events

    func ready(_ events: UInt32) {
        if events & ~LH_EPOLLOUT != 0, !isClosed {
            // An error or a hang-up is told even to a reader that looks away.
            if isPaused { resume() }
            receive()
        }
        if events & LH_EPOLLOUT != 0, !isClosed, isBlocked {
            isBlocked = false
            pump()
        }
        if !isClosed { update() }
    }

    private func update() {
        var wanted: UInt32 = 0
        if !isPaused && !finSeen { wanted |= LH_EPOLLIN | LH_EPOLLRDHUP }
        if isBlocked { wanted |= LH_EPOLLOUT }
        // A side that wants nothing is not registered: a hang-up would be reported again and again.
        let new: UInt32? = wanted == 0 ? nil : wanted
        arena.interest(descriptor, id, from: interest, to: new)
        interest = new
    }

    // MARK: Receiving

    private func receive() {
        var turns = 0
        while !isClosed, !isPaused, !finSeen, turns < 4 {
            turns += 1
            let paced = arena.hurry ? nil : reading?.pace
            let most = min(arena.buffer.count, paced?.gulp ?? arena.buffer.count)
            let count = lh_recv(descriptor, arena.buffer.baseAddress, most, 0)
            if count == Int(-EAGAIN) { return }
            guard count > 0 else {
                finSeen = true
                update()
                return party.ended(count == 0 ? .fin : .reset, on: self)
            }
            party.received(UnsafeRawBufferPointer(rebasing: arena.buffer[..<count]), on: self)
            guard !isClosed, let paced else { continue }
            sinceStall += count
            if paced.stallAfter > 0, sinceStall >= paced.stallAfter {
                sinceStall = 0
                pause(paced.stall)
            } else if paced.gulpEvery > 0 {
                pause(paced.gulpEvery)
            }
        }
    }

    private func pause(_ time: Int64) {
        isPaused = true
        reading?.reader(isReading: false, at: arena.now)
        update()
        arena.at(arena.now + time) { [self] in
            guard !isClosed, isPaused else { return }
            resume()
            update()
        }
    }

    /// Whoever asks for the next answer has not looked away from it: what it looked away from is over.
    func lookBack() {
        guard isPaused else { return }
        resume()
        update()
    }

    private func resume() {
        isPaused = false
        reading?.reader(isReading: true, at: arena.now)
    }

    // MARK: Sending

    func send(_ string: String) {
        text.append(contentsOf: string.utf8)
        hasSentAll = false
        pump()
    }

    /// Sends `string`, then all of `flow` at its pace.
    func send(_ string: String, then flow: Flow, chunked: Bool) {
        self.flow = flow
        isChunked = chunked
        piece = 0
        nextBurst = 0
        send(string)
    }

    private func pump() {
        while !isClosed, !isBlocked {
            if textSent < text.count {
                let count = text.withUnsafeBytes { lh_send(descriptor, $0.baseAddress! + textSent, $0.count - textSent, 0) }
                guard take(count) else { return }
                textSent += max(0, count)
                if textSent == text.count {
                    text.removeAll(keepingCapacity: true)
                    textSent = 0
                }
            } else if let flow, piece > 0 {
                let count = flow.next(piece) { lh_send(descriptor, $0.baseAddress, $0.count, 0) }
                guard take(count) else { return }
                guard count > 0 else { continue }
                flow.didSend(count, at: arena.now)
                piece -= count
                if piece == 0, isChunked { text.append(contentsOf: "\r\n".utf8) }
            } else if let flow, flow.isSent {
                if isChunked { text.append(contentsOf: "0\r\n\r\n".utf8) }
                self.flow = nil
            } else if let flow {
                if arena.now < nextBurst, !arena.hurry { return wakeForBurst() }
                piece = min(flow.pace.burst, flow.pace.total - flow.sent)
                nextBurst = arena.now + flow.pace.interval
                if isChunked { text.append(contentsOf: "\(String(piece, radix: 16))\r\n".utf8) }
            } else {
                guard !hasSentAll else { return }
                hasSentAll = true
                return party.sentAll(on: self)
            }
        }
    }

    /// False when the connection broke.
    private func take(_ count: Int) -> Bool {
        if count == Int(-EAGAIN) || count == Int(-ENOTCONN) {
            isBlocked = true
            update()
        } else if count < 0 {
            finSeen = true
            update()
            party.ended(.reset, on: self)
            return false
        }
        return true
    }

    private func wakeForBurst() {
        guard !alarmSet else { return }
        alarmSet = true
        arena.at(nextBurst) { [self] in
            alarmSet = false
            pump()
        }
    }
}

extension SocketAddress {
    var inKernelForm: lh_address { lh_address(high: high, low: low, port: port, family: family.rawValue) }
}
