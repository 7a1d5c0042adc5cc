import Kubernetes
import Model
import Testing
import WatcherCore
import Wire

/// The API server as the machine's source: what is complete, what is doubted, what is stale.
@Suite struct KubernetesSourceTests {
    static let scope = WatchScope.needed(for: [Self.named("web")])[0]
    static let wall = Duration.seconds(1_795_000_000)

    private func bench(_ pools: [PoolSource] = [Self.named("web")], _ policy: DoubtPolicy = DoubtPolicy()) -> Bench {
        Bench(pools: pools, source: .kubernetes(policy))
    }

    private func listed(_ bench: inout Bench, _ slices: EndpointSlice..., scope: WatchScope = scope, without gone: String...) {
        let changes = slices.map { ObjectChange.upserted(.slice($0)) } + gone.map { .deleted(Self.key($0)) }
        bench.handle(
            .kubernetesSaid(scope, ObjectUpdate(.relist, changes), sinceEpoch: Self.wall), .kubernetesHealth(scope, .live, lastHeard: nil))
    }

    private func happened(_ bench: inout Bench, _ changes: ObjectChange..., scope: WatchScope = scope) {
        bench.handle(.kubernetesSaid(scope, ObjectUpdate(.events, changes), sinceEpoch: Self.wall))
    }

    private func slice(_ name: String, _ hosts: ClosedRange<Int>, service: String = "web", trigger: String? = nil) -> EndpointSlice {
        var slice = Self.slice(name, service: service, hosts.map { Self.at("10.0.0.\($0)", uid: "uid-\(service)-\($0)") })
        slice.metadata.lastChangeTriggerTime = trigger
        return slice
    }

    private static func key(_ name: String) -> ObjectKey { ObjectKey(namespace: "shop", name: name) }

    private static func at(_ address: String, uid: String, ready: Bool = true) -> EndpointSlice.Endpoint {
        EndpointSlice.Endpoint(address: address, conditions: ready ? [.ready, .serving] : [.serving], uid: uid)
    }

    private static func slice(_ name: String, service: String = "web", _ endpoints: [EndpointSlice.Endpoint]) -> EndpointSlice {
        EndpointSlice(
            metadata: ObjectMetadata(key: key(name), serviceName: service), addressType: .ipv4, ports: [.init(name: "http", number: 80)],
            endpoints: endpoints)
    }

    private static func named(_ name: String, namespace: String = "shop", port: PortReference = .name("http")) -> PoolSource {
        PoolSource(name: name, service: ObjectKey(namespace: namespace, name: name), port: port)
    }

    @Test func nothingIsServedBeforeEveryNeededScopeIsRead() {
        let pools = [Self.named("web"), Self.named("api", namespace: "other", port: .number(80))]
        var bench = bench(pools)
        let scopes = WatchScope.needed(for: pools)
        #expect(scopes.map(\.description) == ["endpointslices in namespace other", "endpointslices in namespace shop", "services in namespace other"])
        #expect(scopes[2].fieldSelector == "metadata.name=api" && scopes[1].labelSelector == "kubernetes.io/service-name=web")
        listed(&bench, slice("a", 1...3), scope: scopes[1])
        listed(&bench, scope: scopes[0])
        #expect(bench.table().isEmpty && bench.follower.health?.state == .unknown)
        #expect(bench.follower.health?.detail == "services in namespace other are being read")
        listed(&bench, scope: scopes[2])
        #expect(bench.table().count == 3 && bench.follower.health?.state == .live)
        #expect(bench.notices().contains(.problem(.noSlices(ObjectKey(namespace: "other", name: "api"), pool: "api"))))
    }

    @Test func eventsAreToldAtOnce() {
        var bench = bench()
        listed(&bench, slice("a", 1...4))
        happened(&bench, .upserted(.slice(slice("a", 1...1))))
        #expect(bench.table() == ["10.0.0.1:80"], "a removal that was seen is no reason to doubt")
        happened(&bench, .deleted(Self.key("a")))
        #expect(bench.table().isEmpty && bench.follower.health?.state == .live)
    }

    @Test func aListThatEmptiesAPoolIsDoubtedForAWhile() {
        var bench = bench()
        listed(&bench, slice("a", 1...4))
        _ = bench.notices()
        listed(&bench, without: "a")
        #expect(bench.table().count == 4 && bench.follower.health?.state == .stale && bench.machine.doubtedCount == 4)
        #expect(bench.notices().contains(.doubted(pool: "web", missing: 4, of: 4, hold: .seconds(10))) && bench.machine.doubtsRaised == 1)
        bench.pass(.seconds(9))
        bench.handle(.wokeUp)
        #expect(bench.table().count == 4)
        bench.pass(.seconds(1))
        bench.handle(.wokeUp)
        #expect(bench.table().isEmpty && bench.follower.health?.state == .live)
        #expect(bench.notices().contains(.doubtConfirmed(pool: "web", removed: 4)))
    }

    @Test func whatComesBackInTimeNeverLeft() {
        var bench = bench()
        listed(&bench, slice("a", 1...4))
        listed(&bench, without: "a")
        _ = bench.take()
        listed(&bench, slice("a", 1...4))
        let sent = bench.take().compactMap { if case .send(let message) = $0 { message } else { nil } }
        #expect(sent == [.source(SourceHealth(state: .live))])
        bench.pass(.seconds(60))
        bench.handle(.wokeUp)
        #expect(bench.table().count == 4)
    }

    /// What a list removes from ten, and how many are kept for a while.
    @Test(arguments: [(1, 0), (5, 0), (6, 6), (9, 9), (10, 10)]) func doubtBeginsBeyondItsShare(_ removed: Int, _ kept: Int) {
        var bench = bench()
        listed(&bench, slice("a", 1...10))
        if removed == 10 { listed(&bench, without: "a") } else { listed(&bench, slice("a", (removed + 1)...10)) }
        #expect(bench.machine.doubtedCount == kept && bench.table().count == 10 - removed + kept)
    }

    /// What one list lacks and what the next one lacks add up, and each is kept for its own time.
    @Test func doubtsAddUp() {
        var bench = bench()
        listed(&bench, slice("a", 1...10))
        listed(&bench, slice("a", 7...10))
        #expect(bench.machine.doubtedCount == 6)
        bench.pass(.seconds(9))
        listed(&bench, without: "a")
        #expect(bench.table().count == 10 && bench.machine.doubtedCount == 10)
        bench.pass(.seconds(1))
        bench.handle(.wokeUp)
        #expect(bench.table().count == 4 && bench.machine.doubtedCount == 4 && bench.follower.health?.state == .stale)
        bench.pass(.seconds(9))
        bench.handle(.wokeUp)
        #expect(bench.table().isEmpty && bench.follower.health?.state == .live)
    }

    /// One namespace is not readable yet: that is no reason to believe an empty list of another.
    @Test func doubtDoesNotWaitForOtherScopes() {
        var bench = bench()
        listed(&bench, slice("a", 1...4))
        bench.handle(.reconfigured(pools: [Self.named("web"), Self.named("api", namespace: "other")], localPools: []))
        listed(&bench, without: "a")
        #expect(bench.table().count == 4 && bench.machine.doubtedCount == 4)
    }

    @Test func notReadyIsBelievedAtOnce() {
        var bench = bench()
        listed(&bench, slice("a", 1...2))
        listed(&bench, Self.slice("a", (1...2).map { Self.at("10.0.0.\($0)", uid: "uid-web-\($0)", ready: false) }))
        #expect(bench.table() == ["10.0.0.1:80 unusable", "10.0.0.2:80 unusable"] && bench.machine.doubtedCount == 0)
    }

    /// Everything was replaced while nobody looked: a successor at the same address is not served beside its predecessor.
    @Test func aSuccessorAtTheSameAddressEndsDoubt() {
        var bench = bench()
        listed(&bench, slice("a", 1...4))
        listed(&bench, Self.slice("a", (3...6).map { Self.at("10.0.0.\($0)", uid: "new-\($0)") }))
        #expect(bench.table() == (3...6).map { "10.0.0.\($0):80" }, "two of four are missing, two are replaced: no doubt")
        listed(&bench, without: "a")
        #expect(bench.table().count == 4)
        happened(&bench, .upserted(.slice(Self.slice("b", [Self.at("10.0.0.3", uid: "newest-3")]))))
        #expect(bench.table().count == 4 && bench.machine.doubtedCount == 3)
        #expect(bench.follower.endpoints[PoolID(name: "web")]?[EndpointID(uid: "new-3")] == nil)
        bench.pass(.seconds(10))
        bench.handle(.wokeUp)
        #expect(bench.table() == ["10.0.0.3:80"])
    }

    @Test func aRestoredStateIsDoubtedAgainstAnEmptyList() {
        var first = bench()
        listed(&first, slice("a", 1...4))
        var second = bench()
        second.handle(.restored(first.machine.savedState(at: first.now)))
        #expect(second.table().count == 4)
        listed(&second)
        #expect(second.table().count == 4 && second.machine.doubtedCount == 4)
        second.pass(.seconds(10))
        second.handle(.wokeUp)
        #expect(second.table().isEmpty && second.follower.health?.state == .live)
    }

    @Test func aServerThatIsAwayLeavesEverythingWithItsAge() {
        var bench = bench()
        bench.handle(.kubernetesHealth(Self.scope, .unknown("connection refused"), lastHeard: nil))
        #expect(bench.follower.health == SourceHealth(state: .unknown, age: .zero, detail: "connection refused"))
        listed(&bench, slice("a", 1...4))
        let heard = bench.now
        bench.pass(.seconds(30))
        bench.handle(.kubernetesHealth(Self.scope, .away("connection refused"), lastHeard: heard))
        #expect(bench.follower.health == SourceHealth(state: .stale, age: .seconds(30), detail: "connection refused"))
        #expect(bench.table().count == 4)
        bench.pass(.seconds(3600))
        #expect(bench.machine.health(at: bench.now).age == .seconds(3630))
        bench.handle(.kubernetesHealth(Self.scope, .live, lastHeard: bench.now))
        #expect(bench.follower.health?.state == .live)
    }

    /// SIGHUP: a pool more changes the selector, and so the scope; what the old one said stays until the new one is complete.
    @Test func anotherSelectorDoesNotEmptyAPool() {
        var bench = bench()
        listed(&bench, slice("a", 1...2))
        let pools = [Self.named("web"), Self.named("api")]
        bench.handle(.reconfigured(pools: pools, localPools: []))
        let scope = WatchScope.needed(for: pools)[0]
        #expect(scope.labelSelector == "kubernetes.io/service-name in (api,web)")
        #expect(bench.table().count == 2 && bench.follower.health?.state == .stale)
        // The old reflector's last words are nobody's.
        happened(&bench, .deleted(Self.key("a")))
        #expect(bench.table().count == 2)
        listed(&bench, slice("a", 1...2), slice("b", 5...5, service: "api"), scope: scope)
        #expect(bench.table().count == 2 && bench.table("api").count == 1 && bench.follower.health?.state == .live)
        bench.handle(.kubernetesRestarted)
        listed(&bench, slice("b", 5...5, service: "api"), scope: scope)
        #expect(bench.machine.doubtedCount == 2, "a new server that does not know a pool is doubted")
    }

    /// The namespace that could not be read is configured away: the rest is complete without another word.
    @Test func whatIsNotNeededAnyMoreIsNotWaitedFor() {
        let pools = [Self.named("web"), Self.named("api", namespace: "other")]
        var bench = bench(pools)
        let scopes = WatchScope.needed(for: pools)
        listed(&bench, slice("a", 1...2), scope: scopes[1])
        bench.handle(.kubernetesHealth(scopes[0], .unknown("forbidden"), lastHeard: nil))
        #expect(bench.follower.health?.detail == "forbidden")
        bench.handle(.reconfigured(pools: [Self.named("web")], localPools: []))
        #expect(bench.table().count == 2 && bench.follower.health?.state == .live)
    }

    @Test func withoutPoolsThereIsNothingToWaitFor() {
        var bench = bench([])
        #expect(bench.machine.isKnown && bench.follower.health?.state == .live)
        bench.handle(.reconfigured(pools: [Self.named("web")], localPools: []))
        #expect(bench.follower.health?.state == .stale)
        listed(&bench, slice("a", 1...2))
        #expect(bench.table().count == 2 && bench.follower.health?.state == .live)
        bench.handle(.reconfigured(pools: [], localPools: []))
        #expect(bench.table().isEmpty && bench.follower.health?.state == .live && bench.machine.objectCount == 0)
    }

    @Test func agesOfChangesAreToldOnce() {
        var bench = bench()
        // 1795000000 is 2026-11-18T11:06:40Z.
        listed(&bench, slice("a", 1...2, trigger: "2026-11-18T11:00:00Z"))
        #expect(bench.follower.ages.isEmpty, "what a list says may be old")
        happened(&bench, .upserted(.slice(slice("a", 1...3, trigger: "2026-11-18T11:06:39.250Z"))))
        happened(&bench, .upserted(.slice(slice("a", 1...2, trigger: "2026-11-18T11:06:39.250Z"))))
        happened(&bench, .upserted(.slice(slice("a", 1...1, trigger: "2026-11-18T11:07:00Z"))))
        happened(&bench, .upserted(.slice(slice("a", 1...2, trigger: "yesterday"))))
        #expect(bench.follower.ages == [.milliseconds(750), .zero])
        #expect(bench.machine.propagation.count == 2 && bench.machine.propagation.bound(ofShare: 0.99) == .seconds(1))
    }
}
