import CLinux

/// A system call that failed: what was tried, on what, and errno, in one line.
public struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
    public var errno: Int32
    public var call: String
    public var subject: String

    public init(_ errno: Int32, _ call: String, _ subject: String = "") {
        self.errno = errno
        self.call = call
        self.subject = subject
    }

    /// ENOENT.
    public var isNoSuchFile: Bool { errno == ENOENT }

    /// `bind /run/leasehold/leasing.sock: Permission denied (EACCES 13)`.
    public var description: String {
        let text = String(cString: strerror(errno))
        return "\(call)\(subject.isEmpty ? "" : " \(subject)"): \(text) (errno \(errno))"
    }
}

/// Turns the shim's "result or negated errno" into a value or an error.
@inline(__always)
public func check(_ result: Int, _ call: @autoclosure () -> String, _ subject: @autoclosure () -> String = "") throws(SystemError) -> Int {
    if result < 0 { throw SystemError(Int32(-result), call(), subject()) }
    return result
}
