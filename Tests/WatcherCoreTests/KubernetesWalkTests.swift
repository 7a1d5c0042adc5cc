import Kubernetes
import Model
import TestKit
import Testing
import WatcherCore
import Wire

/// A reflector and the watcher's machine against a model of an API server that does everything wrong which one can do.
///
/// Property: whatever happened, once the server is quiet the pool's endpoints are the server's slices, exactly. And meanwhile what
/// the server never took back is never lost.
@Suite struct KubernetesWalkTests {
    @Test func theFeedEndsAsTheServerIs() {
        let first = UInt64.random(in: 0..<1 << 32)
        print("kubernetes walks: 150 seeds from \(first)")
        var relists: UInt64 = 0
        for seed in first..<first + 150 {
            var walk = KubernetesWalk(seed: seed)
            for _ in 0..<400 { walk.step() }
            walk.quiet()
            relists += walk.reflector.report.relists
            #expect(walk.problem == nil, "seed \(seed): \(walk.problem ?? "")")
        }
        print("kubernetes walks: \(relists) relists")
        #expect(relists > 100)
    }
}

struct KubernetesWalk {
    private var random: SeededGenerator
    private var server = ModelAPIServer()
    private(set) var reflector: Reflector
    private var bench: Bench
    private var request: APIRequest?
    private var answer: ModelAPIServer.Answer?
    private var hasHead = false
    private var isRenewing = false
    /// What went wrong, once.
    private(set) var problem: String?
    private static let pool = PoolSource(name: "web", service: ObjectKey(namespace: "shop", name: "web"), port: .name("http"))
    private static let stable = EndpointID(uid: "stable")

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        reflector = Reflector(WatchScope.needed(for: [Self.pool])[0], seed: seed)
        bench = Bench(pools: [Self.pool], source: .kubernetes(DoubtPolicy()))
        server.speaksProtobuf = Bool.random(using: &random)
        server.refusesWatchList = Bool.random(using: &random)
        server.sendsBookmarks = Int.random(in: 0..<4, using: &random) > 0
        server.put(Self.slice("stable", [EndpointSlice.Endpoint(address: "10.9.9.9", uid: "stable")]))
        // A list may be answered from any state that is remembered: none from before that.
        server.compact()
        tell(.started)
    }

    private static func slice(_ name: String, _ endpoints: [EndpointSlice.Endpoint]) -> EndpointSlice {
        EndpointSlice(
            metadata: ObjectMetadata(key: ObjectKey(namespace: "shop", name: name), serviceName: "web"), addressType: .ipv4,
            ports: [.init(name: "http", number: 80)], endpoints: endpoints)
    }

    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    private mutating func tell(_ input: ReflectorInput) {
        var actions: [ReflectorAction] = []
        reflector.handle(input, at: bench.now, &actions)
        reflector.checkInvariants()
        for action in actions {
            switch action {
            case .request(let new):
                if request != nil { problem = problem ?? "two requests under way" }
                (request, answer, hasHead) = (new, nil, false)
            case .cancel(let id):
                if id != request?.id { problem = problem ?? "something else is cancelled" }
                (request, answer) = (nil, nil)
            case .renewCredentials: isRenewing = true
            case .apply(let update): bench.handle(.kubernetesSaid(reflector.scope, update, sinceEpoch: .seconds(1_795_000_000)))
            case .health(let health): bench.handle(.kubernetesHealth(reflector.scope, health, lastHeard: reflector.report.lastHeard))
            case .log: break
            }
        }
        let pool = bench.follower.endpoints[Self.pool.pool]
        if bench.machine.isKnown, pool?[Self.stable] == nil { problem = problem ?? "what never left was lost" }
        _ = bench.take()
    }

    mutating func step() {
        switch Int.random(in: 0..<12, using: &random) {
        case 0...2: change()
        case 3: if chance(15) { server.compact() } else { server.advance() }
        case 4: pass()
        case 5: if chance(25) { trouble() }
        case _: talk(isCalm: false)
        }
    }

    /// Another life for some slice: a few endpoints, addresses reused with other UIDs.
    private mutating func change() {
        let name = "s\(Int.random(in: 0..<7, using: &random))"
        if chance(30) { return server.remove(ObjectKey(namespace: "shop", name: name)) }
        let endpoints = (0..<Int.random(in: 0..<4, using: &random)).map { _ in
            let host = Int.random(in: 1..<9, using: &random)
            return EndpointSlice.Endpoint(
                address: "10.0.0.\(host)", conditions: chance(70) ? [.ready, .serving] : [.serving],
                uid: "pod-\(host)-\(Int.random(in: 0..<3, using: &random))", node: "node-\(host)")
        }
        server.put(Self.slice(name, endpoints))
    }

    private mutating func pass() {
        bench.pass(chance(5) ? .seconds(Int.random(in: 1..<700, using: &random)) : .milliseconds(Int.random(in: 1..<3000, using: &random)))
        wake()
    }

    private mutating func wake() {
        if bench.now >= reflector.nextWake { tell(.wokeUp) }
        if bench.now >= bench.machine.nextWake { bench.handle(.wokeUp) }
        if isRenewing {
            isRenewing = false
            tell(chance(70) ? .credentialsRenewed : .credentialsFailed("no token"))
        }
    }

    private mutating func trouble() {
        guard let id = request?.id else { return }
        if chance(30), var watch = answer, watch.isWatch {
            server.interrupt(&watch, chance(50) ? 410 : 500, chance(50) ? "Expired" : "InternalError")
            answer = watch
            return
        }
        // A clean end anywhere, even in the middle of a line, or a reset.
        (request, answer) = (nil, nil)
        tell(chance(40) && hasHead ? .ended(id) : .failed(id, TransportFailure(.connectionLost, "cut")))
    }

    /// The server says the next piece of what it has to say.
    private mutating func talk(isCalm: Bool) {
        guard let request else { return }
        guard var current = answer else {
            if !isCalm, chance(20) {
                let code = [400, 401, 403, 410, 429, 500, 503, 504].randomElement(using: &random) ?? 500
                answer = server.failure(code, "Trouble", "says the model", retryAfter: code == 429 ? .seconds(2) : nil)
            } else {
                answer = server.answer(request.target, accept: request.accept, lag: isCalm ? 0 : Int.random(in: 0..<4, using: &random))
            }
            return
        }
        if !hasHead {
            hasHead = true
            return tell(.responded(request.id, current.head))
        }
        if current.body.isEmpty { server.advance(&current, withBookmark: isCalm || chance(10)) }
        let piece = Array(current.body.prefix(chance(50) ? .max : Int.random(in: 1...200, using: &random)))
        current.body.removeFirst(piece.count)
        answer = current
        if !piece.isEmpty { tell(.received(request.id, piece)) }
        if current.isDone, self.request?.id == request.id {
            (self.request, answer) = (nil, nil)
            tell(.ended(request.id))
        }
    }

    /// Nothing goes wrong any more: everything that has to arrive arrives.
    mutating func quiet() {
        let wanted = Dictionary(uniqueKeysWithValues: Self.merged(server.slices).map { ($0.id, $0) })
        var goodTurns = 0
        // Five minutes are enough for every pause and every doubt; and what is right has to stay so.
        for _ in 0..<3000 where goodTurns < 100 {
            talk(isCalm: true)
            bench.pass(.milliseconds(100))
            wake()
            let isRight = bench.follower.health?.state == .live && bench.follower.endpoints[Self.pool.pool] == wanted
            goodTurns = isRight ? goodTurns + 1 : 0
        }
        let served = bench.follower.endpoints[Self.pool.pool] ?? [:]
        if served != wanted { problem = problem ?? "served \(served.keys.sorted()), at the server \(wanted.keys.sorted())" }
        if bench.follower.health?.state != .live { problem = problem ?? "not live: \(bench.follower.health?.detail ?? "")" }
        if reflector.report.objects != server.slices.count { problem = problem ?? "\(reflector.report.objects) objects are known" }
    }

    private static func merged(_ slices: [ObjectKey: EndpointSlice]) -> [Endpoint] {
        var merge = EndpointMerge(pools: [pool])
        for slice in slices.values { merge.upsert(slice) }
        return merge.endpoints(of: pool.pool)
    }
}
