import Linux
import Logging
import Synchronization
import Systemd
import ServiceKit

/// What is made of files, made anew when one of them changes: files of which nothing can be made leave the old one in force.
final class FileBacked<Value: Sendable>: Sendable {
    /// For the journal: the key of the configuration.
    private let key: String
    private let files: [String]
    private let make: @Sendable () throws -> Value
    private let logger: Logger
    private let state: Mutex<State>

    private struct State {
        var value: Value
        var stamps: [FileStamp?]
        var looked: Int64
    }

    /// Nanoseconds from one look at the files to the next.
    private static var rhythm: Int64 { 1_000_000_000 }

    init(_ key: String, files: [String], logger: Logger, make: @escaping @Sendable () throws -> Value) throws {
        self.key = key
        self.files = files
        self.make = make
        self.logger = logger
        do {
            // The stamps first: what changes in between is seen at the next look.
            let stamps = Self.stamps(files)
            state = Mutex(State(value: try make(), stamps: stamps, looked: monotonicNow()))
        } catch {
            throw Certificate.Unusable(description: "\(key): \(files.joined(separator: " with ")): \(error)")
        }
    }

    /// The one in force; looks at the files at most once a second.
    var current: Value {
        state.withLock { state in
            let now = monotonicNow()
            guard now - state.looked > Self.rhythm else { return state.value }
            state.looked = now
            let stamps = Self.stamps(files)
            guard stamps != state.stamps else { return state.value }
            // Whatever comes of it: the same files are not tried twice.
            state.stamps = stamps
            do {
                state.value = try make()
                logger.notice(
                    "The certificate was read again", metadata: ["key": "\(key)", LogKey.messageID: "\(MessageID.certificateRead)"])
            } catch {
                logger.error(
                    "The new certificate cannot be used; the old one stays in force",
                    metadata: ["key": "\(key)", LogKey.messageID: "\(MessageID.certificateUnusable)", "problem": "\(error)"])
            }
            return state.value
        }
    }

    private static func stamps(_ files: [String]) -> [FileStamp?] { files.map { try? Files.stamp($0) } }
}
