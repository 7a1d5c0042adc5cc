import CLinux
import Linux
import Synchronization

/// So many bytes that a mistake in any of them shows: each depends on its place. Sending and comparing take no memory of that size.
public struct Pattern: Sendable {
    public let count: Int
    private let seed: UInt64
    /// The content repeats after a prime number of bytes, so that no shift by whole pages goes unnoticed.
    public static let period = 1_048_573
    /// One period of the content.
    public static let base: [UInt8] = {
        var generator = SeededGenerator(seed: 42)
        var bytes = [UInt8]()
        bytes.reserveCapacity(period + 8)
        while bytes.count < period { withUnsafeBytes(of: generator.next()) { bytes.append(contentsOf: $0) } }
        return Array(bytes.prefix(period))
    }()

    public init(_ count: Int, seed: UInt64 = 0) {
        self.count = count
        self.seed = seed
    }

    /// Sends all of it; `progress` hears how far.
    public func send(on stream: RawStream, progress: (Int) -> Void = { _ in }) throws {
        try Self.base.withUnsafeBytes { base in
            var sent = 0
            while sent < count {
                let offset = (sent + Int(seed)) % Self.period
                let length = min(256 * 1024, count - sent, Self.period - offset)
                try stream.send(UnsafeRawBufferPointer(rebasing: base[offset..<offset + length]))
                sent += length
                progress(sent)
            }
        }
    }

    /// Receives all of it. Nil when every byte was right, else where the first wrong one was.
    public func receive(on stream: RawStream) throws -> String? {
        try Self.base.withUnsafeBytes { base in
            var received = 0
            while received < count {
                let block = try stream.receiveSome(atMost: min(1 << 20, count - received))
                if block.isEmpty { return "ended (\(stream.end.map { "\($0)" } ?? "?")) after \(received) of \(count) bytes" }
                var done = 0
                while done < block.count {
                    let offset = (received + done + Int(seed)) % Self.period
                    let length = min(block.count - done, Self.period - offset)
                    let same = block.withUnsafeBytes { memcmp($0.baseAddress! + done, base.baseAddress! + offset, length) == 0 }
                    guard same else { return "wrong between byte \(received + done) and \(received + done + length)" }
                    done += length
                }
                received += block.count
            }
            return nil
        }
    }
}

/// A value that threads of a test share.
public final class Locked<Value: Sendable>: Sendable {
    private let value: Mutex<Value>
    public init(_ value: sending Value) { self.value = Mutex(value) }
    public func get() -> Value { value.withLock { $0 } }
    public func set(_ new: sending Value) { value.withLock { [new] in $0 = new } }
}
