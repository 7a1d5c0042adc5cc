import CLinux
import Foundation
import Model

/// Where the command's words go.
enum Terminal {
    static let isInteractive = isatty(1) == 1

    /// On a terminal, unless NO_COLOR says otherwise (no-color.org).
    static let hasColour: Bool = {
        let environment = ProcessInfo.processInfo.environment
        return isInteractive && (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb"
    }()

    /// Writes all of it, unbuffered. A reader that went away ends the command by SIGPIPE, as it does every other.
    static func write(_ text: String, to descriptor: Int32 = 1) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { lh_write(descriptor, $0.baseAddress, $0.count) }
            if count == -Int(EINTR) { continue }
            // Nobody is left to tell that nobody reads.
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }

    static func error(_ message: String) { write("leasehold: \(message)\n", to: 2) }

    /// Back to the first line, and nothing below it.
    static let clear = "\u{1b}[H\u{1b}[2J"

    /// Waits without doing anything; a signal may end it early.
    static func pause(_ duration: Duration) { _ = poll(nil, 0, Int32(clamping: duration.milliseconds)) }
}

/// What a cell wants to say beyond its text.
enum Colour: String {
    case good = "32"
    case busy = "36"
    case warning = "33"
    case bad = "31"
    case dim = "2"

    func around(_ text: String) -> String { "\u{1b}[\(rawValue)m\(text)\u{1b}[0m" }
}
