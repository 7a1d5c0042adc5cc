import CLinux
import KeeperCore
import Linux
import Logging
import Model
import ServiceKit
import Systemd
import Wire

/// The process around the machine: its edges, its files, one timer, and the proof of its peers' lives.
final class Shell {
    let service: Service
    var keeper: Keeper
    var counts = KeeperCounts()
    private var actions: [Keeper.Action] = []
    private var isPerforming = false
    private var postponed: [Keeper.Input] = []
    private let leasing: LinkServer
    let escrow: EscrowStore
    private var handOvers: [HandOver] = []
    /// Tries again what a successor's link did not take.
    private var handOverTimer: LoopTimer?
    private let state: StateEdge
    private let leases: LeasesEdge
    private let scaling: LinkServer
    private let endpoints: LinkClient
    private var timer: LoopTimer?
    /// Ours alone for as long as we live: two on one directory would grant one endpoint twice.
    private let lock: Descriptor
    private let epochFile: EpochFile
    private let epoch: UInt64
    private var roster: DispatcherRoster
    var operatorFile: OperatorFile
    /// Few: a linear search beats a hash.
    private var links: [(id: DispatcherID, link: Link, instance: InstanceID)] = []
    /// Hellos in a seat whose last process is dead and not yet read to its end.
    private var heirs: [(link: Link, predecessor: InstanceID)] = []
    private var nextID: UInt64 = 1
    private var lives: [InstanceID: Life] = [:]
    /// For how many endpoints or pools the last verb did something.
    var operated: UInt32 = 0
    private let logsAll: Bool

    /// A dispatcher process: its pidfd, whether it has died, and its link while there is one.
    private struct Life {
        var seat: String
        var pidfd: Int32
        var token: Loop.Token?
        var hasDied = false
        var link: DispatcherID?
    }

    init(_ service: Service) throws {
        self.service = service
        let directory = try service.stateDirectory()
        lock = try Files.lock(
            directory + "/lock", holder: "another pool-keeper uses this directory: stop it, or give each installation its own state-directory")
        epochFile = EpochFile(directory: directory)
        let last = try epochFile.load()
        epoch = EpochFile.next(after: last)
        roster = DispatcherRoster(directory: service.privateRuntimeDirectory)
        operatorFile = OperatorFile(directory: directory)
        // The roster first: one of a later epoch than the file's is believed, one of an earlier is lost.
        let (known, setAside) = try roster.load(after: last, for: epoch)
        try epochFile.write(epoch, leavesNothing: false)
        let configuration = service.configuration
        keeper = Keeper(
            Keeper.Parameters(epoch: epoch, adoptWithin: configuration.adoptWithin, recoveryGrace: configuration.recoveryGrace),
            policies: configuration.pools.map(\.policy), roster: known.map { RosterEntry(instance: $0.instance, seat: $0.seat) },
            setAside: setAside, heldBack: try operatorFile.load(), at: Instant(nanoseconds: monotonicNow()))
        leasing = try service.listen(.leasing)
        escrow = EscrowStore(loop: service.loop, budget: Int(service.outbox.descriptorBudget))
        scaling = try service.listen(.scaling)
        state = StateEdge(try service.listen(.state), loop: service.loop)
        leases = LeasesEdge(try service.listen(.leases))
        endpoints = service.connect(.endpoints)
        logsAll = service.logger.logLevel <= .debug
        timer = service.loop.timer { [unowned self] _ in feed(.wake) }
        leases.read = { [unowned self] in
            keeper.leaseReports(at: service.loop.instant).filter { !$0.isProbe }.map { LiveLease(lease: $0.lease, pool: $0.pool, tenant: keeper.tenant(of: $0.lease)) }
        }
        state.read = { [unowned self] pool in keeper.state(of: pool, at: service.loop.instant) }
        state.cells = { [unowned self] pool, most in keeper.cells(of: pool, most: most) }
        state.pools = { [unowned self] in keeper.configuredPools.map(\.id) }
        handOverTimer = service.loop.timer { [unowned self] _ in goOnHandingOver() }
        escrow.onHangUp = { [unowned self] instance, ticket in feed(.callerLeft(instance, ticket)) }
        connectEdges()
        for process in known { follow(process) }
        service.onReload = { [unowned self] _, new in
            counts.follow(new.pools.map(\.policy))
            feed(.policiesChanged(new.pools.map(\.policy)))
            // A pool that is gone is paused no more.
            _ = saveHeldBack()
        }
        service.onControl = { [unowned self] request in answer(request) }
        counts.follow(keeper.configuredPools)
        service.vitals.collect = { [unowned self] round in counts.tell(keeper, escrow: escrow, &round) }
        service.counters = { [unowned self] in counts.report(keeper, leasing: leasing, escrow: escrow) }
        service.loop.atTurnEnd { [unowned self] in turnEnded() }
        endpoints.start()
        service.ready(status: status)
    }

    // MARK: The machine

    /// Hands one input in and carries out what comes of it. A link may end under that (a slow reader, a peer at fault) and feed its
    /// end: that waits for its turn.
    @inline(__always)
    func feed(_ input: Keeper.Input) {
        guard !isPerforming else { return postponed.append(input) }
        keeper.handle(input, at: service.loop.instant, into: &actions)
        isPerforming = true
        for action in actions { perform(action) }
        isPerforming = false
        actions.removeAll(keepingCapacity: true)
        if !postponed.isEmpty { feed(postponed.removeFirst()) }
    }

    private func perform(_ action: Keeper.Action) {
        switch action {
        case .reply(let id, let reply):
            // A link that ended in this turn: what it held is told again.
            guard let link = links.first(where: { $0.id == id })?.link else { return }
            link.append { reply.encode(into: &$0) }
        case .scaling(let reply): scaling.broadcast(reply)
        case .poolChanged(let pool): state.changed(pool)
        case .closeDispatcher(let id, let reason):
            service.logger.warning(
                "A dispatcher broke the protocol and is disconnected, continuing",
                metadata: ["reason": "\(reason.name)", LogKey.messageID: "\(MessageID.protocolBroken)"])
            links.first { $0.id == id }?.link.close()
        case .rosterChanged: saveRoster(keeper.roster, keeper.setAside(at: service.loop.instant))
        case .handOver(let dead, let heir, let id):
            escrow.inherit(from: dead, to: heir)
            guard let link = links.first(where: { $0.id == id })?.link else { return }
            let parked = keeper.waiting(of: heir).map(\.caller)
            handOvers.append(HandOver(to: link, heir, escrow.seat(heir), parkedCallers: parked) { [unowned self] in
                keeper.held($0, at: service.loop.instant)
            })
        case .closeWorker(let instance, let lease): escrow.close(lease, of: instance)
        case .fence(let instance, let lease):
            service.logger.warning(
                "A worker was cut off: nobody adopted its session", metadata: [LogKey.lease: "\(lease)", LogKey.messageID: "\(MessageID.fenced)"])
            escrow.fence(lease, of: instance)
        case .watchCallers(let instance): escrow.watch(keeper.waiting(of: instance), of: instance)
        case .dropEscrow(let instance): escrow.drop(instance)
        case .operated(let count): operated = count
        case .notice(let notice): note(notice)
        }
    }

    private func turnEnded() {
        if !handOvers.isEmpty { goOnHandingOver() }
        timer?.set(keeper.nextWake)
        service.setStatus(status)
    }

    private var status: String {
        if !keeper.hasEndpoints { return "Waiting for endpoints" }
        let missing = keeper.unasserted
        if keeper.isRecovering && !missing.isEmpty {
            return "Recovering: waiting for the leases of dispatcher \(missing.map(\.seat).joined(separator: ", "))"
        }
        return "Granting"
    }

    // MARK: Edges

    private func connectEdges() {
        leasing.onUp = { [unowned self] link in dispatcherUp(link) }
        leasing.onPacket = { [unowned self] (link, packet, descriptors) throws(WireError) in
            try dispatcherSaid(link, packet, descriptors)
        }
        leasing.onEnd = { [unowned self] link, reason in dispatcherDown(link, reason) }
        scaling.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd { feed(.scaling(try ScalingRequest.decode(from: &reader))) }
        }
        endpoints.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd { feed(.endpoints(try EndpointsMessage.decode(from: &reader))) }
        }
        endpoints.onUp = { [unowned self] _ in
            service.logger.info("Connected to the watcher", metadata: [LogKey.messageID: "\(MessageID.linkUp)"])
        }
        endpoints.onDown = { [unowned self] reason in
            service.logger.warning(
                "The watcher is away, continuing with what is known",
                metadata: ["reason": "\(reason)", LogKey.messageID: "\(MessageID.linkDown)"])
            feed(.endpointsLost)
        }
    }

    private func dispatcherSaid(_ link: Link, _ packet: UnsafeRawBufferPointer, _ descriptors: ReceivedDescriptors?) throws(WireError) {
        let id = DispatcherID(rawValue: link.tag)
        guard let instance = links.first(where: { $0.id == id })?.instance, !isHandingOver(to: instance) else {
            throw .mismatch(field: "messages before the end of adoption", ours: 0, theirs: UInt64(packet.count))
        }
        var reader = ByteReader(packet)
        while !reader.isAtEnd {
            let request = try LeasingRequest.decode(from: &reader)
            if case .escrow(let message) = request {
                let isKept = try escrow.take(message, from: instance, descriptors) { keeper.held($0, at: service.loop.instant)?.isEnding ?? false }
                // The machine knows of workers only.
                guard isKept, case .worker = message else { continue }
            }
            feed(.request(id, request))
            if case .asserted = request { escrow.asserted(instance) }
        }
        if let rest = descriptors?.count, rest > 0 { throw .mismatch(field: "descriptors beyond those announced", ours: 0, theirs: UInt64(rest)) }
    }

    private func dispatcherUp(_ link: Link) {
        guard let peer = link.peer else { return }
        // One process in a seat at a time inherits: the last, once everything that it said has been read.
        if let dead = unread(in: peer.seat, but: InstanceID(rawValue: peer.instance)) { return heirs.append((link, dead)) }
        let id = DispatcherID(rawValue: nextID)
        nextID += 1
        link.tag = id.rawValue
        let instance = InstanceID(rawValue: peer.instance)
        links.append((id, link, instance))
        let pid = link.credentials.pid
        roster.know(
            DispatcherRoster.Process(
                instance: instance, seat: peer.seat.replacingSpaces, pid: pid, startTime: ProcessTable.startTime(of: pid) ?? 0))
        if lives[instance] == nil {
            if var pidfd = link.peerPidfd() { watch(instance, peer.seat, pidfd.release()) } else { lives[instance] = Life(seat: peer.seat, pidfd: -1) }
        }
        lives[instance]?.link = id
        service.logger.info("A dispatcher connected", metadata: ["seat": "\(peer.seat)", LogKey.messageID: "\(MessageID.linkUp)"])
        escrow.greeted(instance)
        feed(.dispatcherConnected(id, instance: instance, seat: peer.seat))
    }

    private func dispatcherDown(_ link: Link, _ reason: LinkEnd) {
        if let i = heirs.firstIndex(where: { $0.link === link }) {
            heirs.remove(at: i)
            return
        }
        let id = DispatcherID(rawValue: link.tag)
        links.removeAll { $0.id == id }
        handOvers.removeAll { $0.link === link }
        service.logger.warning(
            "A dispatcher's link ended; its leases stay", metadata: [
                "seat": "\(link.peer?.seat ?? "")", "reason": "\(reason)", LogKey.messageID: "\(MessageID.linkDown)",
            ])
        feed(.dispatcherLinkEnded(id))
        guard let instance = link.peer.map({ InstanceID(rawValue: $0.instance) }), lives[instance]?.link == id else { return }
        lives[instance]?.link = nil
        if lives[instance]?.hasDied == true { buried(instance) }
    }

    // MARK: Proof of life and death

    /// A process that an earlier pool-keeper knew: dead, or followed until it connects or dies.
    private func follow(_ process: DispatcherRoster.Process) {
        let pidfd = lh_pidfd_open(process.pid)
        let isSame = pidfd >= 0 && ProcessTable.startTime(of: process.pid) == process.startTime
        guard isSame else {
            if pidfd >= 0 { _ = lh_close(Int32(pidfd)) }
            return feed(.dispatcherDied(process.instance))
        }
        watch(process.instance, process.seat, Int32(pidfd))
    }

    private func watch(_ instance: InstanceID, _ seat: String, _ pidfd: Int32) {
        var life = Life(seat: seat, pidfd: pidfd)
        // Without a watch the death would go unseen; the link's end still suspends its tickets.
        life.token = try? service.loop.watch(pidfd, LH_EPOLLIN) { [unowned self] _ in died(instance) }
        lives[instance] = life
    }

    private func died(_ instance: InstanceID) {
        guard var life = lives[instance], !life.hasDied else { return }
        if let token = life.token { service.loop.unwatch(token) }
        life.token = nil
        life.hasDied = true
        lives[instance] = life
        // What it said last is still in the link's queue: the link's end comes first.
        if life.link == nil { buried(instance) }
    }

    private func buried(_ instance: InstanceID) {
        if let life = lives.removeValue(forKey: instance), life.pidfd >= 0 { _ = lh_close(life.pidfd) }
        for (ticket, caller) in keeper.waiting(of: instance) where !escrow.holds(caller, of: instance) { feed(.callerLeft(instance, ticket)) }
        feed(.dispatcherDied(instance))
        let waiting = heirs.filter { $0.predecessor == instance }.map(\.link)
        heirs.removeAll { $0.predecessor == instance }
        for link in waiting where link.isUp { dispatcherUp(link) }
    }

    /// A process of this seat that is dead, though not all that it said has been read.
    private func unread(in seat: String, but heir: InstanceID) -> InstanceID? {
        for (instance, life) in lives where life.seat == seat && instance != heir {
            // Its end may be in the same turn's events as the hello.
            if !life.hasDied, life.pidfd >= 0, lh_poll_now(life.pidfd) & POLLIN != 0 { died(instance) }
            if lives[instance]?.hasDied ?? false { return instance }
        }
        return nil
    }

    private func isHandingOver(to instance: InstanceID) -> Bool {
        !handOvers.isEmpty && handOvers.contains { $0.heir == instance }
    }

    private func goOnHandingOver() {
        handOvers.removeAll { $0.goOn() }
        if !handOvers.isEmpty { handOverTimer?.deadline = service.loop.now + 5_000_000 }
    }

    /// After the last turn: nothing is granted any more.
    func stopped() {
        let (entries, setAside) = (keeper.rosterAtStop, keeper.setAside(at: service.loop.instant))
        saveRoster(entries, setAside)
        guard entries.isEmpty, setAside.isEmpty else { return }
        // Else the next would only wait in vain, should the roster be gone by then.
        do throws(SystemError) { try epochFile.write(epoch, leavesNothing: true) } catch { logNotSaved(error) }
    }

    private func saveRoster(_ entries: [RosterEntry], _ setAside: [SetAside]) {
        do throws(SystemError) { try roster.save(entries, setAside) { lives[$0] != nil } } catch { logNotSaved(error) }
    }

    private func logNotSaved(_ error: SystemError) {
        service.logger.error(
            "The roster of dispatchers could not be written; a restart now would not wait for all leases",
            metadata: ["error": "\(error)", LogKey.messageID: "\(MessageID.stateNotSaved)"])
    }

    // MARK: Notices

    private func note(_ notice: Notice) {
        counts.note(notice)
        switch notice {
        case .granted(let lease, let pool, _, _): leases.began(lease, pool, tenant: keeper.tenant(of: lease))
        case .leaseEnded(let lease, _, _, _, _): leases.ended(lease)
        case .refused, .requeued, .gone, .ignored, .adopted, .revoked: break
        case .quarantined(let endpoint, let pool, let cause, let duration):
            service.logger.notice(
                "An endpoint is set aside", metadata: [
                    LogKey.endpoint: "\(endpoint)", LogKey.pool: "\(service.configuration.pool(pool)?.name ?? "")",
                    LogKey.reason: "\(cause.name)", "ms": "\(duration.milliseconds)", LogKey.messageID: "\(MessageID.quarantined)",
                ])
        case .quarantineEnded(let endpoint):
            service.logger.info("An endpoint's quarantine ended", metadata: [LogKey.endpoint: "\(endpoint)"])
        case .nodeAvoided(let endpoint):
            service.logger.warning(
                "Dials to a node time out; others are preferred",
                metadata: [LogKey.endpoint: "\(endpoint)", LogKey.messageID: "\(MessageID.nodeAvoided)"])
        case .nodeTrusted(let endpoint):
            service.logger.info("A node is trusted again", metadata: [LogKey.endpoint: "\(endpoint)"])
        case .conflict(let endpoint, let lease, let open):
            service.logger.error(
                "More leases than slots were asserted; nothing new is granted there until they end",
                metadata: [
                    LogKey.endpoint: "\(endpoint)", LogKey.lease: "\(lease)", "open": "\(open)",
                    LogKey.messageID: "\(MessageID.tooManyLeases)",
                ])
        case .unknownEndpoint(let endpoint, let lease):
            service.logger.info(
                "A lease runs on an endpoint that no source names", metadata: [LogKey.endpoint: "\(endpoint)", LogKey.lease: "\(lease)"])
        case .recovered(let after):
            leases.recovered()
            service.logger.notice(
                "Granting begins", metadata: ["after-ms": "\(after.milliseconds)", LogKey.messageID: "\(MessageID.recovered)"])
        }
    }
}

extension String {
    /// The roster's fields are separated by spaces; a seat is a unit's instance name and holds none.
    fileprivate var replacingSpaces: String { String(map { $0 == " " || $0 == "\n" ? "_" : $0 }) }
}

extension Notice.QuarantineCause {
    var name: String {
        switch self {
        case .dialFailed(let failure): "dial-\(failure.name)"
        case .outcome(let outcome): outcome.name
        case .holderDied: "holder-died"
        case .unaccounted: "unaccounted"
        case .byOperator: "by-operator"
        }
    }
}
