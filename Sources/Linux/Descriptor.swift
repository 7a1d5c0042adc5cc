import CLinux

/// An open file descriptor with one owner: closed exactly once, when the owner goes or says so.
public struct Descriptor: ~Copyable {
    /// The number; −1 after `close()` or `release()`.
    public private(set) var raw: Int32

    /// Takes ownership of an open descriptor.
    @inline(__always) public init(owning raw: Int32) { self.raw = raw }

    @inline(__always) deinit {
        // close(2) releases the number even when it reports an error, and nobody is left to tell.
        if raw >= 0 { _ = lh_close(raw) }
    }

    public var isOpen: Bool { raw >= 0 }

    @inline(__always) public mutating func close() {
        if raw >= 0 { _ = lh_close(raw) }
        raw = -1
    }

    /// Gives the number away: the caller owns it from here on.
    public mutating func release() -> Int32 {
        defer { raw = -1 }
        return raw
    }
}

/// The monotonic clock in nanoseconds.
@inline(__always) public func monotonicNow() -> Int64 { lh_monotonic() }
