import CLinux
import Linux

/// A pipe that carries spliced bytes between two sockets.
struct Pipe {
    var read: Int32
    var write: Int32
}

/// Empty pipes, kept for the next relay that needs one; at most ``kept``, the rest is closed.
struct Pipes: ~Copyable {
    private var free: [Pipe] = []
    private(set) var open = 0
    private let kept = 128

    deinit { for pipe in free { Pipes.close(pipe) } }

    /// A pipe, or nil when the process is out of descriptors.
    mutating func take() -> Pipe? {
        if let pipe = free.popLast() { return pipe }
        var ends: (Int32, Int32) = (-1, -1)
        let made = withUnsafeMutablePointer(to: &ends) { pointer in
            pointer.withMemoryRebound(to: Int32.self, capacity: 2) { lh_pipe($0) }
        }
        guard made >= 0 else { return nil }
        open += 1
        // Larger pipes move bulk in fewer calls. Past the user's quota (pipe-user-pages-soft) this fails and 64 KiB do.
        _ = lh_pipe_size(ends.0, 256 * 1024)
        return Pipe(read: ends.0, write: ends.1)
    }

    /// Gives back a pipe; one that still holds bytes is closed, since they are nobody's.
    mutating func give(_ pipe: Pipe, isEmpty: Bool) {
        if isEmpty && free.count < kept {
            free.append(pipe)
        } else {
            Pipes.close(pipe)
            open -= 1
        }
    }

    private static func close(_ pipe: Pipe) {
        _ = lh_close(pipe.read)
        _ = lh_close(pipe.write)
    }
}
