import Kubernetes
import Model
import TestKit
import WatcherCore

/// The watcher's way to an API server that loses answers, tears them, refuses, forgets and lags: its reflectors, and what carries their
/// requests. Lives as long as its process.
final class KubernetesSource {
    private unowned let world: World
    private unowned let process: WatcherProcess
    private var talks: [Talk] = []

    /// One reflector and its request.
    private final class Talk {
        var reflector: Reflector
        var request: APIRequest?
        var answer: ModelAPIServer.Answer?
        /// Something is on its way already.
        var isMoving = false

        init(_ scope: WatchScope, seed: UInt64) { reflector = Reflector(scope, seed: seed) }
    }

    init(_ process: WatcherProcess, _ pools: [PoolSource]) {
        (world, self.process) = (process.world, process)
        talks = WatchScope.needed(for: pools).map { Talk($0, seed: UInt64(process.world.pick(0...1 << 40))) }
    }

    func start() { for talk in talks { tell(talk, .started) } }

    var nextWake: Instant { talks.map(\.reflector.nextWake).min() ?? .never }

    func wake() { for talk in talks where talk.reflector.nextWake <= world.now { tell(talk, .wokeUp) } }

    /// The server has something new to say.
    func stir() { for talk in talks where talk.answer != nil { move(talk) } }

    private func tell(_ talk: Talk, _ input: ReflectorInput) {
        guard process.life == .running else { return }
        var actions: [ReflectorAction] = []
        talk.reflector.handle(input, at: world.now, &actions)
        if world.checksMachines { talk.reflector.checkInvariants() }
        let scope = talk.reflector.scope
        for action in actions {
            switch action {
            case .request(let request):
                (talk.request, talk.answer) = (request, nil)
                process.after(world.netDelay()) { [self] in open(talk, request) }
            case .cancel: (talk.request, talk.answer) = (nil, nil)
            case .renewCredentials: process.after(world.milliseconds(0...50)) { [self] in tell(talk, .credentialsRenewed) }
            case .apply(let update): process.feed(.kubernetesSaid(scope, update, sinceEpoch: .seconds(1_795_000_000)))
            case .health(let health): process.feed(.kubernetesHealth(scope, health, lastHeard: talk.reflector.report.lastHeard))
            case .log(let notice): world.trace.note("reflector") { "\(scope): \(notice)" }
            }
        }
    }

    /// Something goes wrong, as long as there is trouble.
    private func isUnlucky(_ probability: Double) -> Bool { !world.isHealed && world.chance(probability) }

    private func fail(_ talk: Talk, _ kind: TransportFailure.Kind) {
        guard let id = talk.request?.id else { return }
        (talk.request, talk.answer) = (nil, nil)
        tell(talk, .failed(id, TransportFailure(kind, "the simulation's network")))
    }

    /// A request reaches the server.
    private func open(_ talk: Talk, _ request: APIRequest) {
        guard talk.request?.id == request.id else { return }
        let cluster = world.cluster!
        guard cluster.isReadable else { return fail(talk, .connectionRefused) }
        // A server that hangs: the reflector has to notice by itself, and the run is over sooner.
        if isUnlucky(0.05) { return fail(talk, .timeout) }
        var answer: ModelAPIServer.Answer
        if isUnlucky(0.1) {
            let code = world.pick([401, 429, 500, 503, 504]) ?? 500
            answer = cluster.server.failure(code, "Trouble", "says the simulation", retryAfter: code == 429 ? .seconds(1) : nil)
        } else {
            switch talk.reflector.scope.resource {
            case .endpointSlices:
                let lag = world.isHealed ? 0 : Int(world.pick(0...3))
                answer = cluster.server.answer(request.target, accept: request.accept, lag: lag)
            // No pool here needs one.
            case .services: answer = cluster.emptyServer.answer(request.target, accept: request.accept)
            }
        }
        talk.answer = answer
        tell(talk, .responded(request.id, answer.head))
        move(talk)
    }

    /// The next piece of an answer comes after a while.
    private func move(_ talk: Talk) {
        guard !talk.isMoving, let id = talk.request?.id else { return }
        talk.isMoving = true
        process.after(.microseconds(world.pick(50...20_000))) { [self] in
            talk.isMoving = false
            guard var answer = talk.answer, talk.request?.id == id else { return talk.answer == nil ? () : move(talk) }
            if !world.cluster.isReadable || isUnlucky(0.03) { return fail(talk, .connectionLost) }
            switch talk.reflector.scope.resource {
            case .endpointSlices: world.cluster.server.advance(&answer, withBookmark: world.chance(0.1))
            case .services: break
            }
            let count = world.chance(0.5) ? answer.body.count : Int(world.pick(0...Int64(answer.body.count)))
            let piece = Array(answer.body.prefix(count))
            answer.body.removeFirst(count)
            talk.answer = answer
            if !piece.isEmpty { tell(talk, .received(id, piece)) }
            guard talk.request?.id == id else { return }
            if answer.isDone || isUnlucky(0.02) {
                (talk.request, talk.answer) = (nil, nil)
                return tell(talk, .ended(id))
            }
            if !answer.body.isEmpty { move(talk) }
        }
    }
}
