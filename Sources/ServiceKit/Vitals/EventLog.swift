import Linux
import Logging
import Synchronization
import Systemd
import Wire

/// The last events of this process, notice and above, kept so that a publisher that comes later knows them too. Safe from any thread.
final class EventLog: Sendable {
    /// How many are kept.
    static let most = 64

    private let state = Mutex(State())

    private struct State {
        /// The newest last; each with its time on the monotonic clock.
        var events: [(event: VitalsEvent, at: Int64)] = []
        /// Of the first one kept, counted from the start of the process.
        var first: UInt64 = 0
    }

    func add(_ event: VitalsEvent, at now: Int64) {
        state.withLock { state in
            if state.events.count == Self.most {
                state.events.removeFirst()
                state.first += 1
            }
            state.events.append((event, now))
        }
    }

    /// Those from number `next` on, with their ages, and the number after them; `missed` have been forgotten meanwhile.
    func since(_ next: UInt64, at now: Int64) -> (events: [VitalsEvent], next: UInt64, missed: UInt64) {
        state.withLock { state in
            let from = max(next, state.first)
            let events = state.events.dropFirst(Int(from - state.first)).map { entry in
                var event = entry.event
                event.age = .nanoseconds(max(0, now - entry.at))
                return event
            }
            return (events, state.first + UInt64(state.events.count), from - next)
        }
    }
}

/// A log handler that also keeps what is at notice or above.
struct EventTee<Inner: LogHandler>: LogHandler {
    private var inner: Inner
    private let events: EventLog

    init(_ inner: Inner, _ events: EventLog) {
        self.inner = inner
        self.events = events
    }

    var metadata: Logger.Metadata {
        get { inner.metadata }
        set { inner.metadata = newValue }
    }

    var logLevel: Logger.Level {
        get { inner.logLevel }
        set { inner.logLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { inner[metadataKey: key] }
        set { inner[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        inner.log(event: event)
        guard let level = VitalsEvent.Level(event.level) else { return }
        let facts = inner.metadata.merging(event.metadata ?? [:]) { $1 }.filter { $0.key != LogKey.messageID }.sorted { $0.key < $1.key }
        events.add(
            VitalsEvent(
                level: level, text: event.message.description,
                facts: facts.prefix(Bounds.eventFacts).map { VitalsEvent.Fact(name: $0.key, value: "\($0.value)") }),
            at: monotonicNow())
    }
}

extension VitalsEvent.Level {
    fileprivate init?(_ level: Logger.Level) {
        switch level {
        case .trace, .debug, .info: return nil
        case .notice: self = .notice
        case .warning: self = .warning
        case .error: self = .error
        case .critical: self = .critical
        }
    }
}
