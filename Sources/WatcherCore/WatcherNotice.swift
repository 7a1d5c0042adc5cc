import Kubernetes
import Model

/// What an operator wants to read in the journal.
public enum WatcherNotice: Hashable, Sendable {
    case restored(endpoints: Int, age: Duration)
    /// The source was read whole for the first time since the start.
    case sourceComplete(endpoints: Int, files: Int)
    case directoryUnreadable(String)
    case directoryReadable
    case fileBroken(BrokenFile)
    case fileMended(String)
    case fileRemoved(String)
    /// Something in a manifest serves no pool.
    case problem(SourceProblem)
    /// An object was found more than once; the last file counts.
    case repeated(String, files: [String])
    /// Objects of kinds that are not read.
    case ignored(file: String, kinds: [String])
    case workersSynchronized(count: Int)
    /// The scaler is away; the workers that it named last stay.
    case workersLost(count: Int)

    /// Whether something is amiss, though the work goes on.
    public var isWarning: Bool {
        switch self {
        case .directoryUnreadable, .fileBroken, .problem, .repeated, .workersLost: true
        case .restored, .sourceComplete, .directoryReadable, .fileMended, .fileRemoved, .ignored, .workersSynchronized: false
        }
    }
}

extension WatcherNotice: CustomStringConvertible {
    public var description: String {
        switch self {
        case .restored(let endpoints, let age):
            "serving the saved state of \(age.wholeSeconds) s ago (\(endpoints) endpoints) until the source is read"
        case .sourceComplete(let endpoints, let files): "the source is read: \(endpoints) endpoints in \(files) files"
        case .directoryUnreadable(let why): "\(why); continuing with the last known endpoints"
        case .directoryReadable: "the directory can be read again"
        case .fileBroken(let file):
            "\(file.problem); continuing \(file.hasGoodVersion ? "with its last good version" : "without this file")"
        case .fileMended(let name): "\(name) is in order again"
        case .fileRemoved(let name): "\(name) was removed"
        case .problem(let problem): problem.description
        case .repeated(let object, let files):
            files.count > 1
                ? "\(object) is in \(files.joined(separator: ", ")): the last one counts"
                : "\(object) is in \(files.joined()) more than once: the last one counts"
        case .ignored(let file, let kinds): "\(file) also holds \(kinds.joined(separator: ", ")), which is not read"
        case .workersSynchronized(let count): "the scaler has told its local workers (\(count))"
        case .workersLost(let count): "the scaler is away; continuing with its \(count) local workers"
        }
    }
}

extension Duration {
    var wholeSeconds: Int64 { components.seconds }
}
