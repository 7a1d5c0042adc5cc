/// Bytes that never appear in a log, a report or a dump.
public struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The bytes themselves, for the one place that sends them.
    public let exposed: [UInt8]

    public init(_ bytes: some Sequence<UInt8>) { exposed = Array(bytes) }

    public var description: String { "(secret)" }
    public var debugDescription: String { "(secret)" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
