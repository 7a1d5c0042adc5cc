import KeeperCore
import Model
import Wire

/// The pool-keeper: its machine, its listening socket, its link to the watcher, and what it has on disk.
final class KeeperProcess: Process {
    struct Peer {
        var link: DispatcherID
        var instance: InstanceID
        var seat: String
        var end: LinkEnd
    }

    /// On disk.
    private var epoch: UInt64 = 1
    private var roster: [RosterEntry] = []
    private var setAside: [SetAside] = []
    private(set) var keeper: Keeper?
    private(set) var peers: [Peer] = []
    private var feed: Uplink!
    private var isRosterDirty = false
    /// Pools of which subscribers have not heard the latest.
    private var changed: [PoolID] = []
    private var isTelling = false
    private var armed = Instant.never
    private var links: UInt64 = 0
    /// Dead, but what they said has not been read to its end.
    private var dying: Set<InstanceID> = []
    private var actions: [Keeper.Action] = []
    var escrow: [InstanceID: EscrowBox] = [:]
    /// Hellos in the seat of a dead process whose last words have not been read.
    private var held: [LinkEnd] = []

    override func boot() {
        if world.mutation != .reusesEpoch { epoch += UInt64(world.pick(1...3)) }
        let known = world.mutation == .forgetsRoster ? [] : roster
        keeper = Keeper(Keeper.Parameters(epoch: epoch, adoptWithin: world.scenario.adoptWithin), policies: world.scenario.policies, roster: known, setAside: setAside, at: now)
        peers = []
        dying = []
        isRosterDirty = false
        changed = []
        isTelling = false
        armed = .never
        world.promises.keeperStarted(epoch)
        for entry in known where !world.isAlive(entry.instance.rawValue) { noticeDeath(of: entry.instance.rawValue) }
        feed = Uplink(self, to: world.watcher, .endpoints, seat: name, instance: 1)
        feed.connect()
    }

    override func died() {
        keeper = nil
        peers = []
        held = []
        escrow = [:]
        // Nobody else held what the dead have left.
        for (_, left) in world.limbo { left.end(world) }
        world.limbo = [:]
    }

    /// Hands one input to the machine and does what it says.
    func input(_ input: Keeper.Input) {
        guard life == .running, let next = keeper?.nextWake else { return }
        // Some wake-ups come late: then an input comes first.
        if next <= now, world.chance(0.5) { give(.wake) }
        if case .wake = input, next > now { return }
        guard let mutation = world.mutation else { return give(input) }
        for (i, changed) in mutation.rewrite(input, self).enumerated() { give(changed, instead: i == 0 ? input : changed) }
    }

    /// `instead`: what the promises see; something else only for a mutant.
    private func give(_ input: Keeper.Input, instead seen: Keeper.Input? = nil) {
        guard life == .running, keeper != nil else { return }
        actions.removeAll(keepingCapacity: true)
        world.promises.keeperWillHandle(seen ?? input)
        keeper?.handle(input, at: now, into: &actions)
        if world.checksMachines { keeper?.checkInvariants() }
        world.promises.keeperHandled(input, actions)
        for action in actions { perform(action) }
    }

    private func perform(_ action: Keeper.Action) {
        switch action {
        case .reply(let link, let reply):
            world.trace.note(name) { "→ \(self.peer(link)?.seat ?? "?"): \(reply.brief)" }
            peer(link)?.end.send(reply)
        case .scaling(let reply):
            world.trace.note(name) { "→ scaler: \(reply)" }
            for end in ends where end.isUp && end.edge == .scaling { end.send(reply) }
        case .poolChanged(let pool): if !changed.contains(pool) { changed.append(pool) }
        case .operated: break
        case .closeDispatcher(let link, let reason):
            world.trace.note(name) { "closes \(self.peer(link)?.seat ?? "?"): \(reason.name)" }
            guard let gone = peer(link) else { return }
            gone.end.flush()
            gone.end.close()
            forget(gone)
        case .handOver(let dead, let heir, let link): handOver(from: dead, to: heir, link)
        case .closeWorker(let instance, let lease): escrow[instance]?.workers[lease] = nil
        case .fence(let instance, let lease): fence(lease, of: instance)
        case .watchCallers(let instance): watchCallers(of: instance)
        case .dropEscrow(let instance): dropEscrow(instance)
        case .rosterChanged: isRosterDirty = true
        case .notice(let notice): world.trace.note(name) { "· \(notice.brief)" }
        }
    }

    func peer(_ link: DispatcherID) -> Peer? { peers.first { $0.link == link } }

    /// The roster is on disk before anything that follows is sent.
    override func beforeFlush() {
        if !changed.isEmpty, !isTelling, ends.contains(where: { $0.edge == .state }) { tellState() }
        guard isRosterDirty, let keeper, act() else { return }
        isRosterDirty = false
        roster = keeper.roster
        setAside = world.mutation == .forgetsTheDead ? [] : keeper.setAside(at: now)
    }

    /// SIGTERM: what was said goes out, and then those who may hold something are on disk.
    func end() {
        guard life == .running else { return }
        endOfTurn()
        guard life == .running, let keeper else { return }
        roster = world.mutation == .forgetsHoldersAtStop ? [] : keeper.rosterAtStop
        setAside = world.mutation == .forgetsTheDead ? [] : keeper.setAside(at: now)
        kill("in order")
    }

    override func afterFlush() {
        guard let next = keeper?.nextWake, next < armed else { return }
        armed = next
        after(max(.zero, next - now) + .microseconds(world.pick(0...1_000)), isTimer: true) { [self] in
            armed = .never
            input(.wake)
        }
    }

    // MARK: Links

    /// The first change at once, then at most every 20 ms.
    private func tellState() {
        for end in ends where end.isUp && end.edge == .state {
            for pool in changed { if let state = keeper?.state(of: pool, at: now) { end.send(StateMessage.pool(state)) } }
        }
        changed = []
        isTelling = true
        after(.milliseconds(20), isTimer: true) { [self] in
            isTelling = false
            if !changed.isEmpty { tellState() }
        }
    }

    override func linkUp(_ end: LinkEnd) {
        if end.edge == .endpoints { return feed.cameUp() }
        if end.edge == .state {
            for policy in world.scenario.policies {
                if let state = keeper?.state(of: policy.id, at: now) { end.send(StateMessage.pool(state)) }
            }
            return end.send(StateMessage.snapshotEnd)
        }
        guard end.edge == .leasing, let hello = end.hello else { return }
        if peers.contains(where: { $0.seat == hello.seat && $0.instance.rawValue != hello.instance && !world.isAlive($0.instance.rawValue) }) {
            world.trace.note(name) { "← \(hello.seat): waits for its predecessor's last words" }
            return held.append(end)
        }
        links += 1
        let peer = Peer(
            link: DispatcherID(rawValue: links), instance: InstanceID(rawValue: hello.instance), seat: hello.seat, end: end)
        peers.append(peer)
        world.trace.note(name) { "← \(hello.seat): connected, instance \(hello.instance)" }
        escrow[peer.instance]?.told = []
        input(.dispatcherConnected(peer.link, instance: peer.instance, seat: peer.seat))
        if !world.isAlive(hello.instance) { noticeDeath(of: hello.instance) }
    }

    override func received(_ bytes: [UInt8], on end: LinkEnd) {
        if end.edge == .endpoints {
            return end.decode(bytes, EndpointsMessage.self) { message in
                world.trace.note(name) { "← watcher: \(message.brief)" }
                input(.endpoints(message))
            }
        }
        if end.edge == .scaling {
            return end.decode(bytes, ScalingRequest.self) { request in
                world.trace.note(name) { "← scaler: \(request)" }
                input(.scaling(request))
            }
        }
        guard let peer = peers.first(where: { $0.end === end }) else { return }
        end.decode(bytes, LeasingRequest.self) { request in
            // The machine may have closed this link in the middle of the packet.
            guard end.isOpen else { return }
            world.trace.note(name) { "← \(peer.seat): \(request.brief)" }
            if case .escrow(let message) = request { take(message, from: peer.instance) }
            input(.request(peer.link, request))
            if case .asserted = request { sweep(peer.instance) }
        }
    }

    override func linkEnded(_ end: LinkEnd, wasUp: Bool) {
        if end.edge == .endpoints {
            if wasUp {
                world.trace.note(name) { "← watcher: lost" }
                input(.endpointsLost)
            }
            return feed.later()
        }
        guard let gone = peers.first(where: { $0.end === end }) else { return }
        world.trace.note(name) { "← \(gone.seat): link ended" }
        input(.dispatcherLinkEnded(gone.link))
        forget(gone)
    }

    private func forget(_ gone: Peer) {
        peers.removeAll { $0.link == gone.link }
        if dying.contains(gone.instance) { buryIfSilent(gone.instance) }
    }

    /// A pidfd became readable, or the roster names a process that is not there.
    func noticeDeath(of instance: UInt64) {
        after(.microseconds(world.pick(50...20_000))) { [self] in
            dying.insert(InstanceID(rawValue: instance))
            buryIfSilent(InstanceID(rawValue: instance))
        }
    }

    /// What a dead process had said is read to its end before its death counts.
    private func buryIfSilent(_ instance: InstanceID) {
        guard world.mutation == .buriesTheUnread || !peers.contains(where: { $0.instance == instance }) else { return }
        dying.remove(instance)
        world.trace.note(name) { "· instance \(instance.rawValue) is dead" }
        settleEstate(of: instance)
        for (ticket, caller) in keeper?.waiting(of: instance) ?? [] where escrow[instance]?.callers[caller] == nil {
            input(.callerLeft(instance, ticket))
        }
        input(.dispatcherDied(instance))
        let waiting = held
        held = []
        for end in waiting where end.isOpen { linkUp(end) }
    }

    // MARK: The operator

    /// Does one of the things that operators and scalers do, and takes it back later.
    func operate() {
        guard let pool = world.pick(world.scenario.policies), let pod = world.pick(world.cluster.pods.filter { $0.isAlive && !$0.isLocal }) else { return }
        let (verb, back): (Keeper.Input, Keeper.Input)
        switch world.pick(0...3) {
        case 0:
            verb = .operated(.pause(pool.id, refuse: world.chance(0.3)))
            back = .operated(.resume(pool.id))
        case 1:
            verb = .operated(.drain(endpoint: pod.uid, pool: nil))
            back = .operated(.undrain(endpoint: pod.uid, pool: nil))
        case 2:
            verb = .operated(.quarantine(endpoint: pod.uid, pool: nil, duration: .milliseconds(300)))
            back = .wake
        default:
            verb = .scaling(.drain(pod.id))
            back = .scaling(.undrain(pod.id))
        }
        order(verb)
        world.after(world.milliseconds(10...2500)) { [self] in order(back) }
    }

    private func order(_ input: Keeper.Input) {
        enter(incarnation) { [self] in
            if case .wake = input { return }
            world.trace.note(name) { "← operator: \(input)" }
            self.input(input)
        }
    }

    func healed() {
        for pool in world.scenario.policies { order(.operated(.resume(pool.id))) }
        for pod in world.cluster.pods {
            order(.operated(.undrain(endpoint: pod.uid, pool: nil)))
            if !pod.isLocal { order(.scaling(.undrain(pod.id))) }
        }
    }
}
