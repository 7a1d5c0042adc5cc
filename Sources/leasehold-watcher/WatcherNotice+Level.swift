import Logging
import ServiceKit
import WatcherCore

extension WatcherNotice {
    /// How loudly the journal says it.
    var level: Logger.Level {
        switch self {
        case .directoryUnreadable, .fileBroken, .problem, .furtherProblems, .repeated, .doubted, .workersLost: .warning
        case .restored, .sourceComplete, .directoryReadable, .fileMended, .doubtConfirmed, .doubtRefuted: .notice
        case .fileRemoved, .ignored, .workersSynchronized: .info
        }
    }

    /// Its entry in the catalog; nil below notice.
    var messageID: String? {
        switch self {
        case .restored, .directoryUnreadable, .doubted: MessageID.sourceStale
        case .sourceComplete, .directoryReadable, .doubtConfirmed, .doubtRefuted: MessageID.sourceLive
        case .fileBroken: MessageID.fileBroken
        case .fileMended: MessageID.fileMended
        case .problem, .furtherProblems, .repeated: MessageID.sourceProblem
        case .workersLost: MessageID.linkDown
        case .fileRemoved, .ignored, .workersSynchronized: nil
        }
    }
}
