import Model
import Wire

extension World {
    /// What goes wrong now.
    func cause(_ trouble: Trouble) {
        guard !isHealed else { return }
        switch trouble.kind {
        case .killKeeper: keeper.kill("-9")
        case .killWatcher: watcher.kill("-9")
        case .killDispatcher: pick(dispatchers)?.kill("-9")
        case .stopKeeper: pause(keeper)
        case .stopWatcher: pause(watcher)
        case .stopDispatcher: if let dispatcher = pick(dispatchers) { pause(dispatcher) }
        case .killScaler: scaler?.kill("-9")
        case .stopScaler: if let scaler { pause(scaler) }
        case .burnScaler: scaler?.fuse = Int(pick(0...8))
        case .breakScaling: breakLink([.workers, .state, .scaling][Int(pick(0...2))])
        case .burnKeeper: keeper.fuse = Int(pick(0...12))
        case .burnWatcher: watcher.fuse = Int(pick(0...4))
        case .burnDispatcher: pick(dispatchers)?.fuse = Int(pick(0...20))
        case .restartUnseen:
            if let dispatcher = pick(dispatchers) { pause(dispatcher) }
            after(milliseconds(0...50)) { [self] in if !isHealed { keeper.kill("-9") } }
        case .killBoth:
            pick(dispatchers)?.kill("-9")
            after(milliseconds(0...800)) { [self] in if !isHealed { keeper.kill("-9") } }
        case .endKeeper: keeper.end()
        case .upgrade: upgrade()
        case .breakLeasing: breakLink(.leasing)
        case .breakFeed: breakLink(.endpoints)
        case .blink, .terminate, .vanish, .replace, .stale, .crash, .busy, .hang: cluster.cause(trouble.kind)
        case .operate: keeper.operate()
        case .unreadable:
            trace.note("directory") { "cannot be read" }
            cluster.isReadable = false
            after(milliseconds(10...3000)) { [self] in cluster.isReadable = true }
        }
    }

    /// Each process is of the old build until it is started anew; between two of different builds there is no link.
    private func upgrade() {
        installed = installed == 0 || chance(0.7) ? installed &+ 1 : installed &- 1
        trace.note("world") { "build \(self.installed) is installed" }
        for process in processes { after(milliseconds(0...2_000)) { process.kill("for the new build") } }
    }

    /// SIGSTOP, and after a while SIGCONT. Short ones are a process that wakes late.
    private func pause(_ process: Process) {
        process.stop()
        after(milliseconds(chance(0.5) ? 1...60 : 60...5000)) { process.resume() }
    }

    private func breakLink(_ edge: Edge) {
        let ends = linkEnds.filter { $0.edge == edge && $0.isOpen && $0.isUp && $0.owner.life == .running }
        guard let end = pick(ends) else { return }
        trace.note("link \(end.number)") { "is broken by \(end.owner.name)" }
        end.owner.enter(end.owner.incarnation) {
            end.close()
            end.owner.linkEnded(end, wasUp: true)
        }
    }
}
