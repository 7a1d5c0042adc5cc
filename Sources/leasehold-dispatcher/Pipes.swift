import CLinux
import Linux

/// A pipe that carries spliced bytes between two sockets. Its index is its name in escrow and in records.
struct Pipe {
    var index: UInt32
    var read: Int32
    var write: Int32
}

/// The pipes of one loop: made when first needed, put into escrow once, kept for the life of the seat, and lent to a relay while its sink
/// is blocked. What is lent out is empty.
struct Pipes: ~Copyable {
    private var free: [Pipe] = []
    private(set) var all: [Pipe?] = []

    deinit {
        for case let pipe? in all {
            _ = lh_close(pipe.read)
            _ = lh_close(pipe.write)
        }
    }

    /// How many there are.
    private(set) var open = 0

    /// A pipe that was there, or nil: then ``make()`` one.
    mutating func take() -> Pipe? { free.popLast() }

    /// A new one, lent at once; nil when the process is out of descriptors.
    mutating func make() -> Pipe? {
        var ends: (Int32, Int32) = (-1, -1)
        let made = withUnsafeMutablePointer(to: &ends) { pointer in
            pointer.withMemoryRebound(to: Int32.self, capacity: 2) { lh_pipe($0) }
        }
        guard made >= 0 else { return nil }
        // Larger pipes move bulk in fewer calls. Past the user's quota (pipe-user-pages-soft) this fails and 64 KiB do.
        _ = lh_pipe_size(ends.0, 256 * 1024)
        let index = all.firstIndex { $0 == nil } ?? all.count
        let pipe = Pipe(index: UInt32(index), read: ends.0, write: ends.1)
        if index == all.count { all.append(pipe) } else { all[index] = pipe }
        open += 1
        return pipe
    }

    /// A predecessor's pipe, lent out until somebody gives it back; owns both descriptors. False when the index is taken.
    mutating func adopt(_ pipe: Pipe) -> Bool {
        while all.count <= Int(pipe.index) { all.append(nil) }
        guard all[Int(pipe.index)] == nil else { return false }
        all[Int(pipe.index)] = pipe
        open += 1
        return true
    }

    subscript(_ index: UInt32) -> Pipe? { Int(index) < all.count ? all[Int(index)] : nil }

    /// Back to the others. What is left in it is nobody's: it is taken out first.
    mutating func give(_ pipe: Pipe, isEmpty: Bool) {
        if !isEmpty { Self.drain(pipe) }
        free.append(pipe)
    }

    private static func drain(_ pipe: Pipe) {
        withUnsafeTemporaryAllocation(byteCount: 64 * 1024, alignment: 16) { buffer in
            while lh_read(pipe.read, buffer.baseAddress, buffer.count) > 0 {}
        }
    }
}
