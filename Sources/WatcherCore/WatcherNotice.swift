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
    /// As many more as were not named one by one.
    case furtherProblems(Int)
    /// An object was found more than once; the last file counts.
    case repeated(String, files: [String])
    /// Objects of kinds that are not read.
    case ignored(file: String, kinds: [String])
    /// A complete list lacked much of a pool at once: that stays in force for a while.
    case doubted(pool: String, missing: Int, of: Int, hold: Duration)
    /// The list was right: what it lacked is removed now.
    case doubtConfirmed(pool: String, removed: Int)
    /// The list was wrong: all that it lacked is back.
    case doubtRefuted(pool: String)
    case workersSynchronized(count: Int)
    /// The scaler is away; the workers that it named last stay.
    case workersLost(count: Int)
}

extension WatcherNotice {
    /// What it says, the same for every occurrence.
    public var message: String {
        switch self {
        case .restored: "Serving the saved state until the source is read"
        case .sourceComplete: "The source is read"
        case .directoryUnreadable: "The directory cannot be read, continuing with what is known"
        case .directoryReadable: "The directory can be read again"
        case .fileBroken(let file):
            file.hasGoodVersion
                ? "A manifest cannot be read, continuing with its last good version" : "A manifest cannot be read, continuing without it"
        case .fileMended: "A manifest is in order again"
        case .fileRemoved: "A manifest was removed"
        case .problem: "Something in the source serves no pool, continuing without it"
        case .furtherProblems: "More of the source serves no pool; show source lists it"
        case .repeated: "An object is in the source more than once, continuing with the last one"
        case .ignored: "A manifest also holds kinds that are not read"
        case .doubted: "A complete list of the source lacks much of a pool, continuing with it for a while"
        case .doubtConfirmed: "What the source lacks is still missing, and is removed"
        case .doubtRefuted: "What the source lacked is back"
        case .workersSynchronized: "The scaler has told its local workers"
        case .workersLost: "The scaler is away, continuing with its local workers"
        }
    }

    /// What it is about, this time.
    public var facts: [(key: String, value: String)] {
        switch self {
        case .restored(let endpoints, let age): [("endpoints", "\(endpoints)"), ("age-seconds", "\(age.components.seconds)")]
        case .sourceComplete(let endpoints, let files): [("endpoints", "\(endpoints)"), ("files", "\(files)")]
        case .directoryUnreadable(let problem): [("problem", problem)]
        case .directoryReadable: []
        case .fileBroken(let file): [("file", file.name), ("problem", file.problem)]
        case .fileMended(let name), .fileRemoved(let name): [("file", name)]
        case .problem(let problem): [("problem", problem.description)]
        case .furtherProblems(let count): [("count", "\(count)")]
        case .repeated(let object, let files): [("object", object), ("files", files.joined(separator: ", "))]
        case .ignored(let file, let kinds): [("file", file), ("kinds", kinds.joined(separator: ", "))]
        case .doubted(let pool, let missing, let count, let hold):
            [("pool", pool), ("missing", "\(missing)"), ("of", "\(count)"), ("seconds", "\(hold.components.seconds)")]
        case .doubtConfirmed(let pool, let removed): [("pool", pool), ("removed", "\(removed)")]
        case .doubtRefuted(let pool): [("pool", pool)]
        case .workersSynchronized(let count), .workersLost(let count): [("workers", "\(count)")]
        }
    }
}
