import CLinux
import Foundation
import Kubernetes
import Linux
import Logging
import Model
import ServiceKit
import Systemd
import WatcherCore
import Wire

/// The process around the machine: the directory, the state file, consumers, the scaler, the clock.
final class Shell {
    let service: ServiceKit.Service
    let source: DirectorySource?
    /// Made once the rest stands: it speaks as soon as it is there.
    private(set) var kubernetes: KubernetesSource?
    private let stateFile: StateFile
    let consumers: LinkServer
    let workers: LinkServer
    private(set) var machine: WatcherMachine
    private var scaler: Link?
    private var timer: LoopTimer?
    /// The STATUS line tells ages, which grow by themselves.
    private var statusTimer: LoopTimer?
    /// What the STATUS line said of the source.
    private var toldState: SourceHealth.State?
    private var actions: [WatcherAction] = []
    /// Inputs that came up while others were handled.
    private var waiting: [WatcherInput] = []
    private var isBusy = false
    private var reportedWatchProblem: String?
    private var isSaveFailing = false
    private(set) var counters = Counters()

    struct Counters {
        var scans: UInt64 = 0
        var filesRead: UInt64 = 0
        var filesBroken: UInt64 = 0
        var changes: UInt64 = 0
        var snapshots: UInt64 = 0
        var saves: UInt64 = 0
    }

    /// Serves what was saved, reads the source, and says ready; everything after that comes from the loop.
    init(_ service: ServiceKit.Service) throws {
        self.service = service
        source = try service.configuration.source?.directory.map { path throws(SystemError) in try DirectorySource(path: path) }
        let directory = "\(service.configuration.stateDirectory)/watcher"
        stateFile = StateFile(path: "\(directory)/endpoints")
        machine = WatcherMachine(
            pools: service.configuration.poolSources, localPools: service.configuration.localPools,
            source: service.configuration.watcherSource, at: Instant(nanoseconds: monotonicNow()))
        consumers = try service.listen(.endpoints)
        workers = try service.listen(.workers)
        timer = service.loop.timer { [unowned self] _ in handle([.wokeUp]) }
        do {
            // Privileges allowing, nobody else reads it; under systemd it is there already.
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
        } catch {
            service.logger.warning(
                "The state directory cannot be made, continuing without a saved state",
                metadata: ["directory": "\(directory)", "problem": "\(error)", LogKey.messageID: "\(MessageID.stateNotSaved)"])
        }
        restore()
        attachEdges()
        if let source { try service.loop.watch(source.fileDescriptor, LH_EPOLLIN) { [unowned self] _ in readSource() } }
        service.onReload = { [unowned self] _, new in reload(new) }
        service.onTerminate = { [unowned self] _ in
            save()
            service.loop.stop()
        }
        service.onControl = { [unowned self] request in answer(request) }
        service.counters = { [unowned self] in report(counters) }
        service.vitals.collect = { [unowned self] round in tell(&round) }
        // The first wish of the machine is a look through the directory: consumers that wait in the backlog get the result of it.
        handle([.wokeUp])
        // Ready without waiting for any server: until it speaks, what was saved is served, marked stale.
        service.ready(status: status)
        try startKubernetes()
    }

    private func startKubernetes() throws(SystemError) {
        guard let configuration = service.configuration.source?.kubernetes else { return }
        let source = try KubernetesSource(configuration, on: service.loop, logger: service.logger) { [unowned self] in take($0) }
        kubernetes = source
        source.watch(service.configuration.scopes)
        let interval: Int64 = 2_000_000_000
        statusTimer = service.loop.timer { [unowned self] now in
            service.setStatus(status)
            statusTimer?.deadline = now + interval
        }
        statusTimer?.deadline = monotonicNow() + interval
    }

    // MARK: The machine

    /// Tells the machine and does what it says, until nothing is left to do. What comes up meanwhile waits its turn.
    func handle(_ inputs: [WatcherInput]) {
        waiting += inputs
        guard !isBusy else { return }
        isBusy = true
        defer { isBusy = false }
        var (input, action) = (0, 0)
        while input < waiting.count || action < actions.count {
            if action < actions.count {
                perform(actions[action])
                action += 1
            } else {
                // A finished input's actions are all done: their room is free.
                actions.removeAll(keepingCapacity: actions.count < 4096)
                action = 0
                count(waiting[input])
                machine.handle(waiting[input], at: Instant(nanoseconds: monotonicNow()), &actions)
                input += 1
            }
        }
        actions.removeAll(keepingCapacity: actions.count < 4096)
        waiting.removeAll(keepingCapacity: waiting.count < 4096)
        timer?.set(machine.nextWake)
        tellStatus()
    }

    /// An API server may say something a thousand times a second: only a change of the state is told at once, the rest every two seconds.
    private func tellStatus() {
        let state = machine.health(at: service.loop.instant).state
        if kubernetes != nil, state == toldState { return }
        toldState = state
        service.setStatus(status)
    }

    private func perform(_ action: WatcherAction) {
        switch action {
        case .send(let message):
            counters.changes += 1
            consumers.broadcast(message)
        case .greetAll: for link in consumers.links { greet(link) }
        case .save: save()
        case .confirmSaved: confirmSaved()
        case .scan: scan(isAnnounced: false)
        case .closeWorkers(let reason):
            service.logger.warning(
                "The scaler's link is closed, continuing with its workers",
                metadata: ["reason": "\(reason)", LogKey.messageID: "\(MessageID.linkDown)"])
            scaler?.close()
        case .log(let notice): log(notice)
        }
    }

    private func count(_ input: WatcherInput) {
        switch input {
        case .fileLoaded: counters.filesRead += 1
        case .fileBroken: counters.filesBroken += 1
        case .restored, .fileRemoved, .scanCompleted, .directoryUnreadable, .settled, .workersLinkUp, .workersSaid, .workersLinkDown,
            .reconfigured, .kubernetesSaid, .kubernetesHealth, .kubernetesRestarted, .wokeUp:
            break
        }
    }

    // MARK: The source

    private func readSource() {
        var inputs: [WatcherInput] = []
        source?.readEvents(into: &inputs)
        handle(inputs)
        reportWatchProblem()
    }

    private func scan(isAnnounced: Bool) {
        guard let source else { return }
        counters.scans += 1
        var inputs: [WatcherInput] = []
        source.scan(into: &inputs, isAnnounced: isAnnounced)
        handle(inputs)
        reportWatchProblem()
    }

    private func reportWatchProblem() {
        guard let problem = source?.watchProblem, problem != reportedWatchProblem else { return }
        reportedWatchProblem = problem
        service.logger.warning(
            "The directory cannot be watched, continuing with a look through it every few seconds",
            metadata: ["problem": "\(problem)", LogKey.messageID: "\(MessageID.sourceStale)"])
    }

    private func reload(_ new: Configuration) {
        handle([.reconfigured(pools: new.poolSources, localPools: new.localPools)])
        kubernetes?.watch(new.scopes)
        kubernetes?.renew()
        scan(isAnnounced: true)
    }

    // MARK: The saved state

    private func restore() {
        do {
            guard let state = try stateFile.load() else { return }
            handle([.restored(state)])
        } catch {
            service.logger.warning(
                "The saved state cannot be read, continuing without it",
                metadata: ["file": "\(stateFile.path)", "problem": "\(error)", LogKey.messageID: "\(MessageID.stateNotSaved)"])
        }
    }

    private func save() {
        guard machine.isKnown else { return }
        counters.saves += 1
        do throws(SystemError) {
            try stateFile.save(machine.savedState(at: Instant(nanoseconds: monotonicNow())))
            isSaveFailing = false
        } catch {
            saveFailed(error)
        }
    }

    private func confirmSaved() {
        do throws(SystemError) {
            try stateFile.confirm()
        } catch {
            // Somebody removed it, or it never could be written.
            save()
        }
    }

    /// Said once, until it works again.
    private func saveFailed(_ error: SystemError) {
        guard !isSaveFailing else { return }
        isSaveFailing = true
        service.logger.warning(
            "The state cannot be saved, continuing without",
            metadata: ["problem": "\(error)", LogKey.messageID: "\(MessageID.stateNotSaved)"])
    }

    // MARK: Edges

    private func attachEdges() {
        consumers.onUp = { [unowned self] link in
            service.logger.info("A consumer is connected", metadata: ["seat": "\(link.peer?.seat ?? "")"])
            greet(link)
            service.setStatus(status)
        }
        consumers.onPacket = { (_, packet, _) throws(WireError) in
            // Subscribers say nothing: whatever this is, decoding it throws and ends the link.
            var reader = ByteReader(packet)
            _ = try NoMessage.decode(from: &reader)
        }
        consumers.onEnd = { [unowned self] link, reason in
            service.logger.info("A consumer is gone", metadata: ["seat": "\(link.peer?.seat ?? "")", "reason": "\(reason)"])
            service.setStatus(status)
        }
        workers.onUp = { [unowned self] link in
            // One scaler speaks for the node; the newer one knows better.
            let former = scaler
            scaler = link
            former?.close()
            service.logger.notice("The scaler is connected", metadata: [LogKey.messageID: "\(MessageID.linkUp)"])
            handle([.workersLinkUp])
        }
        workers.onPacket = { [unowned self] (link, packet, _) throws(WireError) in
            guard link === scaler else { return }
            var reader = ByteReader(packet)
            var inputs: [WatcherInput] = []
            while !reader.isAtEnd { inputs.append(.workersSaid(try WorkersMessage.decode(from: &reader))) }
            handle(inputs)
        }
        workers.onEnd = { [unowned self] link, _ in
            guard link === scaler else { return }
            scaler = nil
            handle([.workersLinkDown])
        }
    }

    private func greet(_ link: Link) {
        counters.snapshots += 1
        machine.greet(at: Instant(nanoseconds: monotonicNow())) { link.send($0) }
    }
}
