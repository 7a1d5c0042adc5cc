import Model

/// A process of the product as the kernel sees it: it runs, is stopped (SIGSTOP), or is dead until it is started again.
///
/// Everything that happens to it comes through ``enter(_:isTimer:_:)``. A stopped process keeps its links and its deadlines; what
/// comes meanwhile waits, and is worked off in one turn when it goes on, timers before or after the rest.
class Process {
    enum Life { case running, stopped, dead }

    let name: String
    unowned let world: World
    private(set) var life = Life.dead
    /// Counts its starts: what was meant for an earlier one is lost.
    private(set) var incarnation = 0
    /// Which build of the product it runs.
    private(set) var build: UInt16 = 0
    /// Links that it has open.
    var ends: [LinkEnd] = []
    /// Links that wait in the listening socket; they outlive the process, as systemd's sockets do.
    var backlog: [LinkEnd] = []
    /// Effects until it dies in the middle of a turn.
    var fuse: Int?
    private var deferred: [(isTimer: Bool, action: () -> Void)] = []

    init(_ name: String, _ world: World) {
        self.name = name
        self.world = world
    }

    var now: Instant { world.now }

    // What a process does; each kind has its own.

    /// It has just been started.
    func boot() {}
    /// A link is up: both hellos have come.
    func linkUp(_ end: LinkEnd) {}
    func received(_ bytes: [UInt8], on end: LinkEnd) {}
    /// The link is over. `wasUp` is false for one that never got a hello.
    func linkEnded(_ end: LinkEnd, wasUp: Bool) {}
    /// Before anything that the turn has said goes out.
    func beforeFlush() {}
    func afterFlush() {}
    /// The kernel closes what it had.
    func died() {}

    // Life and death.

    final func start() {
        guard life == .dead, !world.isOver else { return }
        incarnation += 1
        build = world.installed
        life = .running
        world.trace.note(name) { "starts (incarnation \(self.incarnation))" }
        boot()
        acceptAll()
        endOfTurn()
    }

    final func kill(_ why: String) {
        guard life != .dead else { return }
        world.trace.note(name) { "is killed \(why)" }
        life = .dead
        incarnation += 1
        fuse = nil
        deferred = []
        for end in ends { end.abandon() }
        ends = []
        died()
        world.after(.milliseconds(world.pick(100...1500))) { [self] in start() }
    }

    final func stop() {
        guard life == .running else { return }
        life = .stopped
        world.trace.note(name) { "is stopped" }
    }

    final func resume() {
        guard life == .stopped else { return }
        life = .running
        world.trace.note(name) { "goes on" }
        var work = deferred
        deferred = []
        // Which of what has waited comes first is the poll's choice; what came over one link keeps its order.
        if world.chance(0.5) { work = work.filter(\.isTimer) + work.filter { !$0.isTimer } }
        let before = incarnation
        for (i, one) in work.enumerated() {
            one.action()
            guard life == .running, incarnation == before else { return }
            if i % 4 == 3, world.chance(0.2) { endOfTurn() }
        }
        endOfTurn()
    }

    // Turns.

    /// Something happens to the process of this incarnation.
    final func enter(_ to: Int, isTimer: Bool = false, _ action: @escaping () -> Void) {
        guard to == incarnation else { return }
        switch life {
        case .dead: return
        case .stopped: deferred.append((isTimer, action))
        case .running:
            action()
            endOfTurn()
        }
    }

    /// In this incarnation, after a while; nothing from one that is dying.
    final func after(_ delay: Duration, isTimer: Bool = false, _ action: @escaping () -> Void) {
        guard life != .dead else { return }
        let to = incarnation
        world.after(delay) { [self] in enter(to, isTimer: isTimer, action) }
    }

    final func endOfTurn() {
        guard life == .running else { return }
        beforeFlush()
        for end in ends { end.flush() }
        guard life == .running else { return }
        afterFlush()
        world.audit(self)
    }

    /// One effect on the world outside is about to happen: false if the process dies here instead.
    final func act() -> Bool {
        guard life == .running else { return false }
        guard let left = fuse else { return true }
        if left == 0 {
            kill("in the middle of a turn")
            return false
        }
        fuse = left - 1
        return true
    }

    /// Takes in everybody who waits in the listening socket.
    final func acceptAll() {
        let waiting = backlog
        backlog = []
        for end in waiting where life == .running { end.accept() }
    }
}
