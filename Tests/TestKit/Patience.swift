import CLinux
import Linux

/// How long a test waits for any one event before it calls it a failure. Nothing waits this long when all is well.
public enum Patience {
    /// LEASEHOLD_PATIENCE multiplies it, for machines that are slower than a loaded one with two cores.
    public static let seconds: Double = 30 * (getenv("LEASEHOLD_PATIENCE").flatMap { Double(String(cString: $0)) } ?? 1)

    /// The monotonic instant at which a wait that begins now has failed.
    public static func deadline() -> Int64 { monotonicNow() + Int64(seconds * 1e9) }
}

/// What a test found, in one line.
public struct TestFailure: Error, CustomStringConvertible, Sendable {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// Waits until a descriptor is ready for one of `events` (poll(2)) and returns what it is ready for.
@discardableResult
public func waitReady(
    _ descriptor: Int32, _ events: Int32, until deadline: Int64 = Patience.deadline(), _ what: @autoclosure () -> String
) throws(TestFailure) -> Int32 {
    while true {
        var one = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        let left = deadline - monotonicNow()
        // EINTR is seen by the next look at the clock.
        if poll(&one, 1, Int32(clamping: max(0, (left + 999_999) / 1_000_000))) > 0 { return Int32(one.revents) }
        guard monotonicNow() < deadline else { throw TestFailure("waited \(Patience.seconds) s for \(what())") }
    }
}

/// What one thread tells others: closed until it is opened, then open for ever.
public final class Gate: Sendable {
    private let event: Int32

    public init() { event = Int32(lh_eventfd()) }

    deinit { _ = lh_close(event) }

    public func open() {
        var one: UInt64 = 1
        // EAGAIN: it is open ten times over.
        _ = lh_write(event, &one, 8)
    }

    /// Ready for POLLIN once the gate is open.
    public var descriptor: Int32 { event }

    public func wait(_ what: @autoclosure () -> String = "a gate") throws(TestFailure) { try waitReady(event, POLLIN, what()) }
}

extension Gate {
    /// Whether it is open now.
    public var isOpen: Bool {
        var one = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&one, 1, 0) > 0
    }
}
