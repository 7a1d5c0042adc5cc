import Kubernetes
import KubernetesClient
import Linux
import Logging
import Model
import ServiceKit

/// An API server as the watcher's source: a reflector for each scope, and the transport that performs their requests.
///
/// What the objects mean is the machine's business; this keeps copies of them coming, and knows how that goes.
final class KubernetesSource {
    let location: String
    private let loop: Loop
    private let logger: Logger
    private var transport: KubernetesTransport?
    private var reflectors: [WatchScope: Reflector] = [:]
    private var timer: LoopTimer?
    private var actions: [ReflectorAction] = []
    /// What the machine is to be told, in order; called at most once for each thing that happened.
    private let tell: ([News]) -> Void
    private var news: [News] = []
    private var rate = EventRate()
    /// What went wrong last, and when, also when it is over.
    private(set) var lastError: (detail: String, at: Instant)?

    /// What reflectors have to say.
    enum News {
        case update(WatchScope, ObjectUpdate)
        case health(WatchScope, ReflectorHealth, lastHeard: Instant?)
        case log(ReflectorNotice, WatchScope)
    }

    init(_ configuration: KubernetesConfiguration, on loop: Loop, logger: Logger, tell: @escaping ([News]) -> Void) throws(SystemError) {
        self.loop = loop
        self.logger = logger
        self.tell = tell
        location = configuration.location
        transport = try KubernetesTransport(
            configuration.access, userAgent: "leasehold-watcher/\(Version.current)", on: loop, logger: logger
        ) { [unowned self] events in
            for event in events { handle(event.input, of: event.scope) }
            settle()
        }
        timer = loop.timer { [unowned self] _ in wokeUp() }
    }

    /// Begins what the pools need and is not watched yet, and ends what they need no more.
    func watch(_ scopes: Set<WatchScope>) {
        for scope in reflectors.keys.sorted() where !scopes.contains(scope) {
            handle(.stopped, of: scope)
            reflectors[scope] = nil
        }
        for scope in scopes.sorted() where reflectors[scope] == nil {
            reflectors[scope] = Reflector(scope, seed: UInt64.random(in: 0 ... .max))
            handle(.started, of: scope)
        }
        settle()
    }

    /// The operator says that something changed: credentials are read anew and connections made anew, at the next request.
    func renew() { transport?.renewConnections() }

    private func wokeUp() {
        let now = loop.instant
        for scope in reflectors.keys.sorted() where (reflectors[scope]?.nextWake ?? .never) <= now { handle(.wokeUp, of: scope) }
        settle()
    }

    private func handle(_ input: ReflectorInput, of scope: WatchScope) {
        guard reflectors[scope] != nil else { return }
        reflectors[scope]?.handle(input, at: Instant(nanoseconds: monotonicNow()), &actions)
        for action in actions {
            switch action {
            case .request(let request): transport?.start(request, for: scope)
            case .cancel(let id): transport?.cancel(id, of: scope)
            case .renewCredentials: transport?.renewCredentials(for: scope)
            case .apply(let update):
                if update.origin == .events { rate.add(update.changes.count, at: monotonicNow()) }
                news.append(.update(scope, update))
            case .health(let health): news.append(.health(scope, health, lastHeard: reflectors[scope]?.report.lastHeard))
            case .log(let notice): news.append(.log(notice, scope))
            }
        }
        if let problem = reflectors[scope]?.report.problem, problem.detail != lastError?.detail {
            lastError = (problem.detail, Instant(nanoseconds: monotonicNow()))
        }
        actions.removeAll(keepingCapacity: true)
    }

    private func settle() {
        timer?.set(reflectors.values.map(\.nextWake).min() ?? .never)
        guard !news.isEmpty else { return }
        let told = news
        news = []
        tell(told)
    }

    // MARK: Reports

    var reports: [ReflectorReport] { reflectors.keys.sorted().compactMap { reflectors[$0]?.report } }

    /// Changes a second that the server told, over the last ten seconds.
    var eventsPerSecond: Double { rate.value(at: monotonicNow()) }
}

/// Events a second over a window of ten, in steps of one.
struct EventRate {
    private var counts = [Int](repeating: 0, count: 10)
    private var second: Int64 = 0

    mutating func add(_ count: Int, at now: Int64) {
        move(to: now / 1_000_000_000)
        counts[Int(second % 10)] += count
    }

    func value(at now: Int64) -> Double {
        var copy = self
        copy.move(to: now / 1_000_000_000)
        return Double(copy.counts.reduce(0, +)) / 10
    }

    private mutating func move(to now: Int64) {
        guard now > second else { return }
        for passed in max(second + 1, now - 9)...now { counts[Int(passed % 10)] = 0 }
        second = now
    }
}

extension KubernetesConfiguration {
    var access: AccessSource {
        kubeconfig.map { .kubeconfig(path: $0, context: context) } ?? .inCluster(directory: serviceAccount)
    }

    /// For reports.
    var location: String { kubeconfig.map { "\($0)\(context.map { " (context \($0))" } ?? "")" } ?? "in-cluster" }
}
