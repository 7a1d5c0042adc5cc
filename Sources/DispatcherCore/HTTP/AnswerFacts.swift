import Model

/// What a problem body tells of the job beside its reason. All of it is ours, none of the request's.
public struct AnswerFacts: Hashable, Sendable {
    /// The job, as the journal and `explain` name it; nil where it never became one.
    public var job: TicketID?
    public var line: RefusalFacts.Line?
    /// The lease that the job had, with its pool's name (letters, digits, `-`, `_` and `.`), and how far it had come.
    public var lease: LeaseID?
    public var pool: [UInt8]
    public var phase: LeasePhase?

    public init(
        job: TicketID? = nil, line: RefusalFacts.Line? = nil, lease: LeaseID? = nil, pool: [UInt8] = [], phase: LeasePhase? = nil
    ) {
        self.job = job
        self.line = line
        self.lease = lease
        self.pool = pool
        self.phase = phase
    }

    /// Members of a JSON object, each behind a comma.
    func write(into sink: inout ByteSink) {
        if let job {
            // As text: it does not fit into the numbers of many JSON readers.
            sink.append(",\"job\":\"")
            sink.append(decimal: job.rawValue)
            sink.append("\"")
        }
        if let line {
            if line.position > 0 {
                sink.append(",\"position\":")
                sink.append(decimal: UInt64(line.position))
            }
            sink.append(",\"queued\":")
            sink.append(decimal: UInt64(line.queued))
            sink.append(",\"oldestWaitMs\":")
            sink.append(decimal: UInt64(max(0, line.oldestWait.milliseconds)))
        }
        if let lease {
            sink.append(",\"lease\":\"")
            pool.withUnsafeBytes { sink.append($0) }
            sink.append(byte: .slash)
            sink.append(lease)
            sink.append("\"")
        }
        if let phase {
            sink.append(",\"phase\":\"")
            sink.append(string: phase.name)
            sink.append("\"")
        }
    }
}

/// How far a job had come with its worker.
public enum LeasePhase: UInt8, CaseIterable, Sendable, Hashable {
    /// The lease was granted, and nobody had answered the dial.
    case dialing
    /// The worker's connection was there, and at most a part of the request's head had been sent.
    case connected
    /// The worker had the whole head, and its response had not begun.
    case headersSent
    /// Its response had begun, or bytes passed freely.
    case streaming

    public var name: String {
        switch self {
        case .dialing: "dialing"
        case .connected: "connected"
        case .headersSent: "headers-sent"
        case .streaming: "streaming"
        }
    }
}
