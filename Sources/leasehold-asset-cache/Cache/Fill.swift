import AssetCore
import CLinux
import Linux
import NIOCore
import NIOPosix
import Synchronization

/// A response's body on its way into the store, read meanwhile by everybody who waits for it.
///
/// The first MiB is in memory; what is behind it is read from the file that is being written. When it turns out that the body cannot be
/// kept (too large, no room), it goes on through a window in memory: the origin then waits for the slowest reader.
final class Fill: Sendable {
    let stored: StoredResponse
    /// Bytes of the body, where the origin said so.
    let length: Int64?
    /// Of a part: which bytes of the whole.
    let part: Range<Int64>?
    private let pool: NIOThreadPool
    private let state = Mutex(State())

    private struct State {
        /// From 0 to `memoryEnd`, without gaps.
        var memory: [(start: Int64, bytes: ByteBuffer)] = []
        var memoryEnd: Int64 = 0
        /// Bytes that the file has, from 0.
        var fileEnd: Int64 = 0
        var file: Int32 = -1
        /// Behind the file, when nothing is stored any more.
        var window: [(start: Int64, bytes: ByteBuffer)] = []
        var end: Int64 = 0
        var outcome: Outcome?
        var readers: [Int: Int64] = [:]
        var nextReader = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
        var pump: CheckedContinuation<Void, Never>?
    }

    private enum Outcome { case whole, cut }

    static let mostInMemory: Int64 = 1 << 20
    private static let mostInWindow: Int64 = 1 << 20
    private static let mostRead = 256 << 10

    init(_ stored: StoredResponse, length: Int64?, part: Range<Int64>?, pool: NIOThreadPool) {
        self.stored = stored
        self.length = length
        self.part = part
        self.pool = pool
    }

    deinit {
        let file = state.withLock { $0.file }
        if file >= 0 { _ = lh_close(file) }
    }

    // MARK: Filling

    /// Bytes that came, before they are on disk.
    func add(_ bytes: ByteBuffer) {
        wake { state in
            if state.end == state.memoryEnd, state.end < Self.mostInMemory {
                state.memory.append((state.end, bytes))
                state.memoryEnd += Int64(bytes.readableBytes)
            } else {
                state.window.append((state.end, bytes))
            }
            state.end += Int64(bytes.readableBytes)
        }
    }

    /// The file has so many bytes now; what is in the window below goes.
    func reached(_ fileEnd: Int64) {
        wake { state in
            state.fileEnd = fileEnd
            state.window.removeAll { $0.start + Int64($0.bytes.readableBytes) <= fileEnd }
        }
    }

    /// Where to read behind the memory. Owns it from now on.
    func setFile(_ file: Int32) { state.withLock { $0.file = file } }

    /// Waits until the window has room. False: nobody reads any more.
    func waitForReaders() async -> Bool {
        await withCheckedContinuation { continuation in
            let goesOn = state.withLock { state in
                Self.dropRead(&state)
                if state.readers.isEmpty || Self.inWindow(state) < Self.mostInWindow { return true }
                state.pump = continuation
                return false
            }
            if goesOn { continuation.resume() }
        }
        return state.withLock { !$0.readers.isEmpty }
    }

    private static func inWindow(_ state: State) -> Int64 { state.window.first.map { state.end - $0.start } ?? 0 }

    /// Of the window, what all readers have.
    private static func dropRead(_ state: inout State) {
        let least = state.readers.values.min() ?? state.end
        state.window.removeAll { $0.start + Int64($0.bytes.readableBytes) <= least }
    }

    func finish(isWhole: Bool) { wake { if $0.outcome == nil { $0.outcome = isWhole ? .whole : .cut } } }

    private func wake(_ change: (inout State) -> Void) {
        let waiting = state.withLock { state in
            change(&state)
            defer { state.waiting.removeAll(keepingCapacity: true) }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// The length, once it is known.
    var total: Int64? { length ?? state.withLock { $0.outcome == .whole ? $0.end : nil } }

    // MARK: Reading

    /// One reader, from its first byte on. To be ended.
    func startReading(at offset: Int64) -> Int {
        state.withLock { state in
            state.nextReader += 1
            state.readers[state.nextReader] = offset
            return state.nextReader
        }
    }

    func endReading(_ reader: Int) {
        let pump = state.withLock { state in
            state.readers[reader] = nil
            defer { state.pump = nil }
            return state.pump
        }
        pump?.resume()
    }

    private enum Step {
        case bytes(ByteBuffer)
        case file(Int32, from: Int64, count: Int)
        case wait
        case over
        case cut
    }

    /// The next bytes from `offset`, at most up to `limit`; nil at the end. Throws `cut`.
    func next(_ reader: Int, from offset: Int64, limit: Int64) async throws -> ByteBuffer? {
        while true {
            let (step, pump) = state.withLock { state -> (Step, CheckedContinuation<Void, Never>?) in
                state.readers[reader] = offset
                var pump: CheckedContinuation<Void, Never>?
                if state.pump != nil {
                    Self.dropRead(&state)
                    if Self.inWindow(state) < Self.mostInWindow { swap(&pump, &state.pump) }
                }
                return (Self.step(state, offset, limit), pump)
            }
            pump?.resume()
            switch step {
            case .bytes(let bytes): return bytes
            case .over: return nil
            case .cut: throw OriginFailure.cut
            case .file(let file, let from, let count):
                return try await pool.runIfActive { try Reading.read(file, from..<(from + Int64(count))) }
            case .wait: await waitForMore(offset)
            }
        }
    }

    private static func step(_ state: State, _ offset: Int64, _ limit: Int64) -> Step {
        if offset >= limit { return .over }
        if offset < state.memoryEnd, let bytes = piece(state.memory, offset, limit) { return .bytes(bytes) }
        if let bytes = piece(state.window, offset, limit) { return .bytes(bytes) }
        if offset < state.fileEnd, state.file >= 0 {
            return .file(state.file, from: offset, count: Int(min(min(state.fileEnd, limit) - offset, Int64(mostRead))))
        }
        switch state.outcome {
        case .cut: return .cut
        case .whole: return offset >= state.end ? .over : .cut
        case nil: return offset < state.end ? .cut : .wait
        }
    }

    private static func piece(_ list: [(start: Int64, bytes: ByteBuffer)], _ offset: Int64, _ limit: Int64) -> ByteBuffer? {
        var (low, high) = (0, list.count)
        while low < high {
            let middle = (low + high) / 2
            if list[middle].start + Int64(list[middle].bytes.readableBytes) <= offset { low = middle + 1 } else { high = middle }
        }
        guard low < list.count, list[low].start <= offset else { return nil }
        let (start, bytes) = list[low]
        let skip = Int(offset - start)
        let count = Int(min(Int64(bytes.readableBytes - skip), limit - offset))
        return bytes.getSlice(at: bytes.readerIndex + skip, length: count)
    }

    private func waitForMore(_ offset: Int64) async {
        await withCheckedContinuation { continuation in
            let goesOn = state.withLock { state in
                if state.end > offset || state.outcome != nil { return true }
                state.waiting.append(continuation)
                return false
            }
            if goesOn { continuation.resume() }
        }
    }

    /// The whole body, when it is all in memory.
    var small: ByteBuffer? {
        state.withLock { state in
            guard state.outcome == .whole, state.memoryEnd == state.end else { return nil }
            var all = ByteBufferAllocator().buffer(capacity: Int(state.end))
            for piece in state.memory { all.writeImmutableBuffer(piece.bytes) }
            return all
        }
    }
}
