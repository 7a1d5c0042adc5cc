import CLinux
import Linux

/// A pipe that a daemon writes its lines into, read line by line.
final class OutputPipe {
    /// A longer line is cut into several.
    static let longestLine = 16 * 1024

    private let reading: Descriptor
    private let writing: Descriptor
    private var partial: [UInt8] = []
    private let onLine: (ArraySlice<UInt8>) -> Void

    /// What a child gets as its standard output and error.
    var childEnd: Int32 { writing.raw }

    init(on loop: Loop, _ onLine: @escaping (ArraySlice<UInt8>) -> Void) throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        _ = try check(lh_pipe(&ends), "pipe2")
        reading = Descriptor(owning: ends[0])
        writing = Descriptor(owning: ends[1])
        self.onLine = onLine
        // The writing end is shared with programs that expect to wait, not EAGAIN, when we are slow.
        _ = try check(lh_fcntl_block(ends[1]), "fcntl")
        try loop.watch(ends[0], LH_EPOLLIN) { [unowned self] _ in read() }
    }

    /// Takes what is there now; called once more at the end, so that last words are heard.
    func read() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        // Bounded, so that one chatty child cannot keep the loop from the others.
        for _ in 0..<16 {
            let count = lh_read(reading.raw, &buffer, buffer.count)
            guard count > 0 else { return }
            take(buffer[..<count])
        }
    }

    private func take(_ bytes: ArraySlice<UInt8>) {
        var rest = bytes
        while let end = rest.firstIndex(of: 0x0a) {
            partial += rest[..<end]
            onLine(partial[...])
            partial.removeAll(keepingCapacity: true)
            rest = rest[(end + 1)...]
        }
        partial += rest
        if partial.count > Self.longestLine {
            onLine(partial[...])
            partial.removeAll(keepingCapacity: true)
        }
    }
}
