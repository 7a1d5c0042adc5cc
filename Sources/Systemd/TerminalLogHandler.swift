import CLinux
import Logging

/// swift-log to standard error: one line per message, coloured on a terminal only, control characters escaped.
public struct TerminalLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level
    private let label: String
    private let colour: Bool

    public init(label: String, level: Logger.Level) {
        self.label = label
        self.logLevel = level
        colour = isatty(2) == 1 && getenv("NO_COLOR") == nil
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var text = "\(tint(event.level))\(event.level.rawValue)\(colour ? "\u{1b}[0m" : "") \(label): \(event.message)"
        let facts = metadata.merging(event.metadata ?? [:]) { $1 }
        for key in facts.keys.sorted() where key != LogKey.messageID { text += " \(key)=\(facts[key]!)" }
        var bytes: [UInt8] = []
        for scalar in text.unicodeScalars {
            // What came from outside may hold anything; only our own colours are passed.
            if scalar.value < 0x20 && !(colour && scalar.value == 0x1b) || (0x7f..<0xa0).contains(scalar.value) {
                bytes.append(contentsOf: "\\x\(String(scalar.value, radix: 16))".utf8)
            } else {
                bytes.append(contentsOf: String(scalar).utf8)
            }
        }
        bytes.append(0x0a)
        // One write per line, so that lines of several processes do not mix. Nobody is left to tell of a failure.
        _ = lh_write(2, bytes, bytes.count)
    }

    private func tint(_ level: Logger.Level) -> String {
        guard colour else { return "" }
        switch level {
        case .trace, .debug: return "\u{1b}[2m"
        case .info: return ""
        case .notice: return "\u{1b}[36m"
        case .warning: return "\u{1b}[33m"
        case .error, .critical: return "\u{1b}[31m"
        }
    }
}
