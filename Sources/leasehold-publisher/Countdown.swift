import Synchronization

/// Calls back once, after so many steps.
final class Countdown: Sendable {
    private let left: Mutex<Int>
    private let done: @Sendable () -> Void

    init(_ steps: Int, _ done: @escaping @Sendable () -> Void) {
        left = Mutex(steps)
        self.done = done
        if steps == 0 { done() }
    }

    func step() {
        let isLast = left.withLock { left in
            left -= 1
            return left == 0
        }
        if isLast { done() }
    }
}
