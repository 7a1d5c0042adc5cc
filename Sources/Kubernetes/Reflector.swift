import Model

/// Keeps a copy of the objects of one scope in step with the API server: client-go's reflector as a value.
///
/// It lists (streamed, `sendInitialEvents`; in pages where the server refuses that), then watches from the list's version on, and
/// again from the newest version for as long as the server remembers it. A new list never empties the copy: the old one stays in
/// force until the new one is complete, and then the difference is told. The shell makes the requests and hears of changes through
/// ``ReflectorAction/apply(_:)``; there is at most one request under way. Randomness comes from the seed.
///
/// Cost: a pass over the bytes that come. Memory: the keys of the objects, the longest object, and while a list is read its objects.
public struct Reflector: Sendable {
    public let scope: WatchScope

    var phase = Phase.idle
    /// What is to be asked for next, or is under way.
    var step = Step.list
    var lastID: UInt64 = 0
    var random: SplitMix
    var strings = StringTable()

    /// The objects that were told and not deleted since.
    var known: Set<ObjectKey> = []
    /// A list that is being read.
    var fresh: FreshCopy?
    /// Whether a list was ever complete.
    var isComplete = false
    /// The newest version that we are in step with: where a watch resumes. Synthetic events of a list do not move it.
    var resourceVersion = ""
    /// The server cannot start at ``resourceVersion``: the next list asks for the newest state instead.
    var isVersionUnavailable = false
    /// A continue token expired: the next list is asked for in one piece, which always comes to an end.
    var wantsOnePage = false

    var usesWatchList = true
    var usesProtobuf: Bool
    /// Whether this server sends bookmarks: a watch that is silent for longer than they take is dead.
    var sendsBookmarks = false

    /// Failed tries in a row, for the back-off.
    var failures = 0
    /// Answers in a row that did not accept the credentials.
    var refusals = 0
    /// Since when everything is well: a list complete and a watch up.
    var wellSince: Instant?
    /// What went wrong last, while it does.
    var problem: ReflectorProblem?
    var toldHealth = ReflectorHealth.unknown(nil)
    /// The last thing said about an object that cannot be read: a server repeats it with every event.
    var lastUnreadable = ""

    var connectedSince: Instant?
    var lastHeard: Instant?
    var counts = Counts()

    struct Counts: Sendable {
        var events: UInt64 = 0
        var bookmarks: UInt64 = 0
        var relists: UInt64 = 0
        var requests: UInt64 = 0
        var bytes: UInt64 = 0
        var errors: [ReflectorProblem.Kind: UInt64] = [:]
    }

    enum Phase: Sendable {
        /// Before ``ReflectorInput/started``. Leaves to calling.
        case idle
        /// A request is under way. Leaves to calling (the next one), waiting, renewing.
        case calling(Call)
        /// After a failure. Leaves to calling.
        case waiting(until: Instant)
        /// The shell reads the credentials again. Leaves to calling, waiting.
        case renewing(until: Instant)
        /// The end.
        case stopped
    }

    /// What a request is for.
    enum Step: Hashable, Sendable {
        /// Everything: streamed, or the first page.
        case list
        case page(continuation: String)
        case watch
    }

    /// The request under way.
    struct Call: Sendable {
        var id: APIRequest.ID
        var purpose: Purpose
        var sentAt: Instant
        /// When its answer last made a sound.
        var heardAt: Instant
        var head: ResponseHead?
        var decoder: BodyDecoder?
        /// Of a page that is read.
        var listMetadata: ListMetadata?
        /// When a watch should be over by itself.
        var endsAt = Instant.never
        /// Where a watch began.
        var firstVersion = ""
        /// Whether a watch has proved that it works.
        var isSettled = false
    }

    enum Purpose: Sendable {
        case page
        case watchList
        case watch
    }

    // client-go: 0.8 s doubling to 30 s, reset after 2 min; watches of 5 to 10 min. Jitter is full, not added.
    public static let firstBackoff: Duration = .milliseconds(800)
    public static let mostBackoff: Duration = .seconds(30)
    public static let wellAfter: Duration = .seconds(120)
    /// Less than this would be no pause.
    static let leastBackoff: Duration = .milliseconds(20)
    /// The longest that a server can make us wait by Retry-After.
    static let mostRetryAfter: Duration = .seconds(120)
    /// From a request to the head of its answer: the server's own time-out for requests is 60 s.
    public static let headLimit: Duration = .seconds(65)
    /// The longest silence inside a list.
    public static let listSilenceLimit: Duration = .seconds(60)
    /// The longest silence of a watch, once the server was seen to send bookmarks: it does every minute, give or take a quarter.
    public static let watchSilenceLimit: Duration = .seconds(150)
    /// What a watch may last beyond the time that it was asked for.
    public static let watchGrace: Duration = .seconds(15)
    /// A watch that ends sooner and said nothing is no watch.
    public static let shortWatch: Duration = .seconds(1)
    /// From the request to the end of a list, or of one of its pages.
    public static let listLimit: Duration = .seconds(600)
    /// From the head of a refusal to its end, which only says more about it.
    public static let refusalLimit: Duration = .seconds(10)
    static let renewalLimit: Duration = .seconds(60)
    /// Objects in a page, where the server reads from its database.
    static let pageSize = 500

    /// - Parameters:
    ///   - seed: of the generator for back-off and watch time-outs; different for each reflector.
    ///   - prefersProtobuf: asks for protobuf first; a server that answers in JSON is understood all the same.
    public init(_ scope: WatchScope, seed: UInt64, prefersProtobuf: Bool = true) {
        self.scope = scope
        usesProtobuf = prefersProtobuf
        random = SplitMix(state: seed)
    }

    /// When the machine wants to hear ``ReflectorInput/wokeUp``. O(1).
    public var nextWake: Instant {
        switch phase {
        case .idle, .stopped: .never
        case .calling(let call): min(deadline(of: call).at, call.purpose == .watch && !call.isSettled ? settlesAt(call) : .never)
        case .waiting(let until), .renewing(let until): until
        }
    }

    /// Where it stands. O(1).
    public var report: ReflectorReport {
        let activity: ReflectorReport.Activity
        switch phase {
        case .idle, .stopped: activity = .idle
        case .calling(let call):
            switch call.purpose {
            case .page: activity = .listing
            case .watchList: activity = fresh == nil ? .watching : .listing
            case .watch: activity = .watching
            }
        case .waiting: activity = .waiting
        case .renewing: activity = .renewing
        }
        return ReflectorReport(
            scope: scope, activity: activity, health: toldHealth, connectedSince: connectedSince, lastHeard: lastHeard,
            resourceVersion: resourceVersion, objects: known.count, usesProtobuf: usesProtobuf, usesWatchList: usesWatchList,
            events: counts.events, bookmarks: counts.bookmarks, relists: counts.relists, requests: counts.requests, bytes: counts.bytes,
            errors: counts.errors, problem: problem)
    }

    /// Takes what happened and appends what is to be done.
    public mutating func handle(_ input: ReflectorInput, at now: Instant, _ actions: inout [ReflectorAction]) {
        switch input {
        case .started: started(now, &actions)
        case .responded(let id, let head): responded(id, head, now)
        case .received(let id, let bytes): received(id, bytes, now, &actions)
        case .ended(let id): ended(id, now, &actions)
        case .failed(let id, let failure): failed(id, failure, now, &actions)
        case .credentialsRenewed: credentialsRenewed(now, &actions)
        case .credentialsFailed(let why): credentialsFailed(why, now, &actions)
        case .wokeUp: wokeUp(now, &actions)
        case .stopped: stopped(&actions)
        }
    }

    private mutating func started(_ now: Instant, _ actions: inout [ReflectorAction]) {
        guard case .idle = phase else { return }
        call(now, &actions)
    }

    private mutating func stopped(_ actions: inout [ReflectorAction]) {
        if case .calling(let call) = phase { actions.append(.cancel(call.id)) }
        phase = .stopped
        fresh = nil
        connectedSince = nil
    }

    private mutating func wokeUp(_ now: Instant, _ actions: inout [ReflectorAction]) {
        switch phase {
        case .idle, .stopped: break
        case .waiting(let until): if now >= until { call(now, &actions) }
        case .renewing(let until): if now >= until { credentialsFailed("the credentials did not come within a minute", now, &actions) }
        case .calling(let call):
            if now >= settlesAt(call) { settled(now, &actions) }
            let deadline = deadline(of: call)
            if now >= deadline.at { overdue(call, deadline.problem, now, &actions) }
        }
    }

    /// Traps if the parts contradict each other. O(1): for tests and simulations.
    public func checkInvariants() {
        precondition(isComplete || known.isEmpty, "objects were told of an incomplete copy")
        precondition(isComplete == (toldHealth.isKnown), "health contradicts what is known")
        switch phase {
        case .calling(let call):
            switch call.purpose {
            case .page: precondition(fresh != nil, "a page is read into nothing")
            case .watchList: break
            case .watch: precondition(fresh == nil && isComplete, "a watch without a list")
            }
        case .idle, .waiting, .renewing, .stopped: precondition(connectedSince == nil, "connected without a request")
        }
    }
}

extension ReflectorHealth {
    var isKnown: Bool {
        switch self {
        case .unknown: false
        case .live, .away: true
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SplitMix: Sendable {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Uniform from zero to a bound, by microseconds.
    mutating func duration(upTo bound: Duration) -> Duration {
        .microseconds(Int64(next() % UInt64(max(1, bound.microseconds + 1))))
    }
}
