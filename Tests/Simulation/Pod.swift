import Model
import ScalerCore

/// A worker: one pod with one UID. It detects a second concurrent job by itself.
///
/// A job runs from its first byte at the worker until the worker is done with it, whoever listens. One whose connection was reset or
/// closed stops within ``Scenario/stopsWithin``, one whose dispatcher has died within ``Scenario/outlivesHolder``; one that is
/// half-closed goes on.
final class Pod {
    enum Listening {
        case yes
        case refuses
        /// Nothing answers.
        case hole
    }

    final class Run {
        let connection: Connection
        let isProbe: Bool
        init(_ connection: Connection) {
            self.connection = connection
            isProbe = connection.isProbe
        }
    }

    let number: Int
    let uid: String
    /// Of a local worker: its port on the loopback address, and its process.
    let port: UInt16?
    let process: ProcessIdentity?
    /// The last byte of its addresses; another pod may have it later.
    let host: UInt8
    let plan: Scenario.PodPlan
    unowned let world: World
    var isAlive = true
    /// In the slices.
    var isListed = true
    var isReady = true
    var isTerminating = false
    var listening = Listening.yes
    /// Its IPv4 side alone does not answer.
    var isV4Broken = false
    var isBusy = false
    var hangs = false
    private(set) var runs: [Run] = []
    /// Connections that it has accepted.
    private var connections: [Connection] = []

    init(
        _ world: World, number: Int, host: UInt8, plan: Scenario.PodPlan, port: UInt16? = nil, process: ProcessIdentity? = nil
    ) {
        self.world = world
        self.number = number
        self.host = host
        self.plan = plan
        self.port = port
        self.process = process
        uid = if let port, let process { "local:\(port):\(process)" } else { "pod-\(number)" }
    }

    var isLocal: Bool { port != nil }

    var id: EndpointID { EndpointID(uid: uid) }
    var slots: Int { plan.pools.map { world.scenario.policies[$0].slots }.min() ?? 1 }

    // Connections.

    func accept(_ connection: Connection) {
        connection.pod = self
        connections.append(connection)
    }

    /// The first byte of a job.
    func begins(_ connection: Connection) {
        guard connection.pod === self, !connection.isClosedAtWorker else { return }
        connection.isAcknowledged = true
        if isBusy, !connection.isProbe {
            world.trace.note(uid) { "is busy for \(connection.name)" }
            return connection.toDispatcher(world) { connection.dispatcher.workerIsBusy(connection) }
        }
        let others = runs.map { $0.connection.name }
        let run = Run(connection)
        runs.append(run)
        world.trace.note(uid) { "begins \(connection.isProbe ? "a probe" : connection.origin?.name ?? "a job") on \(connection.name)" }
        world.promises.jobBegins(connection, self)
        if runs.count > slots { world.fail("\(uid) got a second concurrent job: \(connection.name) beside \(others)") }
        if world.scenario.flips, !connection.isProbe { setReady(false) }
        guard !hangs else { return }
        let work = connection.isProbe ? Duration.milliseconds(5) : connection.origin?.plan.work ?? .milliseconds(5)
        world.after(work) { [self] in responds(run) }
    }

    private func responds(_ run: Run) {
        guard isAlive, runs.contains(where: { $0 === run }) else { return }
        let connection = run.connection
        connection.toDispatcher(world) { connection.dispatcher.workerResponds(connection) }
        // Some work on behind their response for a moment, less than the close-grace.
        let linger = !connection.isProbe && world.chance(0.3) ? world.milliseconds(0...60) : .zero
        world.after(linger) { [self] in
            guard isAlive, ends(run) else { return }
            world.trace.note(uid) { "is done with \(connection.name)" }
            connections.removeAll { $0 === connection }
            connection.toDispatcher(world) { connection.dispatcher.workerClosed(connection) }
        }
    }

    /// The dispatcher's side is closed, or its process is gone: the job, if one runs, stops soon, or not so soon.
    func connectionClosed(_ connection: Connection) {
        connections.removeAll { $0 === connection }
        guard let run = runs.first(where: { $0.connection === connection }) else { return }
        let limit = connection.isOrphaned ? world.scenario.outlivesHolder : world.scenario.stopsWithin
        world.after(.microseconds(world.pick(0...limit.microseconds))) { [self] in
            if ends(run) { world.trace.note(uid) { "gives up \(connection.name)" } }
        }
    }

    private func ends(_ run: Run) -> Bool {
        guard let i = runs.firstIndex(where: { $0 === run }) else { return false }
        runs.remove(at: i)
        if world.scenario.flips, !run.isProbe, runs.isEmpty { setReady(true) }
        if world.scenario.isSingleUse, !run.isProbe { world.cluster.usedUp(self) }
        return true
    }

    private func setReady(_ ready: Bool) {
        guard isAlive, !isTerminating, isReady != ready else { return }
        isReady = ready
        world.cluster.publish(plan.pools)
    }

    /// The process in the pod is gone, and with it every job and connection.
    func crash() {
        runs = []
        let lost = connections
        connections = []
        for connection in lost {
            connection.pod = nil
            connection.toDispatcher(world) { connection.dispatcher.workerClosed(connection) }
        }
    }
}
