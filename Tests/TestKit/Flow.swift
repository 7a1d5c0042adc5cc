import CLinux
import Foundation
import Linux
import Synchronization

/// One direction of a session for as long as the test wants: content by position, sent until told to stop, checked byte for byte.
///
/// A thread at either end. What was sent ends with a FIN, so that a lost tail shows as well as a wrong byte.
public final class Flow: Sendable {
    /// How the receiving side behaves.
    public enum Appetite: Sendable, CaseIterable {
        /// Reads what comes.
        case eager
        /// Reads a little, and goes on when the test says so: buffers are full most of the time.
        case sips
        /// Reads nothing before the end.
        case stuck
    }

    private struct State {
        var sent = 0
        var received = 0
        var sips = 0
        var isStopping = false
        var isSentWhole = false
        var isDone = false
        var trouble: String?
    }

    private let state = Mutex(State())
    private let changes: Int32
    private let stopping = Gate()
    private let seed: Int
    private let appetite: Appetite
    private let most: Int

    /// `most`: the largest single write.
    public init(seed: Int, appetite: Appetite = .eager, most: Int = 256 * 1024) {
        self.seed = seed
        self.appetite = appetite
        self.most = most
        changes = Int32(lh_eventfd())
    }

    deinit { _ = lh_close(changes) }

    public var received: Int { state.withLock { $0.received } }
    public var sent: Int { state.withLock { $0.sent } }
    /// What went wrong, if anything did.
    public var trouble: String? { state.withLock { $0.trouble } }

    private func note(_ change: (inout State) -> Void) {
        state.withLock { change(&$0) }
        var one: UInt64 = 1
        _ = lh_write(changes, &one, 8)
    }

    /// The sender says no more, and whoever holds back reads on.
    public func stop() {
        note { $0.isStopping = true }
        stopping.open()
    }

    /// One who sips takes another sip.
    public func sip() { note { $0.sips += 1 } }

    /// Waits until everything that was sent has come, and its end; nil when every byte was right. `times` the usual patience.
    public func outcome(patience times: Int64 = 1) throws -> String? {
        let deadline = Patience.deadline() + (times - 1) * Int64(Patience.seconds * 1e9)
        while true {
            let now = state.withLock { $0 }
            if let trouble = now.trouble { return trouble }
            if now.isDone && now.isSentWhole { return now.received == now.sent ? nil : "\(now.received) of \(now.sent) bytes came" }
            guard monotonicNow() < deadline else { throw TestFailure("waited too long for a flow to end: \(now)") }
            // Two may wait, and one takes the news: each looks again soon.
            var one = pollfd(fd: changes, events: Int16(POLLIN), revents: 0)
            _ = poll(&one, 1, 5)
            var count: UInt64 = 0
            _ = lh_read(changes, &count, 8)
        }
    }

    // MARK: Sending

    /// In a thread of its own, until ``stop()``; then half-closes. `beforeEnd` is called right before that.
    public func send(on stream: RawStream, beforeEnd: @escaping @Sendable () -> Void = {}) {
        Thread.detached("flow-out") { [self] in
            do { try sendAll(stream, beforeEnd) } catch { note { $0.trouble = $0.trouble ?? "sending: \(error)" } }
            note { $0.isSentWhole = true }
        }
    }

    private func sendAll(_ stream: RawStream, _ beforeEnd: () -> Void) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var position = 0
        while !stopping.isOpen {
            let offset = (position + seed) % Pattern.period
            let length = min(Int.random(in: 1...most, using: &random), Pattern.period - offset)
            var done = 0
            while done < length {
                let count = Pattern.base.withUnsafeBytes { stream.sendSome(UnsafeRawBufferPointer(rebasing: $0[offset + done..<offset + length])) }
                guard count >= 0 else { throw TestFailure("broken at byte \(position + done)") }
                done += count
                if done < length && count == 0 {
                    var waits = [
                        pollfd(fd: stream.descriptor, events: Int16(POLLOUT), revents: 0),
                        pollfd(fd: stopping.descriptor, events: Int16(POLLIN), revents: 0),
                    ]
                    _ = poll(&waits, 2, -1)
                    // What the socket does not take any more was never sent.
                    if stopping.isOpen && waits[0].revents == 0 { break }
                }
            }
            position += done
            note { $0.sent = position }
        }
        beforeEnd()
        stream.halfClose()
    }

    // MARK: Receiving

    /// In a thread of its own, to the end of the stream.
    public func receive(on stream: RawStream) {
        Thread.detached("flow-in") { [self] in
            do { try receiveAll(stream) } catch { note { $0.trouble = $0.trouble ?? "receiving: \(error)" } }
            note { $0.isDone = true }
        }
    }

    private func receiveAll(_ stream: RawStream) throws {
        let size = 64 * 1024
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
        defer { block.deallocate() }
        let early = stream.takeBuffered()
        try early.withUnsafeBytes { try check($0, at: 0) }
        var position = early.count
        note { $0.received = early.count }
        var sips = 0
        while true {
            if appetite != .eager, !stopping.isOpen {
                if appetite == .stuck || state.withLock({ $0.sips }) <= sips {
                    // Looked at again soon: sips are counted, not signalled to this thread.
                    var one = pollfd(fd: stopping.descriptor, events: Int16(POLLIN), revents: 0)
                    _ = poll(&one, 1, 5)
                    continue
                }
                sips += 1
            }
            let count = lh_recv(stream.descriptor, block.baseAddress, appetite == .sips && !stopping.isOpen ? 20_000 : size, 0)
            if count == Int(-EAGAIN) {
                try waitReady(stream.descriptor, POLLIN, "byte \(position) of a flow")
                continue
            }
            guard count >= 0 else { throw TestFailure("cut after byte \(position): errno \(-count)") }
            if count == 0 { return }
            try check(UnsafeRawBufferPointer(rebasing: block[..<count]), at: position)
            position += count
            let received = position
            note { $0.received = received }
        }
    }

    private func check(_ bytes: UnsafeRawBufferPointer, at position: Int) throws {
        var done = 0
        while done < bytes.count {
            let offset = (position + done + seed) % Pattern.period
            let length = min(bytes.count - done, Pattern.period - offset)
            let same = Pattern.base.withUnsafeBytes { memcmp(bytes.baseAddress! + done, $0.baseAddress! + offset, length) == 0 }
            guard same else { throw TestFailure("wrong between byte \(position + done) and \(position + done + length)") }
            done += length
        }
    }
}
