import CLinux
import Linux
import Logging

/// swift-log to journald over its native protocol, with metadata as structured fields.
///
/// The socket is non-blocking and ours: sd_journal_send(3) blocks while journald is stopped. A datagram that does not
/// fit in is dropped and counted.
public struct JournalLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level
    private let label: String
    private let sink: JournalSocket

    public init(label: String, level: Logger.Level, sink: JournalSocket) {
        self.label = label
        self.logLevel = level
        self.sink = sink
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var datagram: [UInt8] = []
        datagram.reserveCapacity(512)
        let facts = metadata.merging(event.metadata ?? [:]) { $1 }
        var text = event.message.description
        for key in facts.keys.sorted() where key != LogKey.messageID { text += " \(key)=\(facts[key]!)" }
        append("MESSAGE", escapingControls(text), to: &datagram)
        append("PRIORITY", "\(event.level.syslogPriority)", to: &datagram)
        append("SYSLOG_IDENTIFIER", label, to: &datagram)
        append("CODE_FILE", event.file, to: &datagram)
        append("CODE_LINE", "\(event.line)", to: &datagram)
        for (key, value) in facts {
            append(key == LogKey.messageID ? "MESSAGE_ID" : LogKey.journalField(key), escapingControls("\(value)"), to: &datagram)
        }
        sink.send(datagram)
    }

    /// `NAME=value\n`, or with a newline inside: name, newline, 64-bit little-endian length, value, newline.
    private func append(_ name: String, _ value: String, to datagram: inout [UInt8]) {
        datagram.append(contentsOf: name.utf8)
        let bytes = Array(value.utf8)
        if bytes.contains(0x0a) {
            datagram.append(0x0a)
            withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { datagram.append(contentsOf: $0) }
        } else {
            datagram.append(0x3d)
        }
        datagram.append(contentsOf: bytes)
        datagram.append(0x0a)
    }
}

/// The datagram socket to journald.
public final class JournalSocket: @unchecked Sendable {
    // Set in `init` only; send(2) on a datagram socket is safe from any thread.
    private let descriptor: Int32
    private let droppedCount: UnsafeMutablePointer<Int>

    /// Connects to the native protocol's socket; throws where there is no journald.
    public init(path: String = "/run/systemd/journal/socket") throws(SystemError) {
        let raw = Int32(try check(lh_socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue)), "socket"))
        let connected = lh_connect_unix(raw, path)
        guard connected >= 0 else {
            _ = lh_close(raw)
            throw SystemError(Int32(-connected), "connect", path)
        }
        descriptor = raw
        droppedCount = .allocate(capacity: 1)
        droppedCount.initialize(to: 0)
    }

    /// Lines that found the socket full.
    public var dropped: Int { droppedCount.pointee }

    func send(_ datagram: [UInt8]) {
        let result = datagram.withUnsafeBytes { lh_send(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)) }
        // Racy between threads by at most a few: it only says that lines are missing.
        if result < 0 { droppedCount.pointee += 1 }
    }

    /// Whether standard error is the journal's stream (JOURNAL_STREAM is "device:inode", systemd.exec(5)).
    public static func isStandardError() -> Bool {
        guard let value = getenv("JOURNAL_STREAM").map({ String(cString: $0) }) else { return false }
        let parts = value.split(separator: ":")
        var info = stat()
        guard parts.count == 2, fstat(2, &info) == 0 else { return false }
        return parts[0] == "\(info.st_dev)" && parts[1] == "\(info.st_ino)"
    }
}

extension Logger.Level {
    /// syslog(3) severities.
    var syslogPriority: Int {
        switch self {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
