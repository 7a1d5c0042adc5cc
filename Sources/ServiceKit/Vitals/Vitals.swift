import CLinux
import Linux
import Model
import Wire

/// The listening end of the vitals edge, in every process: `RUNTIME/vitals/NAME.sock`.
///
/// A process sets ``collect`` and, where it has jobs, tells their ends to ``jobs``. Nothing here waits for the publisher: one that is slow
/// or stopped misses rounds, job ends and events, which are counted, and nobody else notices.
public final class Vitals {
    /// Writes all that the process counts; called on the service's loop once a second while somebody listens.
    public var collect: (inout VitalsRound) -> Void = { _ in }
    /// For every thread of the process.
    public let jobs = JobEndQueue()

    private let process: ProcessName
    private let loop: Loop
    private let server: LinkServer
    private let events: EventLog
    private let started: Int64
    private var listeners: [Listener] = []
    private var timer: LoopTimer?
    private var nextRound: Int64 = .max
    private var droppedRounds: UInt64 = 0
    private var droppedEvents: UInt64 = 0
    /// Taken from the queue for one that does not read.
    private var untoldJobs: UInt64 = 0

    private struct Listener {
        var link: Link
        /// The next event that it has not heard.
        var nextEvent: UInt64 = 0
        var sample: UInt32 = 0
    }

    /// More than one publisher is a test, or an operator who looks.
    private static let mostListeners = 4
    private static let rhythm: Int64 = 1_000_000_000
    /// How soon job ends and events are told.
    private static let beat: Int64 = 250_000_000

    init(
        _ process: ProcessName, path: String, listener: Int32?, hello: Hello, outbox: Outbox, events: EventLog, started: Int64
    ) throws(SystemError) {
        self.process = process
        self.events = events
        self.started = started
        loop = outbox.loop
        if let listener {
            server = try LinkServer(owning: listener, hello: hello, outbox: outbox)
        } else {
            server = try LinkServer(path: path, hello: hello, outbox: outbox)
        }
        let members = EdgeMembers(.vitals)
        server.accepts = { [unowned self] link in members.admits(link) && listeners.count < Self.mostListeners }
        server.onUp = { [unowned self] link in up(link) }
        server.onPacket = { [unowned self] (link, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd { heard(try VitalsRequest.decode(from: &reader), link) }
        }
        server.onEnd = { [unowned self] link, _ in
            listeners.removeAll { $0.link === link }
            listenToJobs()
        }
        timer = loop.timer { [unowned self] now in tick(now) }
    }

    private func up(_ link: Link) {
        listeners.append(Listener(link: link))
        listenToJobs()
        nextRound = loop.now
        tick(loop.now)
    }

    private func heard(_ request: VitalsRequest, _ link: Link) {
        switch request {
        case .sample(let millionths):
            for i in listeners.indices where listeners[i].link === link { listeners[i].sample = millionths }
            listenToJobs()
        case .now:
            nextRound = loop.now
            timer?.deadline = loop.now
        }
    }

    private func listenToJobs() { jobs.listen(listeners.map(\.sample).max()) }

    private func tick(_ now: Int64) {
        guard !listeners.isEmpty else { return }
        let ended = jobs.take(at: now)
        for i in listeners.indices { tell(ended, &listeners[i], now) }
        if nextRound <= now {
            nextRound = now + Self.rhythm
            tellRound(now)
        }
        timer?.deadline = min(nextRound, now + Self.beat)
    }

    private func tell(_ ended: [JobEnd], _ listener: inout Listener, _ now: Int64) {
        // Events are kept for it; job ends are not.
        guard !listener.link.isBacklogged else {
            untoldJobs += UInt64(ended.count)
            return
        }
        for job in ended { listener.link.send(VitalsMessage.job(job)) }
        let (news, next, missed) = events.since(listener.nextEvent, at: now)
        for event in news { listener.link.send(VitalsMessage.event(event)) }
        if listener.nextEvent > 0 { droppedEvents += missed }
        listener.nextEvent = next
    }

    private func tellRound(_ now: Int64) {
        let ready = listeners.map(\.link).filter { !$0.isBacklogged }
        droppedRounds += UInt64(listeners.count - ready.count)
        guard !ready.isEmpty else { return }
        var round = VitalsRound(ready)
        round.send(.begin(uptime: .nanoseconds(max(0, now - started))))
        addOwn(&round, now)
        collect(&round)
        round.send(.end)
    }

    /// What the skeleton knows of every process.
    private func addOwn(_ round: inout VitalsRound, _ now: Int64) {
        let name = process.rawValue
        round.gauge(.processUptime, name, seconds: .nanoseconds(max(0, now - started)))
        if let resident = ProcessTable.ownResidentBytes() { round.gauge(.processMemory, name, value: Double(resident)) }
        round.count(.processCPU, name, seconds: ProcessTable.ownProcessorTime())
        round.count(.processTurns, name, loop.turns)
        round.count(.vitalsDropped, name, "rounds", droppedRounds)
        round.count(.vitalsDropped, name, "jobs", jobs.dropped + untoldJobs)
        round.count(.vitalsDropped, name, "events", droppedEvents)
    }
}

/// One round of numbers, as it is written.
public struct VitalsRound {
    private let links: [Link]
    /// What it may still hold; see ``Bounds/vitalsSeries``.
    private var room = Bounds.vitalsSeries

    init(_ links: [Link]) { self.links = links }

    /// A counter's value since the process started; labels in the order of the table.
    public mutating func count(_ metric: Metric, _ value: UInt64) { number(metric, [], Double(value)) }
    public mutating func count(_ metric: Metric, _ label: String, _ value: UInt64) { number(metric, [label], Double(value)) }
    public mutating func count(_ metric: Metric, _ label: String, _ other: String, _ value: UInt64) {
        number(metric, [label, other], Double(value))
    }
    public mutating func count(_ metric: Metric, _ labels: String..., seconds: Duration) { number(metric, labels, seconds.inSeconds) }

    public mutating func gauge(_ metric: Metric, _ labels: String..., value: Double) { number(metric, labels, value) }
    public mutating func gauge(_ metric: Metric, _ labels: String..., seconds: Duration) { number(metric, labels, seconds.inSeconds) }

    public mutating func histogram(_ metric: Metric, _ labels: String..., value: LatencyHistogram) {
        precondition(metric.kind == .histogram && labels.count == metric.labels.count, "\(metric.name) is no histogram, or has other labels")
        guard room > 0 else { return }
        room -= 1
        send(.histogram(metric, labels: labels, value))
    }

    private mutating func number(_ metric: Metric, _ labels: [String], _ value: Double) {
        precondition(metric.kind != .histogram && labels.count == metric.labels.count, "\(metric.name) is a histogram, or has other labels")
        guard room > 0, value.isFinite else { return }
        room -= 1
        send(.number(metric, labels: labels, value))
    }

    func send(_ message: VitalsMessage) {
        for link in links { link.send(message) }
    }
}

extension Duration {
    /// For people and for scrapers.
    public var inSeconds: Double { Double(nanoseconds) / 1e9 }
}
