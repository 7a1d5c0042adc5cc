import Model

/// Whether the store behind answers, and when it is asked again after it did not.
public struct BackingHealth: Hashable, Sendable {
    /// The first pause after a failure, and the longest: each is twice the one before.
    public static let firstPause = Duration.milliseconds(250)
    public static let longestPause = Duration.seconds(30)

    private var failures = 0
    private var until: Instant?
    private var isProbing = false
    /// Since when nothing was answered; nil: it answers.
    public private(set) var downSince: Instant?

    public init() {}

    public var isUp: Bool { downSince == nil }

    /// When it may be asked again; nil: now.
    public var pausedUntil: Instant? { until }

    public func mayAsk(at now: Instant) -> Bool { until.map { $0 <= now } ?? true }

    /// One asks and finds out; the others wait for what it finds until the pause would be over once more.
    public mutating func probing(at now: Instant) {
        guard !isUp else { return }
        isProbing = true
        until = now + pause
    }

    private var pause: Duration { min(Self.firstPause * (1 << min(max(0, failures - 1), 10)), Self.longestPause) }

    /// True when that is news.
    public mutating func answered() -> Bool {
        defer { self = BackingHealth() }
        return !isUp
    }

    /// True when that is news. Several that failed at the same time count once.
    public mutating func failed(at now: Instant) -> Bool {
        let isNews = isUp
        if isNews { downSince = now }
        if isProbing || isNews { failures = min(failures + 1, 16) }
        isProbing = false
        until = now + pause
        return isNews
    }
}
