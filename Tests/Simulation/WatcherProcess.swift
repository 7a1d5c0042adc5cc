import Kubernetes
import Model
import WatcherCore
import Wire

/// The watcher: its machine, the directory, the file that it saves its state in, and its consumers.
final class WatcherProcess: Process {
    /// On disk.
    private var saved: [UInt8]?
    private var machine: WatcherMachine!
    private var actions: [WatcherAction] = []
    private var loaded: [Int] = []
    private var wantsScan = false
    private var armed = Instant.never
    /// The way to the API server, where there is one instead of the directory.
    private var kubernetes: KubernetesSource?
    private var consumers: [LinkEnd] { ends.filter { $0.isUp && $0.edge == .endpoints } }

    override func boot() {
        let pools = world.cluster.sources
        let policy = DoubtPolicy(hold: .seconds(2))
        machine = WatcherMachine(
            pools: pools, localPools: Set(world.localPool.map { [$0] } ?? []),
            source: world.scenario.isKubernetes ? .kubernetes(policy) : .directory, at: now)
        kubernetes = world.scenario.isKubernetes ? KubernetesSource(self, pools) : nil
        loaded = world.cluster.files.map { _ in 0 }
        armed = .never
        if let saved {
            do {
                feed(.restored(try saved.withUnsafeBytes { try SavedState($0) }))
            } catch {
                world.fail("the saved state could not be read: \(error)")
            }
        }
        // As the product: whoever comes is greeted with what the source says, if it can be read at all.
        feed(.wokeUp)
        kubernetes?.start()
    }

    override func died() { kubernetes = nil }

    func feed(_ input: WatcherInput) {
        guard life == .running else { return }
        actions.removeAll(keepingCapacity: true)
        machine.handle(input, at: now, &actions)
        for action in actions { perform(action) }
        if wantsScan {
            wantsScan = false
            scan()
        }
    }

    private func perform(_ action: WatcherAction) {
        switch action {
        case .send(let message): for end in consumers { end.send(message) }
        case .greetAll: for end in consumers { greet(end) }
        case .save:
            guard act() else { return }
            var bytes: [UInt8] = []
            machine.savedState(at: now).encode { bytes += $0 }
            if world.mutation != .emptyWhileUnknown { saved = bytes }
        case .confirmSaved: break  // the age of a saved state decides nothing here
        case .scan: wantsScan = true
        case .closeWorkers(let why): world.fail("the watcher closed a link that is not there: \(why)")
        case .log: break
        }
    }

    private func greet(_ end: LinkEnd) {
        if world.mutation == .emptyWhileUnknown, !machine.isKnown {
            end.send(EndpointsMessage.source(SourceHealth(state: .live)))
            end.send(EndpointsMessage.snapshotBegin(generation: 0))
            end.send(EndpointsMessage.snapshotEnd(generation: 0))
            return
        }
        machine.greet(at: now) { end.send($0) }
    }

    // The directory.

    private func scan() {
        guard world.cluster.isReadable else { return feed(.directoryUnreadable("nobody may read it")) }
        for (pool, file) in world.cluster.files.enumerated() { load(pool, file) }
        feed(.scanCompleted(files: Set(world.cluster.files.indices.map { "pool-\($0).yaml" })))
    }

    /// A notification of files that were written; each as it was written then.
    func changed(_ files: [(pool: Int, file: (version: Int, manifest: Manifest))]) {
        if let kubernetes { return kubernetes.stir() }
        guard world.cluster.isReadable else { return }
        for one in files { load(one.pool, one.file) }
        feed(.settled)
    }

    private func load(_ pool: Int, _ file: (version: Int, manifest: Manifest)) {
        guard file.version > loaded[pool] else { return }
        loaded[pool] = file.version
        feed(.fileLoaded("pool-\(pool).yaml", file.manifest))
    }

    // Links and time.

    override func linkUp(_ end: LinkEnd) { if end.edge == .workers { feed(.workersLinkUp) } else { greet(end) } }

    override func linkEnded(_ end: LinkEnd, wasUp: Bool) { if wasUp, end.edge == .workers { feed(.workersLinkDown) } }

    override func received(_ bytes: [UInt8], on end: LinkEnd) {
        guard end.edge == .workers else { return world.fail("a consumer said something to the watcher") }
        end.decode(bytes, WorkersMessage.self) { feed(.workersSaid($0)) }
    }

    override func afterFlush() {
        // Files that were read are in force only once everything of that moment was.
        if world.checksMachines { machine.checkInvariants() }
        let next = min(machine.nextWake, kubernetes?.nextWake ?? .never)
        guard next < armed else { return }
        armed = next
        after(max(.zero, next - now) + .microseconds(world.pick(0...2_000)), isTimer: true) { [self] in
            armed = .never
            if machine.nextWake <= now { feed(.wokeUp) }
            kubernetes?.wake()
        }
    }
}
