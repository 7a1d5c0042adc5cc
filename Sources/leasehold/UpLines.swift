import CLinux
import ServiceKit

/// How lines of several processes share one terminal: a name in front, in a colour of its own, control characters escaped.
struct UpLines {
    private let colour: Bool
    private static let width = 11

    init() { colour = isatty(1) == 1 && getenv("NO_COLOR") == nil && getenv("TERM").map { String(cString: $0) } != "dumb" }

    /// A daemon's line, without its newline.
    func write(_ process: ProcessName, _ line: ArraySlice<UInt8>) {
        var text = Self.escaped(line)
        // The name stands in front already.
        text = text.split(separator: " leasehold-\(process.rawValue): ", maxSplits: 1).joined(separator: " ")
        put(process.rawValue, Self.tint(process), text)
    }

    /// Our own.
    func note(_ text: String) { put("up", "1", text) }

    private func put(_ name: String, _ tint: String, _ text: String) {
        let padded = name + String(repeating: " ", count: max(0, Self.width - name.count))
        var line = colour ? "\u{1b}[\(tint)m\(padded)\u{1b}[0m │ " : "\(padded) | "
        if colour, let level = Self.levelTint(text) { line += "\u{1b}[\(level)m\(text)\u{1b}[0m" } else { line += text }
        let bytes = Array((line + "\n").utf8)
        // One write per line. A terminal that went away is noticed by its hang-up, not here.
        _ = lh_write(1, bytes, bytes.count)
    }

    private static func tint(_ process: ProcessName) -> String {
        switch process {
        case .watcher: "36"
        case .poolKeeper: "35"
        case .dispatcher: "32"
        case .scaler: "34"
        case .assetCache: "32"
        case .publisher: "34"
        }
    }

    private static func levelTint(_ text: String) -> String? {
        if text.hasPrefix("warning ") { return "33" }
        if text.hasPrefix("error ") || text.hasPrefix("critical ") { return "31" }
        if text.hasPrefix("debug ") || text.hasPrefix("trace ") { return "2" }
        return nil
    }

    /// Workers may print anything; nothing of it reaches the terminal as a command.
    static func escaped(_ line: ArraySlice<UInt8>) -> String {
        var out = ""
        for scalar in String(decoding: line, as: UTF8.self).unicodeScalars {
            switch scalar.value {
            case 0x09: out += "    "
            case 0..<0x20, 0x7f...0x9f: out += "\\x" + String(scalar.value, radix: 16)
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
