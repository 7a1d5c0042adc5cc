import CLinux
import Linux
import Model

/// When a daemon was started lately: a file in its runtime directory, which ends with the boot like the clock that it is written in.
struct StartHistory {
    /// The start that waits is this one of those within ``within``.
    static let most = 5
    static let within = Duration.seconds(10)
    /// How long it waits. Short: callers and neighbours wait with it.
    static let pause = Duration.seconds(1)

    let path: String

    /// Adds a start at `now`, in monotonic nanoseconds; true when it is one too many.
    func record(at now: Int64) -> Bool {
        // No file, or a damaged one, is no history.
        let bytes = (try? Files.read(path, limit: 4096).bytes) ?? []
        let starts = Self.recent(String(decoding: bytes, as: UTF8.self), at: now) + [now]
        let text = Array(starts.suffix(Self.most).map(String.init).joined(separator: "\n").utf8)
        // Where it cannot be written nothing slows down; the start is what matters.
        let raw = lh_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        if raw >= 0 {
            let file = Descriptor(owning: Int32(raw))
            _ = lh_write(file.raw, text, text.count)
        }
        return starts.count >= Self.most
    }

    /// The starts that count, oldest first. What is later than now is of another boot.
    static func recent(_ text: String, at now: Int64) -> [Int64] {
        text.split(separator: "\n").compactMap { Int64($0) }.filter { $0 <= now && now - $0 < within.nanoseconds }
    }
}
